/*++
/* NAME
/*	ssl-ctx 3
/* SUMMARY
/*	bindings of OpenSSL: SSL_CTX
/* DESCRIPTION
/*	Functions of openssl/ssl.h whose names begin with SSL_CTX_, with
/*	their constants. They do what C does, and add no policy. Macros of
/*	the header are functions with the name of the macro.
/*
/*	A pointer that is returned is owned by the object it was taken
/*	from, unless stated otherwise.
/* SEE ALSO
/*	binding(3), how the libraries are loaded; ssl(3), dane(3), dh(3),
/*	raw-public-key(3), ssl-session(3), ticket(3) for other functions
/*	of the header
/*--*/

import {type Address, allocate} from '../libc/libc.ts';
import {libssl} from './binding.ts';
import {type EvpPkey, isOpenssl3, type Pointer} from './libcrypto.ts';
import type {StackOfX509, X509, X509Store} from './x509.ts';

export type SslMethod = Pointer<'SSL_METHOD'>;
export type SslCtx = Pointer<'SSL_CTX'>;
type NameStack = Pointer<'STACK_OF(X509_NAME)'>;

/* Functions of this program that OpenSSL can call: see callback(3). */
export type VerifyCallback = Pointer<'verify callback'>;
export type ChainCallback = Pointer<'chain callback'>;
export type InfoCallback = Pointer<'info callback'>;
export type ServerNameCallback = Pointer<'server name callback'>;
export type CertificateCallback = Pointer<'certificate callback'>;

const scratch = allocate(64);

/* Methods and contexts. */
export const TLS_client_method: () => SslMethod = libssl.func('const void *TLS_client_method(void)');
export const TLS_server_method: () => SslMethod = libssl.func('const void *TLS_server_method(void)');
export const SSL_CTX_new: (method: SslMethod) => SslCtx | null = libssl.func(
	'void *SSL_CTX_new(const void *method)',
);
export const SSL_CTX_free: (ctx: SslCtx) => void = libssl.func('void SSL_CTX_free(void *ctx)');

/* Most macros of the header call this function. */
export const SSL_CTX_ctrl: (ctx: SslCtx, command: number, larg: number, parg: Address | null) => number =
	libssl.func('long SSL_CTX_ctrl(void *ctx, int cmd, long larg, void *parg)');
const SSL_CTX_ctrl_ints: (ctx: SslCtx, command: number, larg: number, parg: Int32Array) => number =
	libssl.func('long SSL_CTX_ctrl(void *ctx, int cmd, long larg, const int *parg)');
const SSL_CTX_ctrl_text: (ctx: SslCtx, command: number, larg: number, parg: string) => number = libssl.func(
	'long SSL_CTX_ctrl(void *ctx, int cmd, long larg, const char *parg)',
);
const SSL_CTX_callback_ctrl: (ctx: SslCtx, command: number, callback: ServerNameCallback) => number =
	libssl.func('long SSL_CTX_callback_ctrl(void *ctx, int cmd, void *fp)');

/* Options, mode, versions. Source: openssl/ssl.h of 3.0. */
export const SSL_CTX_set_options: (ctx: SslCtx, options: number) => number | bigint = libssl.func(
	'uint64_t SSL_CTX_set_options(void *ctx, uint64_t op)',
);
export const SSL_CTX_clear_options: (ctx: SslCtx, options: number) => number | bigint = libssl.func(
	'uint64_t SSL_CTX_clear_options(void *ctx, uint64_t op)',
);

/** The workarounds that are enabled by default. OpenSSL 1.1.1 has one more. */
export function SSL_OP_ALL(): number {
	return isOpenssl3() ? 0x80000850 : 0x80000854;
}

export const SSL_OP_LEGACY_SERVER_CONNECT = 0x4;
/** OpenSSL 1.1.1 has no option with this bit. */
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

export const SSL_MODE_ENABLE_PARTIAL_WRITE = 0x1;
export const SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER = 0x2;
export const SSL_MODE_RELEASE_BUFFERS = 0x10;
const SSL_CTRL_MODE = 33;

export function SSL_CTX_set_mode(ctx: SslCtx, mode: number): number {
	return SSL_CTX_ctrl(ctx, SSL_CTRL_MODE, mode, null);
}
const SSL_CTRL_SET_MIN_PROTO_VERSION = 123;
const SSL_CTRL_SET_MAX_PROTO_VERSION = 124;

export function SSL_CTX_set_min_proto_version(ctx: SslCtx, version: number): number {
	return SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MIN_PROTO_VERSION, version, null);
}

export function SSL_CTX_set_max_proto_version(ctx: SslCtx, version: number): number {
	return SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MAX_PROTO_VERSION, version, null);
}

/* Ciphers and groups. */
export const SSL_CTX_set_security_level: (ctx: SslCtx, level: number) => void = libssl.func(
	'void SSL_CTX_set_security_level(void *ctx, int level)',
);
export const SSL_CTX_set_cipher_list: (ctx: SslCtx, list: string) => number = libssl.func(
	'int SSL_CTX_set_cipher_list(void *ctx, const char *list)',
);
const SSL_CTRL_SET_GROUPS = 91;
const SSL_CTRL_SET_GROUPS_LIST = 92;

/** Returns 1 if the library accepts the groups. */
export function SSL_CTX_set1_groups(ctx: SslCtx, nids: readonly number[]): number {
	return SSL_CTX_ctrl_ints(ctx, SSL_CTRL_SET_GROUPS, nids.length, Int32Array.from(nids));
}

/** Returns 1 if the library accepts the names, which are separated by colons. */
export function SSL_CTX_set1_groups_list(ctx: SslCtx, names: string): number {
	return SSL_CTX_ctrl_text(ctx, SSL_CTRL_SET_GROUPS_LIST, 0, names);
}

/* Verification. */
export const SSL_VERIFY_NONE = 0;
export const SSL_VERIFY_PEER = 0x01;
export const SSL_VERIFY_CLIENT_ONCE = 0x04;
export const SSL_CTX_set_verify: (ctx: SslCtx, mode: number, callback: VerifyCallback | null) => void =
	libssl.func('void SSL_CTX_set_verify(void *ctx, int mode, void *cb)');
export const SSL_CTX_set_verify_depth: (ctx: SslCtx, depth: number) => void = libssl.func(
	'void SSL_CTX_set_verify_depth(void *ctx, int depth)',
);
export const SSL_CTX_set_cert_verify_callback: (ctx: SslCtx, callback: ChainCallback, arg: null) => void =
	libssl.func('void SSL_CTX_set_cert_verify_callback(void *ctx, void *cb, void *arg)');
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
const SSL_load_client_CA_file: (file: Uint8Array) => NameStack | null = libssl.func(
	'void *SSL_load_client_CA_file(const char *file)',
);
const SSL_CTX_set_client_CA_list: (ctx: SslCtx, names: NameStack) => void = libssl.func(
	'void SSL_CTX_set_client_CA_list(void *ctx, void *list)',
);

/**
 * Sends clients the names of the certificates in a file as acceptable CAs.
 *
 * @param file - name of the file, as a string in C.
 * @returns false if the file cannot be read.
 */
export function setClientCaFile(ctx: SslCtx, file: Uint8Array): boolean {
	const names = SSL_load_client_CA_file(file);
	if (names === null) {
		return false;
	}

	/* The context takes ownership. */
	SSL_CTX_set_client_CA_list(ctx, names);
	return true;
}

const SSL_CTX_get_cert_store: (ctx: SslCtx) => X509Store = libssl.func(
	'void *SSL_CTX_get_cert_store(const void *ctx)',
);
const SSL_CTX_set1_cert_store: (ctx: SslCtx, store: X509Store) => void = libssl.func(
	'void SSL_CTX_set1_cert_store(void *ctx, void *store)',
);

/** Uses the trusted certificates of a context for another one. Both refer to the same X509_STORE. */
export function copyCertStore(from: SslCtx, to: SslCtx): void {
	SSL_CTX_set1_cert_store(to, SSL_CTX_get_cert_store(from));
}

/* Certificates and keys. */
export const SSL_FILETYPE_PEM = 1;
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
const SSL_CTX_get0_certificate: (ctx: SslCtx) => X509 | null = libssl.func(
	'void *SSL_CTX_get0_certificate(const void *ctx)',
);
const SSL_CTX_get0_privatekey: (ctx: SslCtx) => EvpPkey | null = libssl.func(
	'void *SSL_CTX_get0_privatekey(const void *ctx)',
);
const SSL_CTRL_GET_CHAIN_CERTS = 115;
const SSL_CTRL_SET_CURRENT_CERT = 117;
const SSL_CERT_SET_FIRST = 1;
const SSL_CERT_SET_NEXT = 2;

/** A certificate with its key and its chain; borrowed from a context. */
export interface Identity {
	readonly certificate: X509 | null;
	readonly key: EvpPkey | null;
	readonly chain: StackOfX509;
}

/**
 * The certificates of a context: one per type of key. Changes the current certificate of the context, which
 * matters to nothing else in this program.
 */
export function* identitiesOf(ctx: SslCtx): Generator<Identity> {
	for (let which = SSL_CERT_SET_FIRST; SSL_CTX_ctrl(ctx, SSL_CTRL_SET_CURRENT_CERT, which, null) === 1; ) {
		scratch.view.setBigUint64(0, 0n, true);
		SSL_CTX_ctrl(ctx, SSL_CTRL_GET_CHAIN_CERTS, 0, scratch.address);
		const chain = scratch.view.getBigUint64(0, true) as StackOfX509;
		yield {certificate: SSL_CTX_get0_certificate(ctx), key: SSL_CTX_get0_privatekey(ctx), chain};
		which = SSL_CERT_SET_NEXT;
	}
}

/**
 * Uses the certificates, keys and chains of a context for another one. Both refer to the same objects.
 *
 * @returns false if OpenSSL rejects one of them.
 */
export function copyIdentity(from: SslCtx, to: SslCtx): boolean {
	return identitiesOf(from).every(
		({certificate, key, chain}) =>
			certificate !== null && key !== null && SSL_CTX_use_cert_and_key(to, certificate, key, chain, 1) === 1,
	);
}

/** Whether a context has a certificate with its key. */
export function hasIdentity(ctx: SslCtx): boolean {
	return SSL_CTX_get0_certificate(ctx) !== null && SSL_CTX_get0_privatekey(ctx) !== null;
}

/* Callbacks. */
export const SSL_CTX_set_info_callback: (ctx: SslCtx, callback: InfoCallback) => void = libssl.func(
	'void SSL_CTX_set_info_callback(void *ctx, void *cb)',
);
export const SSL_CTX_set_cert_cb: (ctx: SslCtx, callback: CertificateCallback, arg: null) => void =
	libssl.func('void SSL_CTX_set_cert_cb(void *ctx, void *cb, void *arg)');
const SSL_CTRL_SET_TLSEXT_SERVERNAME_CB = 53;

export function SSL_CTX_set_tlsext_servername_callback(ctx: SslCtx, callback: ServerNameCallback): void {
	SSL_CTX_callback_ctrl(ctx, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB, callback);
}

/* Sessions. */
const SSL_CTRL_SET_SESS_CACHE_MODE = 44;

/** Sets SSL_SESS_CACHE_ bits. */
export function SSL_CTX_set_session_cache_mode(ctx: SslCtx, mode: number): void {
	SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_MODE, mode, null);
}

const SSL_CTRL_SET_SESS_CACHE_SIZE = 42;

export function SSL_CTX_sess_set_cache_size(ctx: SslCtx, size: number): void {
	SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_SIZE, size, null);
}

export const SSL_CTX_set_session_id_context: (ctx: SslCtx, context: Uint8Array, size: number) => number =
	libssl.func('int SSL_CTX_set_session_id_context(void *ctx, const void *sid_ctx, unsigned int len)');
