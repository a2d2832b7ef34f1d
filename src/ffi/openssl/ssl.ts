/*++
/* NAME
/*	ssl 3
/* SUMMARY
/*	bindings of OpenSSL: SSL
/* DESCRIPTION
/*	Functions of openssl/ssl.h whose names begin with SSL_, except
/*	those of SSL_CTX, and their constants. They do what C does, and
/*	add no policy. Macros of the header are functions with the name of
/*	the macro.
/*
/*	All functions are called on the main thread: the error queue
/*	belongs to a thread, and callbacks run inside of the call.
/*
/*	A pointer that is returned is owned by the connection, unless
/*	stated otherwise.
/* SEE ALSO
/*	binding(3), how the libraries are loaded; ssl-ctx(3), bio(3),
/*	client-hello(3), dane(3), raw-public-key(3), ssl-session(3),
/*	ticket(3) for other functions of the header
/*--*/

import type {Fd} from '../../base/units.ts';
import {addon as koffi} from '../libc/addon.ts';
import {type Address, allocate, cText, strlen} from '../libc/libc.ts';
import {libssl} from './binding.ts';
import type {Bio} from './bio.ts';
import type {EvpPkey, InitSettings, Pointer} from './libcrypto.ts';
import {type InfoCallback, identitiesOf, type SslCtx, type VerifyCallback} from './ssl-ctx.ts';
import {type StackOfX509, type X509, X509_free} from './x509.ts';

export type Ssl = Pointer<'SSL'>;
export type SslCipher = Pointer<'SSL_CIPHER'>;

const scratch = allocate(64);

/* The library. */
export const OPENSSL_INIT_NO_LOAD_CONFIG = 0x80;
export const OPENSSL_init_ssl: (options: number, settings: InitSettings | null) => number = libssl.func(
	'int OPENSSL_init_ssl(uint64_t opts, const void *settings)',
);

/* Connections. */
export const SSL_new: (ctx: SslCtx) => Ssl | null = libssl.func('void *SSL_new(void *ctx)');
export const SSL_free: (ssl: Ssl) => void = libssl.func('void SSL_free(void *ssl)');
export const SSL_set_fd: (ssl: Ssl, fd: Fd) => number = libssl.func('int SSL_set_fd(void *ssl, int fd)');
export const SSL_get_fd: (ssl: Ssl) => Fd = libssl.func('int SSL_get_fd(const void *s)');
export const SSL_get_rbio: (ssl: Ssl) => Bio | null = libssl.func('void *SSL_get_rbio(const void *ssl)');
export const SSL_get_wbio: (ssl: Ssl) => Bio | null = libssl.func('void *SSL_get_wbio(const void *s)');
export const SSL_set0_rbio: (ssl: Ssl, bio: Bio) => void = libssl.func(
	'void SSL_set0_rbio(void *s, void *rbio)',
);
export const SSL_set_SSL_CTX: (ssl: Ssl, ctx: SslCtx) => SslCtx | null = libssl.func(
	'void *SSL_set_SSL_CTX(void *ssl, void *ctx)',
);

/* Most macros of the header call this function. */
const SSL_ctrl: (ssl: Ssl, command: number, larg: number, parg: Address | null) => number = libssl.func(
	'long SSL_ctrl(void *ssl, int cmd, long larg, void *parg)',
);
const SSL_ctrl_text: (ssl: Ssl, command: number, larg: number, parg: Uint8Array) => number = libssl.func(
	'long SSL_ctrl(void *ssl, int cmd, long larg, const void *parg)',
);

/* Settings. */
export const SSL_set_options: (ssl: Ssl, options: number) => number | bigint = libssl.func(
	'uint64_t SSL_set_options(void *ssl, uint64_t op)',
);
export const SSL_MODE_AUTO_RETRY = 0x4;
const SSL_CTRL_CLEAR_MODE = 78;

export function SSL_clear_mode(ssl: Ssl, mode: number): number {
	return SSL_ctrl(ssl, SSL_CTRL_CLEAR_MODE, mode, null);
}
const SSL_CTRL_SET_MIN_PROTO_VERSION = 123;
const SSL_CTRL_SET_MAX_PROTO_VERSION = 124;

export function SSL_set_min_proto_version(ssl: Ssl, version: number): number {
	return SSL_ctrl(ssl, SSL_CTRL_SET_MIN_PROTO_VERSION, version, null);
}

export function SSL_set_max_proto_version(ssl: Ssl, version: number): number {
	return SSL_ctrl(ssl, SSL_CTRL_SET_MAX_PROTO_VERSION, version, null);
}

export const SSL_set_security_level: (ssl: Ssl, level: number) => void = libssl.func(
	'void SSL_set_security_level(void *ssl, int level)',
);
export const SSL_get_security_level: (ssl: Ssl) => number = libssl.func(
	'int SSL_get_security_level(const void *ssl)',
);
export const SSL_set_cipher_list: (ssl: Ssl, list: string) => number = libssl.func(
	'int SSL_set_cipher_list(void *ssl, const char *list)',
);
export const SSL_set_verify: (ssl: Ssl, mode: number, callback: VerifyCallback | null) => void = libssl.func(
	'void SSL_set_verify(void *ssl, int mode, void *cb)',
);
export const SSL_set_info_callback: (ssl: Ssl, callback: InfoCallback) => void = libssl.func(
	'void SSL_set_info_callback(void *ssl, void *cb)',
);
export const SSL_set_session_id_context: (ssl: Ssl, context: Uint8Array, size: number) => number =
	libssl.func('int SSL_set_session_id_context(void *ssl, const void *sid_ctx, unsigned int len)');
const SSL_use_cert_and_key: (
	ssl: Ssl,
	certificate: X509,
	key: EvpPkey,
	chain: StackOfX509,
	override: number,
) => number = libssl.func(
	'int SSL_use_cert_and_key(void *ssl, void *x509, void *pkey, void *chain, int override)',
);

/**
 * Copies the certificates, keys and chains of an SSL_CTX to a connection, which replace those of its SSL_CTX.
 *
 * @returns false if OpenSSL rejects one of them.
 */
export function copyIdentityToConnection(from: SslCtx, to: Ssl): boolean {
	return identitiesOf(from).every(
		({certificate, key, chain}) =>
			certificate !== null && key !== null && SSL_use_cert_and_key(to, certificate, key, chain, 1) === 1,
	);
}

/** Removes all certificates and keys from a connection. */
export const SSL_certs_clear: (ssl: Ssl) => void = libssl.func('void SSL_certs_clear(void *ssl)');

/* Server names. */
export const SSL_TLSEXT_ERR_OK = 0;
export const SSL_TLSEXT_ERR_ALERT_FATAL = 2;
export const SSL_TLSEXT_ERR_NOACK = 3;
const TLSEXT_NAMETYPE_host_name = 0;
const SSL_CTRL_SET_TLSEXT_HOSTNAME = 55;

/** @param name - one character per byte. */
export function SSL_set_tlsext_host_name(ssl: Ssl, name: string): number {
	return SSL_ctrl_text(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0, cText(name));
}

const SSL_get_servername: (ssl: Ssl, type: number) => Address | null = libssl.func(
	'void *SSL_get_servername(const void *ssl, int type)',
);

/** The server name in the ClientHello, one character per byte; empty without a server name. */
export function serverNameOf(ssl: Ssl): string {
	const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	return name === null ? '' : Buffer.from(koffi.view(name, strlen(name))).toString('latin1');
}

/* Handshake and data. */
export const SSL_ERROR_SSL = 1;
export const SSL_ERROR_WANT_READ = 2;
export const SSL_ERROR_WANT_WRITE = 3;
export const SSL_connect: (ssl: Ssl) => number = libssl.func('int SSL_connect(void *ssl)');
export const SSL_accept: (ssl: Ssl) => number = libssl.func('int SSL_accept(void *ssl)');
export const SSL_read: (ssl: Ssl, buffer: Address, size: number) => number = libssl.func(
	'int SSL_read(void *ssl, void *buf, int num)',
);
export const SSL_write: (ssl: Ssl, buffer: Address | Uint8Array, size: number) => number = libssl.func(
	'int SSL_write(void *ssl, const void *buf, int num)',
);

/** Releases the buffers of records. Returns 0 if they are in use. */
export const SSL_free_buffers: (ssl: Ssl) => number = libssl.func('int SSL_free_buffers(void *ssl)');
export const SSL_shutdown: (ssl: Ssl) => number = libssl.func('int SSL_shutdown(void *ssl)');
export const SSL_get_error: (ssl: Ssl, result: number) => number = libssl.func(
	'int SSL_get_error(const void *ssl, int ret)',
);

/* State, for info callbacks. */
export const SSL_CB_LOOP = 0x01;
export const SSL_CB_EXIT = 0x02;
export const SSL_CB_READ = 0x04;
export const SSL_CB_ALERT = 0x4000;
export const SSL_ST_CONNECT = 0x1000;
export const SSL_ST_ACCEPT = 0x2000;
export const SSL3_AD_CLOSE_NOTIFY = 0;
export const SSL_AD_INTERNAL_ERROR = 80;
export const SSL_state_string_long: (ssl: Ssl) => string = libssl.func(
	'const char *SSL_state_string_long(const void *ssl)',
);
export const SSL_alert_type_string_long: (value: number) => string = libssl.func(
	'const char *SSL_alert_type_string_long(int value)',
);
export const SSL_alert_desc_string_long: (value: number) => string = libssl.func(
	'const char *SSL_alert_desc_string_long(int value)',
);

/* Result of the handshake. */
export const TLS1_3_VERSION = 0x0304;
export const SSL_version: (ssl: Ssl) => number = libssl.func('int SSL_version(const void *ssl)');
export const SSL_get_version: (ssl: Ssl) => string = libssl.func(
	'const char *SSL_get_version(const void *ssl)',
);
export const SSL_get_current_cipher: (ssl: Ssl) => SslCipher | null = libssl.func(
	'const void *SSL_get_current_cipher(const void *ssl)',
);
export const SSL_CIPHER_get_name: (cipher: SslCipher) => string = libssl.func(
	'const char *SSL_CIPHER_get_name(const void *cipher)',
);
const SSL_CIPHER_get_bits: (cipher: SslCipher, algorithm: Address) => number = libssl.func(
	'int SSL_CIPHER_get_bits(const void *cipher, void *alg_bits)',
);

/** Bits of a cipher: those that are secret, and those of the algorithm. */
export function cipherBits(cipher: SslCipher): {readonly used: number; readonly algorithm: number} {
	const used = SSL_CIPHER_get_bits(cipher, scratch.address);
	return {used, algorithm: scratch.view.getInt32(0, true)};
}

export const SSL_session_reused: (ssl: Ssl) => number = libssl.func(
	'int SSL_session_reused(const void *ssl)',
);
export const SSL_get_verify_result: (ssl: Ssl) => number = libssl.func(
	'long SSL_get_verify_result(const void *ssl)',
);
export const SSL_get_ex_data_X509_STORE_CTX_idx: () => number = libssl.func(
	'int SSL_get_ex_data_X509_STORE_CTX_idx(void)',
);
export const SSL_get0_peername: (ssl: Ssl) => string | null = libssl.func(
	'const char *SSL_get0_peername(void *ssl)',
);
const getPeerCertificate: () => ((ssl: Ssl) => X509 | null) | undefined = libssl.optional(
	'void *SSL_get0_peer_certificate(const void *ssl)',
);
const SSL_get_peer_certificate: () => ((ssl: Ssl) => X509 | null) | undefined = libssl.optional(
	'void *SSL_get_peer_certificate(const void *ssl)',
);

/** The peer's certificate. OpenSSL 1.1.1 only has a function that returns a new reference, which is released at once. */
export function SSL_get0_peer_certificate(ssl: Ssl): X509 | null {
	const borrow = getPeerCertificate();
	if (borrow !== undefined) {
		return borrow(ssl);
	}

	const certificate = SSL_get_peer_certificate()?.(ssl) ?? null;
	if (certificate !== null) {
		X509_free(certificate);
	}

	return certificate;
}

export const SSL_get_privatekey: (ssl: Ssl) => EvpPkey | null = libssl.func(
	'void *SSL_get_privatekey(const void *ssl)',
);
const SSL_CTRL_GET_PEER_SIGNATURE_NID = 108;
const SSL_CTRL_GET_PEER_TMP_KEY = 109;
const SSL_CTRL_GET_SIGNATURE_NID = 132;
const SSL_CTRL_GET_NEGOTIATED_GROUP = 134;

/** The peer's ephemeral key, which the caller owns; null if the key exchange has no such key. */
export function SSL_get_peer_tmp_key(ssl: Ssl): EvpPkey | null {
	scratch.view.setBigUint64(0, 0n, true);
	const found = SSL_ctrl(ssl, SSL_CTRL_GET_PEER_TMP_KEY, 0, scratch.address) === 1;
	const key = scratch.view.getBigUint64(0, true);
	return found && key !== 0n ? (key as EvpPkey) : null;
}

/** NID of the digest in the local signature; undefined if nothing was signed. */
export function SSL_get_signature_nid(ssl: Ssl): number | undefined {
	scratch.view.setInt32(0, 0, true);
	return SSL_ctrl(ssl, SSL_CTRL_GET_SIGNATURE_NID, 0, scratch.address) === 1
		? scratch.view.getInt32(0, true)
		: undefined;
}

/** NID of the digest in the peer's signature; undefined if nothing was signed. */
export function SSL_get_peer_signature_nid(ssl: Ssl): number | undefined {
	scratch.view.setInt32(0, 0, true);
	return SSL_ctrl(ssl, SSL_CTRL_GET_PEER_SIGNATURE_NID, 0, scratch.address) === 1
		? scratch.view.getInt32(0, true)
		: undefined;
}

const SSL_get0_group_name: () => ((ssl: Ssl) => string | null) | undefined = libssl.optional(
	'const char *SSL_get0_group_name(void *ssl)',
);
const SSL_group_to_name: () => ((ssl: Ssl, id: number) => string | null) | undefined = libssl.optional(
	'const char *SSL_group_to_name(void *ssl, int id)',
);

/**
 * Name of the group of the key exchange; empty if it uses no group, and with OpenSSL 1.1.1.
 *
 * @param ssl - a connection whose handshake is complete. Before that, OpenSSL 3.0 dereferences a null pointer.
 */
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
