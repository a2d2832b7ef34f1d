/*++
/* NAME
/*	ticket 3
/* SUMMARY
/*	bindings of OpenSSL: encryption of session tickets
/* DESCRIPTION
/*	The functions that a ticket key callback needs: ciphers, random
/*	bytes and the message authentication code. They add no policy.
/*	OpenSSL 3.0 and 1.1.1 have different functions for the message
/*	authentication code; initHmac() calls the right one.
/* SEE ALSO
/*	SSL_CTX_set_tlsext_ticket_key_evp_cb(3ssl)
/*--*/

import {type Address, allocate} from '../libc/libc.ts';
import {libcrypto, libssl} from './binding.ts';
import {EVP_get_digestbyname, type EvpMd, type Pointer} from './libcrypto.ts';
import type {Ssl} from './ssl.ts';
import type {SslCtx} from './ssl-ctx.ts';

export type EvpCipher = Pointer<'EVP_CIPHER'>;
/** EVP_CIPHER_CTX. */
export type CipherCtx = Pointer<'EVP_CIPHER_CTX'>;
/** EVP_MAC_CTX; before 3.0 HMAC_CTX. */
export type MacCtx = Pointer<'EVP_MAC_CTX'>;
/** A function of this program that OpenSSL can call: see callback(3). */
export type TicketKeyCallback = Pointer<'ticket key callback'>;

/* Ciphers */
const EVP_CIPHER_fetch: () => ((context: null, name: string, query: null) => EvpCipher | null) | undefined =
	libcrypto.optional('void *EVP_CIPHER_fetch(void *ctx, const char *algorithm, const char *properties)');
const EVP_get_cipherbyname: (name: string) => EvpCipher | null = libcrypto.func(
	'void *EVP_get_cipherbyname(const char *name)',
);
const EVP_CIPHER_get_flags: (cipher: EvpCipher) => number = libcrypto.func(
	'unsigned long EVP_CIPHER_get_flags(const void *cipher)',
	'EVP_CIPHER_flags',
);
const EVP_CIPH_MODE = 0xf0007;
export const EVP_CIPH_CBC_MODE = 0x2;
export const EVP_CIPHER_get_iv_length: (cipher: EvpCipher) => number = libcrypto.func(
	'int EVP_CIPHER_get_iv_length(const void *cipher)',
	'EVP_CIPHER_iv_length',
);
export const EVP_CIPHER_get_key_length: (cipher: EvpCipher) => number = libcrypto.func(
	'int EVP_CIPHER_get_key_length(const void *cipher)',
	'EVP_CIPHER_key_length',
);

/** Mode of a cipher. In OpenSSL 1.1.1, a macro. */
export function EVP_CIPHER_get_mode(cipher: EvpCipher): number {
	return EVP_CIPHER_get_flags(cipher) & EVP_CIPH_MODE;
}

/** The cipher with a name; null for an unknown name. It is never released: callers look it up once per process. */
export function cipherOf(name: string): EvpCipher | null {
	const fetch = EVP_CIPHER_fetch();
	return fetch === undefined ? EVP_get_cipherbyname(name) : fetch(null, name, null);
}

type CipherInit = (ctx: CipherCtx, cipher: EvpCipher, engine: null, key: Uint8Array, iv: Address) => number;
export const EVP_EncryptInit_ex: CipherInit = libcrypto.func(
	'int EVP_EncryptInit_ex(void *ctx, const void *cipher, void *impl, const void *key, const void *iv)',
);
export const EVP_DecryptInit_ex: CipherInit = libcrypto.func(
	'int EVP_DecryptInit_ex(void *ctx, const void *cipher, void *impl, const void *key, const void *iv)',
);
export const RAND_bytes: (to: Address, size: number) => number = libcrypto.func(
	'int RAND_bytes(void *buf, int num)',
);

/* Authentication */
const EVP_MAC_CTX_set_params: () => ((ctx: MacCtx, params: Address) => number) | undefined =
	libcrypto.optional('int EVP_MAC_CTX_set_params(void *ctx, const void *params)');
const HMAC_Init_ex: (ctx: MacCtx, key: Uint8Array, size: number, md: EvpMd, engine: null) => number =
	libcrypto.func('int HMAC_Init_ex(void *ctx, const void *key, int len, const void *md, void *impl)');

/* The data of a list of OSSL_PARAM, and then the list. Source: openssl/core.h, 64 bits. */
const KEY = 32;
const KEY_SIZE = 32;
const PARAMS = 64;
const PARAM_SIZE = 40;
const OSSL_PARAM_UTF8_STRING = 4;
const OSSL_PARAM_OCTET_STRING = 5;
const page = allocate(PARAMS + 3 * PARAM_SIZE);
const nameOfDigest = text(0, 'digest');
const digest = text(8, 'sha256');
const nameOfKey = text(16, 'key');
param(0, nameOfDigest, OSSL_PARAM_UTF8_STRING, digest, 'sha256'.length);
param(1, nameOfKey, OSSL_PARAM_OCTET_STRING, at(KEY), KEY_SIZE);

/** Prepares a ticket's MAC context for HMAC with SHA-256. Returns false on failure. */
export function initHmac(mac: MacCtx, key: Uint8Array): boolean {
	const setParams = EVP_MAC_CTX_set_params();
	if (setParams === undefined) {
		const md = EVP_get_digestbyname('sha256');
		return md !== null && HMAC_Init_ex(mac, key, key.length, md, null) === 1;
	}

	page.bytes.set(key, KEY);
	const set = setParams(mac, at(PARAMS)) === 1;
	page.bytes.fill(0, KEY, KEY + KEY_SIZE);
	return set;
}

function at(offset: number): Address {
	return (page.address + BigInt(offset)) as Address;
}

function text(offset: number, value: string): Address {
	page.bytes.set(Buffer.from(value), offset);
	return at(offset);
}

function param(index: number, name: Address, type: number, data: Address, size: number): void {
	const offset = PARAMS + index * PARAM_SIZE;
	page.view.setBigUint64(offset, name, true);
	page.view.setUint32(offset + 8, type, true);
	page.view.setBigUint64(offset + 16, data, true);
	page.view.setBigUint64(offset + 24, BigInt(size), true);
	/* OSSL_PARAM_UNMODIFIED */
	page.view.setBigUint64(offset + 32, 0xffffffffffffffffn, true);
}

/* SSL_CTX and SSL */
const SSL_CTX_set_tlsext_ticket_key_evp_cb: () =>
	| ((ctx: SslCtx, callback: TicketKeyCallback) => number)
	| undefined = libssl.optional('int SSL_CTX_set_tlsext_ticket_key_evp_cb(void *ctx, void *fp)');
const SSL_CTX_callback_ctrl: (ctx: SslCtx, command: number, callback: TicketKeyCallback) => number =
	libssl.func('long SSL_CTX_callback_ctrl(void *ctx, int cmd, void *fp)');
const SSL_CTRL_SET_TLSEXT_TICKET_KEY_CB = 72;

/** Sets the callback that encrypts and decrypts tickets. In OpenSSL 1.1.1, a macro. */
export function setTicketKeyCallback(ctx: SslCtx, callback: TicketKeyCallback): void {
	const set = SSL_CTX_set_tlsext_ticket_key_evp_cb();
	if (set === undefined) {
		SSL_CTX_callback_ctrl(ctx, SSL_CTRL_SET_TLSEXT_TICKET_KEY_CB, callback);
	} else {
		set(ctx, callback);
	}
}

export const SSL_CTX_set_num_tickets: (ctx: SslCtx, count: number) => number = libssl.func(
	'int SSL_CTX_set_num_tickets(void *ctx, size_t num_tickets)',
);
export const SSL_set_num_tickets: (ssl: Ssl, count: number) => number = libssl.func(
	'int SSL_set_num_tickets(void *ssl, size_t num_tickets)',
);
