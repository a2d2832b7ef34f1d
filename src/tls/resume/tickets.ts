/*++
/* NAME
/*	tickets 3
/* SUMMARY
/*	encrypts and decrypts session tickets
/* DESCRIPTION
/*	A ticket consists of the name of its key, and of a session that is
/*	encrypted and authenticated with that key. The keys come from
/*	tlsmgr(8), so that all programs of Postfix can decrypt each other's
/*	tickets.
/* SEE ALSO
/*	RFC 5077; postfix src/tls/tls_server.c, ticket_cb()
/*--*/

import {Lru} from '../../base/lru.ts';
import {registerTicketKeyCallback, type TicketCall} from '../../ffi/openssl/callback.ts';
import {ERR_clear_error} from '../../ffi/openssl/libcrypto.ts';
import type {SslCtx} from '../../ffi/openssl/ssl-ctx.ts';
import {
	cipherOf,
	EVP_CIPH_CBC_MODE,
	EVP_CIPHER_get_iv_length,
	EVP_CIPHER_get_key_length,
	EVP_CIPHER_get_mode,
	EVP_DecryptInit_ex,
	EVP_EncryptInit_ex,
	type EvpCipher,
	initHmac,
	RAND_bytes,
	SSL_CTX_set_num_tickets,
	setTicketKeyCallback,
} from '../../ffi/openssl/ticket.ts';
import {warning} from '../../log/log.ts';
import {withResumption} from './server-resumption.ts';

/* Sizes in bytes. Source: TLS_TICKET_, postfix src/tls/tls_scache.h. */
const IV_SIZE = 16;
const KEY_SIZE_MIN = 16;
const KEY_SIZE_MAX = 32;

/* Results of the callback. Source: SSL_CTX_set_tlsext_ticket_key_evp_cb(3). */
const TICKET_ERROR = -1;
const TICKET_UNUSABLE = 0;
const TICKET_OK = 1;

/*
 * Usable ciphers, and null for names that are not. From Postfix 3.12 on requests contain such names. A cipher is
 * never released: an SSL_CTX uses it after its name was dropped here, and OpenSSL has one object per cipher.
 */
const CIPHER_LIMIT = 10;
const ciphers = new Lru<string, EvpCipher | null>(CIPHER_LIMIT);

/**
 * The cipher of tickets.
 *
 * @param name - tls_session_ticket_cipher.
 * @returns undefined if it cannot be used; that has been logged.
 */
export function ticketCipher(name: string): EvpCipher | undefined {
	let cipher = ciphers.get(name);
	if (cipher === undefined) {
		cipher = usableCipher(name);
		ciphers.set(name, cipher);
	}

	if (cipher === null) {
		warning(`tls_session_ticket_cipher: invalid value: ${name}; session tickets disabled`);
		return undefined;
	}

	return cipher;
}

/** Enables tickets: connections of an SSL_CTX use the keys of their {@link ServerResumption}. */
export function enableTickets(ctx: SslCtx): void {
	setTicketKeyCallback(ctx, ticketKeyCallback);
	/* SMTP clients store one ticket. */
	SSL_CTX_set_num_tickets(ctx, 1);
}

function usableCipher(name: string): EvpCipher | null {
	const cipher = cipherOf(name);
	ERR_clear_error();
	if (cipher === null || EVP_CIPHER_get_mode(cipher) !== EVP_CIPH_CBC_MODE) {
		return null;
	}

	const keySize = EVP_CIPHER_get_key_length(cipher);
	return EVP_CIPHER_get_iv_length(cipher) === IV_SIZE && keySize >= KEY_SIZE_MIN && keySize <= KEY_SIZE_MAX
		? cipher
		: null;
}

/* Registered for the lifetime of the process. */
const ticketKeyCallback = registerTicketKeyCallback(call => (call.create ? issue(call) : decrypt(call)));

/* Without a key TLS 1.2 sends no ticket. With TLS 1.3 this is not called then: see ServerResumption.hello(). */
function issue({ssl, name, iv, cipher: ctx, mac}: TicketCall): number {
	return withResumption(ssl, TICKET_UNUSABLE, resumption => {
		const {cipher} = resumption;
		const key = resumption.issuingKey();
		if (key === undefined) {
			return TICKET_UNUSABLE;
		}

		if (cipher === undefined || RAND_bytes(iv, IV_SIZE) !== 1 || !initHmac(mac, key.macKey)) {
			return TICKET_ERROR;
		}

		name.set(key.name);
		return EVP_EncryptInit_ex(ctx, cipher, null, key.cipherKey, iv) === 1 ? TICKET_OK : TICKET_ERROR;
	});
}

/* TICKET_OK also means: the client can use this ticket again, and no new one is issued. */
function decrypt({ssl, name, iv, cipher: ctx, mac}: TicketCall): number {
	return withResumption(ssl, TICKET_UNUSABLE, resumption => {
		const {cipher} = resumption;
		const key = resumption.decryptingKey(name);
		return key !== undefined &&
			cipher !== undefined &&
			initHmac(mac, key.macKey) &&
			EVP_DecryptInit_ex(ctx, cipher, null, key.cipherKey, iv) === 1
			? TICKET_OK
			: TICKET_UNUSABLE;
	});
}
