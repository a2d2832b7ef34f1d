/*++
/* NAME
/*	raw-public-keys 3
/* SUMMARY
/*	raw public keys instead of certificates, RFC 7250
/* DESCRIPTION
/*	Each side says which kinds of credential it can send and accept.
/*	Here it is always a raw key first, then a certificate. OpenSSL has
/*	this since 3.2; with an older one nothing is said.
/* DIAGNOSTICS
/*	A warning, the first time; then there are certificates only.
/* SEE ALSO
/*	postfix src/tls/tls_misc.c, tls_enable_client_rpk(),
/*	tls_enable_server_rpk()
/*--*/

import {ERR_clear_error} from '../ffi/openssl/libcrypto.ts';
import type {Ssl, SslCtx} from '../ffi/openssl/libssl.ts';
import {allowClientKey, allowClientKeys, allowServerKey, allowServerKeys} from '../ffi/openssl/raw-key.ts';
import {warning} from '../log/log.ts';
import {printErrors} from './library.ts';

const warned = new Set<string>();

function complainOnce(way: string): void {
	if (warned.has(way)) {
		ERR_clear_error();
		return;
	}

	warned.add(way);
	warning(`Failed to enable ${way} raw public key support`);
	printErrors();
}

/** As a client with a key, we may send it raw. */
export function offerClientKeys(ctx: SslCtx): void {
	if (!allowClientKeys(ctx)) {
		complainOnce('client to server');
	}
}

/** The client of a connection may send a raw key. */
export function acceptClientKey(ssl: Ssl): void {
	if (!allowClientKey(ssl)) {
		complainOnce('client to server');
	}
}

/** As a server, we may send a raw key. */
export function offerServerKeys(ctx: SslCtx): void {
	if (!allowServerKeys(ctx)) {
		complainOnce('server to client');
	}
}

/** The server of a connection may send a raw key. */
export function acceptServerKey(ssl: Ssl): void {
	if (!allowServerKey(ssl)) {
		complainOnce('server to client');
	}
}
