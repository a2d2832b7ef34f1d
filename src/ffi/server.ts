/*++
/* NAME
/*	server 3
/* SUMMARY
/*	bindings of OpenSSL's libssl: the server's side
/* DESCRIPTION
/*	C as it is, no policy, in the order of the header. Macros of the
/*	header are functions here, under the macro's name.
/* SEE ALSO
/*	libssl(3), for all that both sides have
/*--*/

import type {Pointer} from './libcrypto.ts';
import {SSL_CTX_ctrl, type Ssl, type SslCtx, type SslMethod, type VerifyCallback} from './libssl.ts';
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
