/*++
/* NAME
/*	connection 3
/* SUMMARY
/*	one TLS connection, in non-blocking steps
/* DESCRIPTION
/*	A connection (TLS_SESS_STATE) is one SSL on the descriptor of a
/*	remote peer. OpenSSL reads and writes the descriptor itself; the
/*	caller waits for readiness when a step says so.
/*
/*	Results of steps are numbers, those of step(3): bytes when
/*	positive, otherwise WANT_READ, WANT_WRITE, END or FAILED. What
/*	OpenSSL has to say about a failure has been logged by then. A peer
/*	that resets or just goes away is no failure worth a line.
/*
/*	Behind the handshake a peer may send messages that are not data:
/*	key updates, tickets, wishes to renegotiate. Left to itself,
/*	OpenSSL goes on to read until there is data, and a peer that sends
/*	nothing else keeps the whole process with one call, until the
/*	watchdog ends it. Therefore each call takes one such message at
/*	most.
/* SEE ALSO
/*	client(3), how one is prepared; postfix src/tls/tls_bio_ops.c
/*--*/

import {type Address, EAGAIN, errno} from '../ffi/libc.ts';
import {ERR_clear_error, type EvpMd} from '../ffi/libcrypto.ts';
import {
	SSL_clear_mode,
	SSL_connect,
	SSL_ERROR_SSL,
	SSL_ERROR_WANT_READ,
	SSL_ERROR_WANT_WRITE,
	SSL_get_error,
	SSL_get_rbio,
	SSL_MODE_AUTO_RETRY,
	SSL_read,
	SSL_shutdown,
	SSL_write,
	type Ssl,
} from '../ffi/libssl.ts';
import {BIO_set_callback_ex} from '../ffi/pem.ts';
import type {Owned} from '../owned.ts';
import {AGAIN, END, FAILED, WANT_READ, WANT_WRITE} from '../step.ts';
import type {ClientStart} from '../wire/client.ts';
import type {Application} from './application.ts';
import {printErrors} from './library.ts';
import {TLS_LOG_ALLPKTS} from './log-mask.ts';
import {type KeptSession, offerSession, type Resumption} from './resumption.ts';
import type {VerifyNotes} from './verify.ts';

/** Whoever keeps the sessions of connections. */
export interface SessionKeeper {
	/** Trust settings of requests are lists of digests, as before 3.6. */
	readonly digestLists: boolean;
	/** Must not throw. */
	keep(resumption: Resumption, session: KeptSession): void;
}

/** The handshake is complete. */
export const DONE = 1;

/** One TLS connection. Disposal releases the SSL, without telling the peer; the descriptor stays open. */
export class Connection implements Disposable {
	readonly application: Application;
	readonly start: ClientStart;
	readonly notes: VerifyNotes;
	/** Security level in effect. */
	readonly level: number;
	/** The digest of fingerprints. */
	readonly digest: EvpMd;
	/** How its sessions are kept; undefined when they are not. */
	readonly resumption: Resumption | undefined;
	readonly #ssl: Owned<Ssl>;
	readonly #resources: Disposable;

	constructor(
		application: Application,
		start: ClientStart,
		notes: VerifyNotes,
		level: number,
		digest: EvpMd,
		resumption: Resumption | undefined,
		ssl: Owned<Ssl>,
		resources: Disposable,
	) {
		this.application = application;
		this.start = start;
		this.notes = notes;
		this.level = level;
		this.digest = digest;
		this.resumption = resumption;
		this.#ssl = ssl;
		this.#resources = resources;
		SSL_clear_mode(ssl.value, SSL_MODE_AUTO_RETRY);
	}

	/** Borrowed. */
	get ssl(): Ssl {
		return this.#ssl.value;
	}

	/** Only the handshake is to be logged octet by octet, unless the log level asks for all. */
	endDump(): void {
		const bio = SSL_get_rbio(this.#ssl.value);
		if (bio !== null && (this.application.logMask & TLS_LOG_ALLPKTS) === 0) {
			BIO_set_callback_ex(bio, null);
		}
	}

	/** Offers a kept session to the server. Before the handshake. */
	offer(session: Uint8Array): void {
		if (this.resumption !== undefined) {
			offerSession(this.#ssl.value, this.resumption, session);
		}
	}

	/** One step of the handshake: {@link DONE}, or what to wait for, or why it ends. */
	connect(): number {
		ERR_clear_error();
		const result = SSL_connect(this.#ssl.value);
		return result === 1 ? DONE : this.#outcome(result);
	}

	/** Decrypts up to `size` bytes to an address in C memory; {@link AGAIN}: there was a message, but no data. */
	read(to: Address, size: number): number {
		ERR_clear_error();
		const result = SSL_read(this.#ssl.value, to, size);
		if (result > 0) {
			return result;
		}

		/* OpenSSL says the same when it has had a message as when there is nothing to read. Its last call knows. */
		const blocked = errno() === EAGAIN;
		const outcome = this.#outcome(result);
		return outcome === WANT_READ && !blocked ? AGAIN : outcome;
	}

	/**
	 * Encrypts and sends one record at most.
	 *
	 * After {@link WANT_READ} or {@link WANT_WRITE} it has to be called again with the same bytes, from
	 * wherever they are by then.
	 */
	write(from: Address | Uint8Array, size: number): number {
		ERR_clear_error();
		const result = SSL_write(this.#ssl.value, from, size);
		return result > 0 ? result : this.#outcome(result);
	}

	/** Says goodbye, without waiting for the answer: {@link END} when that is done. */
	shutdown(): number {
		ERR_clear_error();
		const result = SSL_shutdown(this.#ssl.value);
		return result >= 0 ? END : this.#outcome(result);
	}

	[Symbol.dispose](): void {
		this.#resources[Symbol.dispose]();
	}

	#outcome(result: number): number {
		switch (SSL_get_error(this.#ssl.value, result)) {
			case SSL_ERROR_WANT_READ:
				return WANT_READ;
			case SSL_ERROR_WANT_WRITE:
				return WANT_WRITE;
			case SSL_ERROR_SSL:
				printErrors();
				return FAILED;
			default:
				/* End-of-file, a reset, close_notify: all of them end the connection without a word. */
				return END;
		}
	}
}
