/*++
/* NAME
/*	raw-key 3
/* SUMMARY
/*	bindings of OpenSSL's libssl: raw public keys, names of groups
/* DESCRIPTION
/*	C as it is, no policy. What came with OpenSSL 3.2 or 3.0: where the
/*	library has no such functions nothing is offered, and there is none.
/* SEE ALSO
/*	SSL_set1_server_cert_type(3ssl), RFC 7250
/*--*/

import type {EvpPkey} from './libcrypto.ts';
import type {Ssl, SslCtx} from './libssl.ts';
import {libcrypto, libssl} from './openssl.ts';
import type {X509StoreCtx} from './x509.ts';

/* Source: openssl/tls1.h. */
const TLSEXT_cert_type_x509 = 0;
const TLSEXT_cert_type_rpk = 2;

/* A raw key is preferred; a certificate will do. OpenSSL copies them. */
const kinds = Uint8Array.of(TLSEXT_cert_type_rpk, TLSEXT_cert_type_x509);

type SetKinds<Pointer> = (object: Pointer, kinds: Uint8Array, count: number) => number;
const SSL_CTX_set1_client_cert_type: () => SetKinds<SslCtx> | undefined = libssl.optional(
	'int SSL_CTX_set1_client_cert_type(void *ctx, const void *val, size_t len)',
);
const SSL_set1_client_cert_type: () => SetKinds<Ssl> | undefined = libssl.optional(
	'int SSL_set1_client_cert_type(void *ssl, const void *val, size_t len)',
);
const SSL_CTX_set1_server_cert_type: () => SetKinds<SslCtx> | undefined = libssl.optional(
	'int SSL_CTX_set1_server_cert_type(void *ctx, const void *val, size_t len)',
);
const SSL_set1_server_cert_type: () => SetKinds<Ssl> | undefined = libssl.optional(
	'int SSL_set1_server_cert_type(void *ssl, const void *val, size_t len)',
);

/** Clients of the context, or we as one, may send a raw key. False when OpenSSL refuses. */
export function allowClientKeys(ctx: SslCtx): boolean {
	return SSL_CTX_set1_client_cert_type()?.(ctx, kinds, kinds.length) !== 0;
}

/** The client of a connection, or we as one, may send a raw key. False when OpenSSL refuses. */
export function allowClientKey(ssl: Ssl): boolean {
	return SSL_set1_client_cert_type()?.(ssl, kinds, kinds.length) !== 0;
}

/** Servers of the context, or we as one, may send a raw key. False when OpenSSL refuses. */
export function allowServerKeys(ctx: SslCtx): boolean {
	return SSL_CTX_set1_server_cert_type()?.(ctx, kinds, kinds.length) !== 0;
}

/** The server of a connection, or we as one, may send a raw key. False when OpenSSL refuses. */
export function allowServerKey(ssl: Ssl): boolean {
	return SSL_set1_server_cert_type()?.(ssl, kinds, kinds.length) !== 0;
}

const SSL_get0_peer_rpk: () => ((ssl: Ssl) => EvpPkey | null) | undefined = libssl.optional(
	'void *SSL_get0_peer_rpk(const void *ssl)',
);
const SSL_get_negotiated_client_cert_type: () => ((ssl: Ssl) => number) | undefined = libssl.optional(
	'int SSL_get_negotiated_client_cert_type(const void *ssl)',
);
const SSL_get_negotiated_server_cert_type: () => ((ssl: Ssl) => number) | undefined = libssl.optional(
	'int SSL_get_negotiated_server_cert_type(const void *ssl)',
);
const X509_STORE_CTX_get0_rpk: () => ((ctx: X509StoreCtx) => EvpPkey | null) | undefined = libcrypto.optional(
	'void *X509_STORE_CTX_get0_rpk(const void *ctx)',
);

/** The key that a peer has sent instead of a certificate; borrowed from the connection. */
export function peerRawKey(ssl: Ssl): EvpPkey | null {
	return SSL_get0_peer_rpk()?.(ssl) ?? null;
}

/** The key that is verified instead of a certificate; borrowed. */
export function verifiedRawKey(ctx: X509StoreCtx): EvpPkey | null {
	return X509_STORE_CTX_get0_rpk()?.(ctx) ?? null;
}

/** Whether it was agreed that the client, or the server, sends a raw key. */
export function sendsRawKey(ssl: Ssl, who: 'client' | 'server'): boolean {
	const kind =
		who === 'client' ? SSL_get_negotiated_client_cert_type() : SSL_get_negotiated_server_cert_type();
	return kind?.(ssl) === TLSEXT_cert_type_rpk;
}

const SSL_get0_group_name: () => ((ssl: Ssl) => string | null) | undefined = libssl.optional(
	'const char *SSL_get0_group_name(void *ssl)',
);
const SSL_group_to_name: () => ((ssl: Ssl, id: number) => string | null) | undefined = libssl.optional(
	'const char *SSL_group_to_name(void *ssl, int id)',
);
const SSL_ctrl: (ssl: Ssl, command: number, larg: number, parg: null) => number = libssl.func(
	'long SSL_ctrl(void *ssl, int cmd, long larg, void *parg)',
);
const SSL_CTRL_GET_NEGOTIATED_GROUP = 134;

/** Name of the group of the key exchange; empty when there is none, and before OpenSSL 3.0. */
export function agreedGroupName(ssl: Ssl): string {
	const getName = SSL_get0_group_name();
	if (getName !== undefined) {
		return getName(ssl) ?? '';
	}

	const toName = SSL_group_to_name();
	return toName === undefined
		? ''
		: (toName(ssl, SSL_ctrl(ssl, SSL_CTRL_GET_NEGOTIATED_GROUP, 0, null)) ?? '');
}
