/*++
/* NAME
/*	tickets 3
/* SUMMARY
/*	session tickets, as all programs of Postfix make them
/* DESCRIPTION
/*	A ticket has the name of its key, and a session that is encrypted
/*	and authenticated with it. The keys are those of tlsmgr(8): what
/*	one program has issued any other can open.
/* SEE ALSO
/*	RFC 5077; postfix src/tls/tls_server.c, ticket_cb()
/*--*/

import {registerTicketKeyCallback, type TicketCall} from '../../ffi/openssl/callback.ts';
import {ERR_clear_error} from '../../ffi/openssl/libcrypto.ts';
import type {SslCtx} from '../../ffi/openssl/libssl.ts';
import {
	authenticate,
	cipherOf,
	EVP_CIPH_CBC_MODE,
	EVP_CIPHER_get_iv_length,
	EVP_CIPHER_get_key_length,
	EVP_CIPHER_get_mode,
	EVP_DecryptInit_ex,
	EVP_EncryptInit_ex,
	type EvpCipher,
	RAND_bytes,
	SSL_CTX_set_num_tickets,
	setTicketKeyCallback,
} from '../../ffi/openssl/ticket.ts';
import {warning} from '../../log/log.ts';
import {withResumption} from './server-resumption.ts';

/* Bytes that there is room for. Source: TLS_TICKET_, postfix src/tls/tls_scache.h. */
const IV_SIZE = 16;
const KEY_LIMIT = 32;

/* Answers to OpenSSL. */
const NO_KEYS = -1;
const STALE = 0;
const ACCEPT = 1;

const ciphers = new Map<string, EvpCipher | undefined>();

/**
 * The cipher of tickets.
 *
 * @param name - tls_session_ticket_cipher.
 * @returns undefined when it is not usable; that has been logged.
 */
export function ticketCipher(name: string): EvpCipher | undefined {
	if (!ciphers.has(name)) {
		ciphers.set(name, usable(cipherOf(name)));
		ERR_clear_error();
	}

	const cipher = ciphers.get(name);
	if (cipher === undefined) {
		warning(`tls_session_ticket_cipher: invalid value: ${name}; session tickets disabled`);
	}

	return cipher;
}

/** Has connections of a context issue and open tickets, as far as their {@link ServerResumption} knows keys. */
export function enableTickets(ctx: SslCtx): void {
	setTicketKeyCallback(ctx, ticketKeyCallback);
	/* Mail servers keep one. */
	SSL_CTX_set_num_tickets(ctx, 1);
}

function usable(found: EvpCipher | null): EvpCipher | undefined {
	if (found === null || EVP_CIPHER_get_mode(found) !== EVP_CIPH_CBC_MODE) {
		return undefined;
	}

	const size = EVP_CIPHER_get_key_length(found);
	return EVP_CIPHER_get_iv_length(found) === IV_SIZE && size >= IV_SIZE && size <= KEY_LIMIT
		? found
		: undefined;
}

/* Registered for the life of the process. */
const ticketKeyCallback = registerTicketKeyCallback(call => (call.create ? issue(call) : open(call)));

/* A ticket that cannot be made is left out by TLS 1.2; TLS 1.3 does not come here then. */
function issue({ssl, name, iv, cipher: ctx, mac}: TicketCall): number {
	return withResumption(ssl, STALE, resumption => {
		const {cipher} = resumption;
		const key = resumption.issues();
		if (key === undefined) {
			return STALE;
		}

		if (cipher === undefined || RAND_bytes(iv, IV_SIZE) !== 1 || !authenticate(mac, key.macKey)) {
			return NO_KEYS;
		}

		name.set(key.name);
		return EVP_EncryptInit_ex(ctx, cipher, null, key.cipherKey, iv) === 1 ? ACCEPT : NO_KEYS;
	});
}

/* A ticket that is good stays good: it is not replaced by another. */
function open({ssl, name, iv, cipher: ctx, mac}: TicketCall): number {
	return withResumption(ssl, STALE, resumption => {
		const {cipher} = resumption;
		const key = resumption.opens(name);
		return key !== undefined &&
			cipher !== undefined &&
			authenticate(mac, key.macKey) &&
			EVP_DecryptInit_ex(ctx, cipher, null, key.cipherKey, iv) === 1
			? ACCEPT
			: STALE;
	});
}
