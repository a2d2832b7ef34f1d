/*++
/* NAME
/*	libssl 3
/* SUMMARY
/*	bindings of OpenSSL's libssl
/* DESCRIPTION
/*	C as it is, no policy, in the order of the header. Macros of the
/*	header are functions here, under the macro's name. Everything is
/*	called synchronously on the main thread: the error queue belongs
/*	to the thread, and callbacks run inside the call.
/* SEE ALSO
/*	openssl(3), for how the libraries are loaded
/*--*/

import type {Fd} from '../../base/units.ts';
import {type Address, allocate, cText} from '../libc/libc.ts';
import {type EvpPkey, type InitSettings, isOpenssl3, type Pointer} from './libcrypto.ts';
import {libssl} from './openssl.ts';
import type {Bio} from './pem.ts';
import {type StackOfX509, type X509, X509_free, type X509Store} from './x509.ts';

export type SslMethod = Pointer<'SSL_METHOD'>;
export type SslCtx = Pointer<'SSL_CTX'>;
export type Ssl = Pointer<'SSL'>;
export type SslCipher = Pointer<'SSL_CIPHER'>;
/** Functions of ours that C may call: callback(3). */
export type VerifyCallback = Pointer<'verify callback'>;
export type ChainCallback = Pointer<'chain callback'>;
export type InfoCallback = Pointer<'info callback'>;

const scratch = allocate(64);

/* Library initialization */
export const OPENSSL_INIT_NO_LOAD_CONFIG = 0x80;
export const OPENSSL_init_ssl: (options: number, settings: InitSettings | null) => number = libssl.func(
	'int OPENSSL_init_ssl(uint64_t opts, const void *settings)',
);

/* SSL_CTX */
export const TLS_client_method: () => SslMethod = libssl.func('const void *TLS_client_method(void)');
export const SSL_CTX_new: (method: SslMethod) => SslCtx | null = libssl.func(
	'void *SSL_CTX_new(const void *method)',
);
export const SSL_CTX_free: (ctx: SslCtx) => void = libssl.func('void SSL_CTX_free(void *ctx)');
export const SSL_CTX_set_options: (ctx: SslCtx, options: number) => number | bigint = libssl.func(
	'uint64_t SSL_CTX_set_options(void *ctx, uint64_t op)',
);
export const SSL_CTX_clear_options: (ctx: SslCtx, options: number) => number | bigint = libssl.func(
	'uint64_t SSL_CTX_clear_options(void *ctx, uint64_t op)',
);
export const SSL_CTX_set_security_level: (ctx: SslCtx, level: number) => void = libssl.func(
	'void SSL_CTX_set_security_level(void *ctx, int level)',
);
export const SSL_CTX_set_verify_depth: (ctx: SslCtx, depth: number) => void = libssl.func(
	'void SSL_CTX_set_verify_depth(void *ctx, int depth)',
);
export const SSL_CTX_set_info_callback: (ctx: SslCtx, callback: InfoCallback) => void = libssl.func(
	'void SSL_CTX_set_info_callback(void *ctx, void *cb)',
);
export const SSL_set_info_callback: (ssl: Ssl, callback: InfoCallback) => void = libssl.func(
	'void SSL_set_info_callback(void *ssl, void *cb)',
);
export const SSL_CTX_load_verify_locations: (
	ctx: SslCtx,
	file: Uint8Array | null,
	path: Uint8Array | null,
) => number = libssl.func(
	'int SSL_CTX_load_verify_locations(void *ctx, const char *CAfile, const char *CApath)',
);
export const SSL_CTX_set_default_verify_paths: (ctx: SslCtx) => number = libssl.func(
	'int SSL_CTX_set_default_verify_paths(void *ctx)',
);
export const SSL_CTX_use_certificate_chain_file: (ctx: SslCtx, file: Uint8Array) => number = libssl.func(
	'int SSL_CTX_use_certificate_chain_file(void *ctx, const char *file)',
);
export const SSL_CTX_use_PrivateKey_file: (ctx: SslCtx, file: Uint8Array, type: number) => number =
	libssl.func('int SSL_CTX_use_PrivateKey_file(void *ctx, const char *file, int type)');
export const SSL_CTX_check_private_key: (ctx: SslCtx) => number = libssl.func(
	'int SSL_CTX_check_private_key(const void *ctx)',
);
export const SSL_CTX_use_cert_and_key: (
	ctx: SslCtx,
	certificate: X509,
	key: EvpPkey,
	chain: StackOfX509,
	override: number,
) => number = libssl.func(
	'int SSL_CTX_use_cert_and_key(void *ctx, void *x, void *k, void *chain, int override)',
);
export const SSL_CTX_set_cipher_list: (ctx: SslCtx, list: string) => number = libssl.func(
	'int SSL_CTX_set_cipher_list(void *ctx, const char *list)',
);
export const SSL_CTX_ctrl: (ctx: SslCtx, command: number, larg: number, parg: Address | null) => number =
	libssl.func('long SSL_CTX_ctrl(void *ctx, int cmd, long larg, void *parg)');
const SSL_CTRL_SET_SESS_CACHE_MODE = 44;

/** Sets SSL_SESS_CACHE_ bits. A macro in C. */
export function SSL_CTX_set_session_cache_mode(ctx: SslCtx, mode: number): void {
	SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_MODE, mode, null);
}

const SSL_CTRL_GET_CHAIN_CERTS = 115;
const SSL_CTRL_SET_CURRENT_CERT = 117;
const SSL_CERT_SET_FIRST = 1;
const SSL_CERT_SET_NEXT = 2;
const SSL_CTX_get0_certificate: (ctx: SslCtx) => X509 | null = libssl.func(
	'void *SSL_CTX_get0_certificate(const void *ctx)',
);
const SSL_CTX_get0_privatekey: (ctx: SslCtx) => EvpPkey | null = libssl.func(
	'void *SSL_CTX_get0_privatekey(const void *ctx)',
);
const SSL_CTX_get_cert_store: (ctx: SslCtx) => X509Store = libssl.func(
	'void *SSL_CTX_get_cert_store(const void *ctx)',
);
const SSL_CTX_set1_cert_store: (ctx: SslCtx, store: X509Store) => void = libssl.func(
	'void SSL_CTX_set1_cert_store(void *ctx, void *store)',
);

/** A certificate, its key and its chain; all of them borrowed from a context. */
interface Identity {
	readonly certificate: X509 | null;
	readonly key: EvpPkey | null;
	readonly chain: StackOfX509;
}

/* One for each type of key. */
function* identitiesOf(ctx: SslCtx): Generator<Identity> {
	for (let which = SSL_CERT_SET_FIRST; SSL_CTX_ctrl(ctx, SSL_CTRL_SET_CURRENT_CERT, which, null) === 1; ) {
		scratch.view.setBigUint64(0, 0n, true);
		SSL_CTX_ctrl(ctx, SSL_CTRL_GET_CHAIN_CERTS, 0, scratch.address);
		const chain = scratch.view.getBigUint64(0, true) as StackOfX509;
		yield {certificate: SSL_CTX_get0_certificate(ctx), key: SSL_CTX_get0_privatekey(ctx), chain};
		which = SSL_CERT_SET_NEXT;
	}
}

/**
 * Gives a context the certificates, keys and chains of another, by reference.
 *
 * @returns false when OpenSSL refuses one of them.
 */
export function copyIdentity(from: SslCtx, to: SslCtx): boolean {
	return identitiesOf(from).every(
		({certificate, key, chain}) =>
			certificate !== null && key !== null && SSL_CTX_use_cert_and_key(to, certificate, key, chain, 1) === 1,
	);
}

const SSL_use_cert_and_key: (
	ssl: Ssl,
	certificate: X509,
	key: EvpPkey,
	chain: StackOfX509,
	override: number,
) => number = libssl.func(
	'int SSL_use_cert_and_key(void *ssl, void *x509, void *pkey, void *chain, int override)',
);

/** The same for one connection, in place of those of its context. */
export function lendIdentity(from: SslCtx, to: Ssl): boolean {
	return identitiesOf(from).every(
		({certificate, key, chain}) =>
			certificate !== null && key !== null && SSL_use_cert_and_key(to, certificate, key, chain, 1) === 1,
	);
}

/** Whether a context has a certificate with its key. */
export function hasIdentity(ctx: SslCtx): boolean {
	return SSL_CTX_get0_certificate(ctx) !== null && SSL_CTX_get0_privatekey(ctx) !== null;
}

/** Gives a context the trusted certificates of another, by reference. */
export function copyAuthorities(from: SslCtx, to: SslCtx): void {
	SSL_CTX_set1_cert_store(to, SSL_CTX_get_cert_store(from));
}

const SSL_CTX_ctrl_ints: (ctx: SslCtx, command: number, larg: number, parg: Int32Array) => number =
	libssl.func('long SSL_CTX_ctrl(void *ctx, int cmd, long larg, const int *parg)');

/* SSL_CTX_set_mode() */
export const SSL_MODE_ENABLE_PARTIAL_WRITE = 0x1;
export const SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER = 0x2;
export const SSL_MODE_RELEASE_BUFFERS = 0x10;
export function SSL_CTX_set_mode(ctx: SslCtx, mode: number): number {
	return SSL_CTX_ctrl(ctx, 33, mode, null);
}

/** 1 when the library accepts the groups. */
export function SSL_CTX_set1_groups(ctx: SslCtx, nids: readonly number[]): number {
	return SSL_CTX_ctrl_ints(ctx, 91, nids.length, Int32Array.from(nids));
}

const SSL_CTX_ctrl_text: (ctx: SslCtx, command: number, larg: number, parg: string) => number = libssl.func(
	'long SSL_CTX_ctrl(void *ctx, int cmd, long larg, const char *parg)',
);

/** 1 when the library accepts the names, which colons separate. */
export function SSL_CTX_set1_groups_list(ctx: SslCtx, names: string): number {
	return SSL_CTX_ctrl_text(ctx, 92, 0, names);
}

export const SSL_VERIFY_NONE = 0;
export const SSL_FILETYPE_PEM = 1;

/* Options. Source: openssl/ssl.h of 3.0; values as numbers because some exceed 31 bits. */
/** The work-arounds that are on by default. Before 3.0 one more. */
export function SSL_OP_ALL(): number {
	return isOpenssl3() ? 0x80000850 : 0x80000854;
}

export const SSL_OP_LEGACY_SERVER_CONNECT = 0x4;
/** Before 3.0 no option has this bit. */
export const SSL_OP_ENABLE_KTLS = 0x8;
export const SSL_OP_TLSEXT_PADDING = 0x10;
export const SSL_OP_SAFARI_ECDHE_ECDSA_BUG = 0x40;
export const SSL_OP_IGNORE_UNEXPECTED_EOF = 0x80;
export const SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS = 0x800;
export const SSL_OP_NO_TICKET = 0x4000;
export const SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION = 0x10000;
export const SSL_OP_NO_COMPRESSION = 0x20000;
export const SSL_OP_ENABLE_MIDDLEBOX_COMPAT = 0x100000;
export const SSL_OP_PRIORITIZE_CHACHA = 0x200000;
export const SSL_OP_CIPHER_SERVER_PREFERENCE = 0x400000;
export const SSL_OP_TLS_ROLLBACK_BUG = 0x800000;
export const SSL_OP_NO_SSLv3 = 0x2000000;
export const SSL_OP_NO_TLSv1 = 0x4000000;
export const SSL_OP_NO_TLSv1_2 = 0x8000000;
export const SSL_OP_NO_TLSv1_1 = 0x10000000;
export const SSL_OP_NO_TLSv1_3 = 0x20000000;
export const SSL_OP_NO_RENEGOTIATION = 0x40000000;
export const SSL_OP_CRYPTOPRO_TLSEXT_BUG = 0x80000000;

/* SSL */
export const SSL_new: (ctx: SslCtx) => Ssl | null = libssl.func('void *SSL_new(void *ctx)');
export const SSL_free: (ssl: Ssl) => void = libssl.func('void SSL_free(void *ssl)');
export const SSL_set_fd: (ssl: Ssl, fd: Fd) => number = libssl.func('int SSL_set_fd(void *ssl, int fd)');
export const SSL_set_options: (ssl: Ssl, options: number) => number | bigint = libssl.func(
	'uint64_t SSL_set_options(void *ssl, uint64_t op)',
);
export const SSL_set_cipher_list: (ssl: Ssl, list: string) => number = libssl.func(
	'int SSL_set_cipher_list(void *ssl, const char *list)',
);
const SSL_ctrl: (ssl: Ssl, command: number, larg: number, parg: Address | null) => number = libssl.func(
	'long SSL_ctrl(void *ssl, int cmd, long larg, void *parg)',
);
const SSL_ctrl_text: (ssl: Ssl, command: number, larg: number, parg: Uint8Array) => number = libssl.func(
	'long SSL_ctrl(void *ssl, int cmd, long larg, const void *parg)',
);
/* SSL_clear_mode() */
export const SSL_MODE_AUTO_RETRY = 0x4;
export function SSL_clear_mode(ssl: Ssl, mode: number): number {
	return SSL_ctrl(ssl, 78, mode, null);
}

export function SSL_set_min_proto_version(ssl: Ssl, version: number): number {
	return SSL_ctrl(ssl, 123, version, null);
}

export function SSL_set_max_proto_version(ssl: Ssl, version: number): number {
	return SSL_ctrl(ssl, 124, version, null);
}

/** @param name - a character per byte. */
export function SSL_set_tlsext_host_name(ssl: Ssl, name: string): number {
	return SSL_ctrl_text(ssl, 55, 0, cText(name));
}

/** The peer's ephemeral key; the caller owns it. Null when there is none. */
export function SSL_get_peer_tmp_key(ssl: Ssl): EvpPkey | null {
	scratch.view.setBigUint64(0, 0n, true);
	const found = SSL_ctrl(ssl, 109, 0, scratch.address) === 1;
	const key = scratch.view.getBigUint64(0, true);
	return found && key !== 0n ? (key as EvpPkey) : null;
}

/** NID of the digest in the signature of the local certificate's key; undefined when nothing was signed. */
export function SSL_get_signature_nid(ssl: Ssl): number | undefined {
	scratch.view.setInt32(0, 0, true);
	return SSL_ctrl(ssl, 132, 0, scratch.address) === 1 ? scratch.view.getInt32(0, true) : undefined;
}

/** NID of the digest in the peer's signature; undefined when there is none. */
export function SSL_get_peer_signature_nid(ssl: Ssl): number | undefined {
	scratch.view.setInt32(0, 0, true);
	return SSL_ctrl(ssl, 108, 0, scratch.address) === 1 ? scratch.view.getInt32(0, true) : undefined;
}

export const SSL_set_security_level: (ssl: Ssl, level: number) => void = libssl.func(
	'void SSL_set_security_level(void *ssl, int level)',
);
export const SSL_get_security_level: (ssl: Ssl) => number = libssl.func(
	'int SSL_get_security_level(const void *ssl)',
);
export const SSL_set_verify: (ssl: Ssl, mode: number, callback: VerifyCallback | null) => void = libssl.func(
	'void SSL_set_verify(void *ssl, int mode, void *cb)',
);

/* Handshake and data */
export const SSL_ERROR_SSL = 1;
export const SSL_ERROR_WANT_READ = 2;
export const SSL_ERROR_WANT_WRITE = 3;
export const SSL_connect: (ssl: Ssl) => number = libssl.func('int SSL_connect(void *ssl)');
export const SSL_read: (ssl: Ssl, buffer: Address, size: number) => number = libssl.func(
	'int SSL_read(void *ssl, void *buf, int num)',
);
export const SSL_write: (ssl: Ssl, buffer: Address | Uint8Array, size: number) => number = libssl.func(
	'int SSL_write(void *ssl, const void *buf, int num)',
);
/** Gives back the memory of records, unless some of it is in use: then the result is 0. */
export const SSL_free_buffers: (ssl: Ssl) => number = libssl.func('int SSL_free_buffers(void *ssl)');
export const SSL_shutdown: (ssl: Ssl) => number = libssl.func('int SSL_shutdown(void *ssl)');
export const SSL_get_error: (ssl: Ssl, result: number) => number = libssl.func(
	'int SSL_get_error(const void *ssl, int ret)',
);

/* Outcome */
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

/** Bits of a cipher: those that count, and those of the algorithm. */
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
const SSL_get0_peer_certificateC: () => ((ssl: Ssl) => X509 | null) | undefined = libssl.optional(
	'void *SSL_get0_peer_certificate(const void *ssl)',
);
const SSL_get_peer_certificate: () => ((ssl: Ssl) => X509 | null) | undefined = libssl.optional(
	'void *SSL_get_peer_certificate(const void *ssl)',
);

/** Borrowed from the connection. Before 3.0 there is only a function that gives a reference. */
export function SSL_get0_peer_certificate(ssl: Ssl): X509 | null {
	const borrow = SSL_get0_peer_certificateC();
	if (borrow !== undefined) {
		return borrow(ssl);
	}

	const certificate = SSL_get_peer_certificate()?.(ssl) ?? null;
	if (certificate !== null) {
		X509_free(certificate);
	}

	return certificate;
}

/** Borrowed from the connection. */
export const SSL_get_privatekey: (ssl: Ssl) => EvpPkey | null = libssl.func(
	'void *SSL_get_privatekey(const void *ssl)',
);
export const SSL_get0_peername: (ssl: Ssl) => string | null = libssl.func(
	'const char *SSL_get0_peername(void *ssl)',
);

/* Callbacks */
export const SSL_CB_LOOP = 0x01;
export const SSL_CB_EXIT = 0x02;
export const SSL_CB_READ = 0x04;
export const SSL_CB_ALERT = 0x4000;
export const SSL_ST_CONNECT = 0x1000;
export const SSL_ST_ACCEPT = 0x2000;
export const SSL3_AD_CLOSE_NOTIFY = 0;
export const SSL_state_string_long: (ssl: Ssl) => string = libssl.func(
	'const char *SSL_state_string_long(const void *ssl)',
);
export const SSL_alert_type_string_long: (value: number) => string = libssl.func(
	'const char *SSL_alert_type_string_long(int value)',
);
export const SSL_alert_desc_string_long: (value: number) => string = libssl.func(
	'const char *SSL_alert_desc_string_long(int value)',
);
export const SSL_get_rbio: (ssl: Ssl) => Bio | null = libssl.func('void *SSL_get_rbio(const void *ssl)');
export const SSL_get_ex_data_X509_STORE_CTX_idx: () => number = libssl.func(
	'int SSL_get_ex_data_X509_STORE_CTX_idx(void)',
);
