/*++
/* NAME
/*	ssl-server 3
/* SUMMARY
/*	bindings of OpenSSL's libssl: the server's side
/* DESCRIPTION
/*	C as it is, no policy, in the order of the header. Macros of the
/*	header are functions here, under the macro's name.
/* SEE ALSO
/*	libssl(3), for all that both sides have
/*--*/

import {addon as koffi} from '../libc/addon.ts';
import {type Address, strlen} from '../libc/libc.ts';
import type {Pointer} from './libcrypto.ts';
import {
	type ChainCallback,
	SSL_CTX_ctrl,
	type Ssl,
	type SslCtx,
	type SslMethod,
	type VerifyCallback,
} from './libssl.ts';
import {libssl} from './openssl.ts';

type NameStack = Pointer<'STACK_OF(X509_NAME)'>;

export const TLS_server_method: () => SslMethod = libssl.func('const void *TLS_server_method(void)');
export const SSL_accept: (ssl: Ssl) => number = libssl.func('int SSL_accept(void *ssl)');

/* SSL_CTX */
export function SSL_CTX_set_min_proto_version(ctx: SslCtx, version: number): number {
	return SSL_CTX_ctrl(ctx, 123, version, null);
}

export function SSL_CTX_set_max_proto_version(ctx: SslCtx, version: number): number {
	return SSL_CTX_ctrl(ctx, 124, version, null);
}

export const SSL_VERIFY_PEER = 0x01;
export const SSL_VERIFY_CLIENT_ONCE = 0x04;
export const SSL_CTX_set_verify: (ctx: SslCtx, mode: number, callback: VerifyCallback | null) => void =
	libssl.func('void SSL_CTX_set_verify(void *ctx, int mode, void *cb)');
export const SSL_CTX_set_cert_verify_callback: (ctx: SslCtx, callback: ChainCallback, arg: null) => void =
	libssl.func('void SSL_CTX_set_cert_verify_callback(void *ctx, void *cb, void *arg)');

const SSL_load_client_CA_file: (file: string) => NameStack | null = libssl.func(
	'void *SSL_load_client_CA_file(const char *file)',
);
const SSL_CTX_set_client_CA_list: (ctx: SslCtx, names: NameStack) => void = libssl.func(
	'void SSL_CTX_set_client_CA_list(void *ctx, void *list)',
);

/** Has clients told which authorities we know: those of a file. False when it cannot be read. */
export function nameAuthorities(ctx: SslCtx, file: string): boolean {
	const names = SSL_load_client_CA_file(file);
	if (names === null) {
		return false;
	}

	/* The context owns them from here on. */
	SSL_CTX_set_client_CA_list(ctx, names);
	return true;
}

/* Sessions */
const SSL_CTRL_SET_SESS_CACHE_SIZE = 42;
export function SSL_CTX_sess_set_cache_size(ctx: SslCtx, size: number): void {
	SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_SIZE, size, null);
}

export const SSL_CTX_set_session_id_context: (ctx: SslCtx, context: Uint8Array, size: number) => number =
	libssl.func('int SSL_CTX_set_session_id_context(void *ctx, const void *sid_ctx, unsigned int len)');
export const SSL_set_session_id_context: (ssl: Ssl, context: Uint8Array, size: number) => number =
	libssl.func('int SSL_set_session_id_context(void *ssl, const void *sid_ctx, unsigned int len)');

/* Server names */
/** A function of ours that C may call: callback(3). */
export type ServerNameCallback = Pointer<'server name callback'>;

export const SSL_TLSEXT_ERR_OK = 0;
export const SSL_TLSEXT_ERR_ALERT_FATAL = 2;
export const SSL_TLSEXT_ERR_NOACK = 3;
export const SSL_AD_INTERNAL_ERROR = 80;
const TLSEXT_NAMETYPE_host_name = 0;

const SSL_CTX_callback_ctrl: (ctx: SslCtx, command: number, callback: ServerNameCallback) => number =
	libssl.func('long SSL_CTX_callback_ctrl(void *ctx, int cmd, void *fp)');
export function SSL_CTX_set_tlsext_servername_callback(ctx: SslCtx, callback: ServerNameCallback): void {
	SSL_CTX_callback_ctrl(ctx, 53, callback);
}

/** A function of ours that C may call: callback(3). */
export type CertificateCallback = Pointer<'certificate callback'>;

export const SSL_CTX_set_cert_cb: (ctx: SslCtx, callback: CertificateCallback, arg: null) => void =
	libssl.func('void SSL_CTX_set_cert_cb(void *ctx, void *cb, void *arg)');
/** Takes all certificates and keys from a connection. */
export const SSL_certs_clear: (ssl: Ssl) => void = libssl.func('void SSL_certs_clear(void *ssl)');

export const SSL_set_SSL_CTX: (ssl: Ssl, ctx: SslCtx) => SslCtx | null = libssl.func(
	'void *SSL_set_SSL_CTX(void *ssl, void *ctx)',
);
const SSL_get_servername: (ssl: Ssl, type: number) => Address | null = libssl.func(
	'void *SSL_get_servername(const void *ssl, int type)',
);

/** The name that the client has asked for, a character per byte; empty when there is none. */
export function serverNameOf(ssl: Ssl): string {
	const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	return name === null ? '' : Buffer.from(koffi.view(name, strlen(name))).toString('latin1');
}
