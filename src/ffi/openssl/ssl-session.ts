/*++
/* NAME
/*	ssl-session 3
/* SUMMARY
/*	bindings of OpenSSL: SSL_SESSION
/* DESCRIPTION
/*	Sessions are pointers, or bytes in OpenSSL's DER form. A pointer
/*	that a function of this module returns is owned by the caller.
/* SECURITY
/*	The bytes contain the secret from which the keys of resumed
/*	connections are derived.
/*--*/

import {addon as koffi} from '../libc/addon.ts';
import {type Address, allocate} from '../libc/libc.ts';
import {libssl} from './binding.ts';
import {decodeDer, encodeDer, type Pointer} from './libcrypto.ts';
import type {Ssl} from './ssl.ts';
import type {SslCtx} from './ssl-ctx.ts';

const scratch = allocate(8);

export type SslSession = Pointer<'SSL_SESSION'>;
/* Functions of this program that OpenSSL can call: see callback(3). */
export type NewSessionCallback = Pointer<'new session callback'>;
export type GetSessionCallback = Pointer<'get session callback'>;

export const SSL_CTX_sess_set_new_cb: (ctx: SslCtx, callback: NewSessionCallback) => void = libssl.func(
	'void SSL_CTX_sess_set_new_cb(void *ctx, void *callback)',
);
export const SSL_CTX_sess_set_get_cb: (ctx: SslCtx, callback: GetSessionCallback) => void = libssl.func(
	'void SSL_CTX_sess_set_get_cb(void *ctx, void *callback)',
);
export const SSL_CTX_set_timeout: (ctx: SslCtx, seconds: number) => number = libssl.func(
	'long SSL_CTX_set_timeout(void *ctx, long t)',
);
const i2d_SSL_SESSION: (session: SslSession, to: Address) => number = libssl.func(
	'int i2d_SSL_SESSION(const void *session, void *pp)',
);
const d2i_SSL_SESSION: (session: null, from: Address, size: number) => SslSession | null = libssl.func(
	'void *d2i_SSL_SESSION(void *session, void *pp, long length)',
);
/** A copy of a session, including ticket and certificates; null without memory. */
export const SSL_SESSION_dup: (session: SslSession) => SslSession | null = libssl.func(
	'void *SSL_SESSION_dup(const void *session)',
);
export const SSL_SESSION_free: (session: SslSession) => void = libssl.func(
	'void SSL_SESSION_free(void *session)',
);
export const SSL_set_session: (ssl: Ssl, session: SslSession) => number = libssl.func(
	'int SSL_set_session(void *ssl, void *session)',
);

const SSL_SESSION_get_id: (session: SslSession, length: Address) => Address = libssl.func(
	'void *SSL_SESSION_get_id(const void *session, void *len)',
);

/** The id of a session. */
export function sessionId(session: SslSession): Uint8Array {
	const id = SSL_SESSION_get_id(session, scratch.address);
	return new Uint8Array(koffi.view(id, scratch.view.getUint32(0, true)).slice(0));
}

/** The DER form of a session; undefined if it has none. */
export function sessionBytes(session: SslSession): Buffer | undefined {
	return encodeDer(to => i2d_SSL_SESSION(session, to));
}

/** Decodes a session; null if the bytes are not a session that this library knows. */
export function decodeSession(bytes: Uint8Array): SslSession | null {
	return decodeDer(bytes, (position, length) => d2i_SSL_SESSION(null, position, length))?.object ?? null;
}

const SSL_SESSION_get_protocol_version: (session: SslSession) => number = libssl.func(
	'int SSL_SESSION_get_protocol_version(const void *session)',
);
const TLS1_3_VERSION = 0x0304;

/** Whether a session should be used once only, so that observers cannot link connections. RFC 8446, appendix C.4. */
export function isSingleUse(session: SslSession): boolean {
	return SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION;
}
