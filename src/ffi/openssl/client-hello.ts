/*++
/* NAME
/*	client-hello 3
/* SUMMARY
/*	bindings of OpenSSL: the ClientHello message
/* DESCRIPTION
/*	The parts of a ClientHello can be read inside of a
/*	ClientHelloCallback only. They are returned as copies.
/* SEE ALSO
/*	SSL_CTX_set_client_hello_cb(3ssl)
/*--*/

import {addon as koffi} from '../libc/addon.ts';
import {type Address, allocate} from '../libc/libc.ts';
import {libssl} from './binding.ts';
import type {Pointer} from './libcrypto.ts';
import type {Ssl} from './ssl.ts';
import type {SslCtx} from './ssl-ctx.ts';

/** A function of this program that OpenSSL can call: see callback(3). */
export type ClientHelloCallback = Pointer<'client hello callback'>;

const scratch = allocate(16);

export const SSL_CLIENT_HELLO_SUCCESS = 1;
export const SSL_CLIENT_HELLO_RETRY = -1;
/** SSL_get_error(): the callback has returned SSL_CLIENT_HELLO_RETRY. */
export const SSL_ERROR_WANT_CLIENT_HELLO_CB = 11;

export const SSL_CTX_set_client_hello_cb: (ctx: SslCtx, callback: ClientHelloCallback, arg: null) => void =
	libssl.func('void SSL_CTX_set_client_hello_cb(void *ctx, void *callback, void *arg)');
const SSL_client_hello_get0_session_id: (ssl: Ssl, out: Address) => number = libssl.func(
	'size_t SSL_client_hello_get0_session_id(void *ssl, void *out)',
);
const SSL_client_hello_get0_ext: (ssl: Ssl, type: number, out: Address, length: Address) => number =
	libssl.func('int SSL_client_hello_get0_ext(void *ssl, unsigned int type, void *out, void *outlen)');

/** The session id in the ClientHello; often empty. */
export function helloSessionId(ssl: Ssl): Uint8Array {
	const length = SSL_client_hello_get0_session_id(ssl, scratch.address);
	return bytesAt(length);
}

/** The contents of an extension; undefined if the ClientHello does not have it. */
export function helloExtension(ssl: Ssl, type: number): Uint8Array | undefined {
	const length = (scratch.address + 8n) as Address;
	return SSL_client_hello_get0_ext(ssl, type, scratch.address, length) === 1
		? bytesAt(Number(scratch.view.getBigUint64(8, true)))
		: undefined;
}

function bytesAt(length: number): Uint8Array {
	const address = scratch.view.getBigUint64(0, true) as Address;
	return length === 0 ? new Uint8Array() : new Uint8Array(koffi.view(address, length).slice(0));
}
