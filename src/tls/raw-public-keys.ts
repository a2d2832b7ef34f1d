/*++
/* NAME
/*	raw-public-keys 3
/* SUMMARY
/*	raw public keys instead of certificates, RFC 7250
/* DESCRIPTION
/*	Each side announces which kinds of credential it can send and
/*	accept. This module announces raw public keys first, then
/*	certificates. It requires OpenSSL 3.2; with an older release
/*	nothing is announced.
/* DIAGNOSTICS
/*	If raw public keys cannot be enabled, certificates are used. The
/*	first failure in each direction is logged.
/* SEE ALSO
/*	postfix src/tls/tls_misc.c, tls_enable_client_rpk(),
/*	tls_enable_server_rpk()
/*--*/

import {ERR_clear_error} from '../ffi/openssl/libcrypto.ts';
import {
	allowClientKey,
	allowClientKeys,
	allowServerKey,
	allowServerKeys,
} from '../ffi/openssl/raw-public-key.ts';
import type {Ssl} from '../ffi/openssl/ssl.ts';
import type {SslCtx} from '../ffi/openssl/ssl-ctx.ts';
import {warning} from '../log/log.ts';
import {printErrors} from './library.ts';

type Direction = 'client to server' | 'server to client';

/* The directions for which the warning was logged. */
const warned = new Set<Direction>();

function warnOnce(direction: Direction): void {
	if (warned.has(direction)) {
		ERR_clear_error();
		return;
	}

	warned.add(direction);
	warning(`Failed to enable ${direction} raw public key support`);
	printErrors();
}

/** Allows connections of a client SSL_CTX to send the raw key of the client. */
export function offerClientKeys(ctx: SslCtx): void {
	if (!allowClientKeys(ctx)) {
		warnOnce('client to server');
	}
}

/** Allows the client of a connection to send a raw key. */
export function acceptClientKey(ssl: Ssl): void {
	if (!allowClientKey(ssl)) {
		warnOnce('client to server');
	}
}

/** Allows connections of a server SSL_CTX to send the raw key of the server. */
export function offerServerKeys(ctx: SslCtx): void {
	if (!allowServerKeys(ctx)) {
		warnOnce('server to client');
	}
}

/** Allows the server of a connection to send a raw key. */
export function acceptServerKey(ssl: Ssl): void {
	if (!allowServerKey(ssl)) {
		warnOnce('server to client');
	}
}
