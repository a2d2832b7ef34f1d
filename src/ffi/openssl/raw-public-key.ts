/*++
/* NAME
/*	raw-public-key 3
/* SUMMARY
/*	bindings of OpenSSL: raw public keys
/* DESCRIPTION
/*	Functions of OpenSSL 3.2 and later. With an earlier release they
/*	do nothing, report success, and find no key.
/* SEE ALSO
/*	SSL_set1_server_cert_type(3ssl), RFC 7250
/*--*/

import {libcrypto, libssl} from './binding.ts';
import type {EvpPkey} from './libcrypto.ts';
import type {Ssl} from './ssl.ts';
import type {SslCtx} from './ssl-ctx.ts';
import type {X509StoreCtx} from './x509.ts';

/* Source: openssl/tls1.h. */
const TLSEXT_cert_type_x509 = 0;
const TLSEXT_cert_type_rpk = 2;

/* A raw key is preferred, a certificate is accepted. OpenSSL copies the list. */
const certTypes = Uint8Array.of(TLSEXT_cert_type_rpk, TLSEXT_cert_type_x509);

type SetCertTypes<Pointer> = (object: Pointer, types: Uint8Array, count: number) => number;
const SSL_CTX_set1_client_cert_type: () => SetCertTypes<SslCtx> | undefined = libssl.optional(
	'int SSL_CTX_set1_client_cert_type(void *ctx, const void *val, size_t len)',
);
const SSL_set1_client_cert_type: () => SetCertTypes<Ssl> | undefined = libssl.optional(
	'int SSL_set1_client_cert_type(void *ssl, const void *val, size_t len)',
);
const SSL_CTX_set1_server_cert_type: () => SetCertTypes<SslCtx> | undefined = libssl.optional(
	'int SSL_CTX_set1_server_cert_type(void *ctx, const void *val, size_t len)',
);
const SSL_set1_server_cert_type: () => SetCertTypes<Ssl> | undefined = libssl.optional(
	'int SSL_set1_server_cert_type(void *ssl, const void *val, size_t len)',
);

/** Enables raw public keys of clients in a context of either role. Returns false on failure. */
export function allowClientKeys(ctx: SslCtx): boolean {
	return SSL_CTX_set1_client_cert_type()?.(ctx, certTypes, certTypes.length) !== 0;
}

/** Enables a raw public key of the client for a connection of either role. Returns false on failure. */
export function allowClientKey(ssl: Ssl): boolean {
	return SSL_set1_client_cert_type()?.(ssl, certTypes, certTypes.length) !== 0;
}

/** Enables raw public keys of servers in a context of either role. Returns false on failure. */
export function allowServerKeys(ctx: SslCtx): boolean {
	return SSL_CTX_set1_server_cert_type()?.(ctx, certTypes, certTypes.length) !== 0;
}

/** Enables a raw public key of the server for a connection of either role. Returns false on failure. */
export function allowServerKey(ssl: Ssl): boolean {
	return SSL_set1_server_cert_type()?.(ssl, certTypes, certTypes.length) !== 0;
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

/** The key that the peer sent instead of a certificate; null if it did not. Owned by the connection. */
export function peerRawKey(ssl: Ssl): EvpPkey | null {
	return SSL_get0_peer_rpk()?.(ssl) ?? null;
}

/** The key that is verified instead of a certificate; null if a certificate is verified. Owned by the context. */
export function verifiedRawKey(ctx: X509StoreCtx): EvpPkey | null {
	return X509_STORE_CTX_get0_rpk()?.(ctx) ?? null;
}

/** Whether a raw public key was negotiated for the client or the server. */
export function sendsRawKey(ssl: Ssl, side: 'client' | 'server'): boolean {
	const negotiated =
		side === 'client' ? SSL_get_negotiated_client_cert_type() : SSL_get_negotiated_server_cert_type();
	return negotiated?.(ssl) === TLSEXT_cert_type_rpk;
}
