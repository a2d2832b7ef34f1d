/*++
/* NAME
/*	connection 3
/* SUMMARY
/*	one TLS connection, in non-blocking steps
/* DESCRIPTION
/*	A connection (TLS_SESS_STATE) is one SSL on the descriptor of a
/*	remote peer. OpenSSL reads and writes the descriptor itself, but
/*	for what it reads during the handshake: see handshake-input(3). The caller
/*	waits for readiness when a step says so. Who makes the
/*	connection, and what is said about it, depends on the role; all
/*	else is here.
/*
/*	Results of steps are numbers, those of io-result(3): bytes when
/*	positive, otherwise WANT_READ, WANT_WRITE, AGAIN, END or FAILED. What
/*	OpenSSL has to say about a failure has been logged by then. A peer
/*	that resets or just goes away is no failure worth a line.
/*
/*	Behind the handshake a peer may send messages that are not data:
/*	key updates, tickets, wishes to renegotiate. Left to itself,
/*	OpenSSL goes on to read until there is data, and a peer that sends
/*	nothing else keeps the whole process with one call, until the
/*	watchdog ends it. Therefore each call takes one such message at
/*	most.
/*
/*	A peer that wishes to renegotiate is told that we do not. What it
/*	would be then is not what has been reported of it, and its wishes
/*	would be read in one call, however many they are. Mail servers do
/*	not renegotiate, and TLS 1.3 has no such thing.
/*
/*	For such a message OpenSSL also provides memory for an answer, and
/*	keeps it until something is written: 16 kilobytes, for as long as
/*	an idle connection lasts. It is asked to give them back.
/* SEE ALSO
/*	client(3) and server(3), how one is prepared;
/*	postfix src/tls/tls_bio_ops.c
/*--*/

import {AGAIN, END, FAILED, WANT_LOOKUP, WANT_READ, WANT_WRITE} from '../../base/io-result.ts';
import type {Owned, Resources} from '../../base/owned.ts';
import type {Fd} from '../../base/units.ts';
import {type Address, EAGAIN, errno} from '../../ffi/libc/libc.ts';
import {BIO_number_read, SSL_get_wbio} from '../../ffi/openssl/bio.ts';
import {callbacksRun} from '../../ffi/openssl/callback.ts';
import {SSL_ERROR_WANT_CLIENT_HELLO_CB} from '../../ffi/openssl/hello.ts';
import {ERR_clear_error} from '../../ffi/openssl/libcrypto.ts';
import {
	SSL_clear_mode,
	SSL_ERROR_SSL,
	SSL_ERROR_WANT_READ,
	SSL_ERROR_WANT_WRITE,
	SSL_free_buffers,
	SSL_get_error,
	SSL_get_rbio,
	SSL_MODE_AUTO_RETRY,
	SSL_OP_NO_RENEGOTIATION,
	SSL_read,
	SSL_set_fd,
	SSL_set_info_callback,
	SSL_set_options,
	SSL_shutdown,
	SSL_write,
	type Ssl,
} from '../../ffi/openssl/libssl.ts';
import {BIO_set_callback_ex} from '../../ffi/openssl/pem.ts';
import {info} from '../../log/log.ts';
import type {HandshakeReport} from '../../wire/handshake-report.ts';
import {printErrors} from '../library.ts';
import {TLS_LOG_ALLPKTS, TLS_LOG_DEBUG, TLS_LOG_TLSPKTS} from '../log-mask.ts';
import {dumpCallback, infoCallback} from '../protocol-trace.ts';
import {HandshakeInput} from './handshake-input.ts';

/** The handshake is complete. */
export const DONE = 1;

/** One TLS connection. Disposal releases the SSL, without telling the peer; the descriptor stays open. */
export abstract class Connection implements Disposable {
	readonly #ssl: Owned<Ssl>;
	/* What goes before the SSL; undefined when nothing is left. */
	#resources: Resources | undefined;
	/* Up to the end of the handshake, and of what has come with it. */
	#input: HandshakeInput | undefined;
	/* Bytes from the descriptor, as of the last time that somebody asked. */
	#received: number | bigint = 0;
	#disposed = false;

	/**
	 * @param ssl - moved in.
	 * @param resources - what is registered for it; moved in.
	 */
	constructor(ssl: Owned<Ssl>, resources: Resources) {
		SSL_clear_mode(ssl.value, SSL_MODE_AUTO_RETRY);
		SSL_set_options(ssl.value, SSL_OP_NO_RENEGOTIATION);
		this.#input = HandshakeInput.open(ssl.value);
		/* Last: what throws before leaves them to their owner. */
		this.#ssl = ssl.move();
		this.#resources = resources.move();
	}

	/** Bits of tls/log-mask that let lines about this connection through. Until the report. */
	abstract readonly logMask: number;

	/**
	 * Learns from other processes what the next step of the handshake has to know.
	 *
	 * @param done - called once, at once or later; must not throw.
	 */
	abstract lookUp(done: () => void): void;

	/** What {@link report} logs and says, which depends on the role. */
	protected abstract buildReport(): HandshakeReport;

	/** Whether answers to {@link lookUp} come too late. */
	protected get disposed(): boolean {
		return this.#disposed;
	}

	/** Releases one of the resources that nothing after the report needs. */
	protected release(resource: Disposable): void {
		this.#resources?.release(resource);
		if (this.#resources?.empty === true) {
			this.#resources = undefined;
		}
	}

	/* SSL_connect() or SSL_accept(). */
	protected abstract handshakeStep(ssl: Ssl): number;

	/** Borrowed. */
	get ssl(): Ssl {
		return this.#ssl.value;
	}

	/** Logs the outcome of a complete handshake, and says what it is. To be called once. */
	report(): HandshakeReport {
		this.endDump();
		return this.buildReport();
	}

	/** Only the handshake is to be logged octet by octet, unless the log level asks for all. */
	endDump(): void {
		if ((this.logMask & TLS_LOG_TLSPKTS) === 0 || (this.logMask & TLS_LOG_ALLPKTS) !== 0) {
			return;
		}

		for (const bio of [SSL_get_rbio(this.#ssl.value), SSL_get_wbio(this.#ssl.value)]) {
			if (bio !== null) {
				BIO_set_callback_ex(bio, null);
			}
		}
	}

	/**
	 * One step of the handshake: {@link DONE}, or what to wait for, or why it ends; {@link AGAIN}: the peer
	 * has sent more than is due for a step.
	 *
	 * @param mayRead - whether the descriptor was readable since the last step said {@link WANT_READ}.
	 */
	handshake(mayRead = true): number {
		const filled = mayRead && (this.#input?.fill() ?? false);
		ERR_clear_error();
		const result = this.handshakeStep(this.#ssl.value);
		if (result === 1) {
			this.#endInput();
			return DONE;
		}

		const outcome = this.#outcome(result);
		return outcome === WANT_READ && filled && this.#input?.fill() === true ? AGAIN : outcome;
	}

	/** Decrypts up to `size` bytes to an address in C memory; {@link AGAIN}: there was a message, but no data. */
	read(to: Address, size: number): number {
		ERR_clear_error();
		const callbacks = callbacksRun();
		const result = SSL_read(this.#ssl.value, to, size);
		if (result > 0) {
			return result;
		}

		if (this.#input !== undefined) {
			const outcome = this.#outcome(result);
			this.#endInput();
			return outcome === WANT_READ ? this.#again() : outcome;
		}

		/*
		 * OpenSSL says the same when it has had a message as when there is nothing to read.
		 * Its last system call knows; unless there was one of ours behind it, and much of
		 * Node.js. Then it depends on whether there were any bytes.
		 */
		const blocked = callbacksRun() === callbacks ? errno() === EAGAIN : !this.#hasReceived();
		const outcome = this.#outcome(result);
		return outcome === WANT_READ && !blocked ? this.#again() : outcome;
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
		this.#disposed = true;
		try {
			this.#resources?.[Symbol.dispose]();
		} finally {
			this.#ssl[Symbol.dispose]();
		}
	}

	/* There was a message, and no data. */
	#again(): typeof AGAIN {
		SSL_free_buffers(this.#ssl.value);
		return AGAIN;
	}

	/* Whether there were bytes since the last time. */
	#hasReceived(): boolean {
		const bio = SSL_get_rbio(this.#ssl.value);
		const received = bio === null ? 0 : BIO_number_read(bio);
		const some = received !== this.#received;
		this.#received = received;
		return some;
	}

	#endInput(): void {
		if (this.#input?.pending === false) {
			this.#input.close();
			this.#input = undefined;
		}
	}

	#outcome(result: number): number {
		switch (SSL_get_error(this.#ssl.value, result)) {
			case SSL_ERROR_WANT_READ:
				return WANT_READ;
			case SSL_ERROR_WANT_WRITE:
				return WANT_WRITE;
			case SSL_ERROR_WANT_CLIENT_HELLO_CB:
				return WANT_LOOKUP;
			case SSL_ERROR_SSL:
				printErrors();
				return FAILED;
			default:
				/* End-of-file, a reset, close_notify: all of them end the connection without a word. */
				return END;
		}
	}
}

/**
 * Gives an SSL the descriptor of its peer.
 *
 * @param logMask - whether to log what goes over it, and each step of the handshake.
 * @returns false when that is not possible; the reason has been logged.
 */
export function attach(ssl: Ssl, fd: Fd, logMask: number, namaddr: string): boolean {
	if (SSL_set_fd(ssl, fd) !== 1) {
		info(`SSL_set_fd error to ${namaddr}`);
		printErrors();
		return false;
	}

	if ((logMask & TLS_LOG_DEBUG) !== 0) {
		SSL_set_info_callback(ssl, infoCallback);
	}

	const bio = (logMask & TLS_LOG_TLSPKTS) === 0 ? null : SSL_get_rbio(ssl);
	if (bio !== null) {
		BIO_set_callback_ex(bio, dumpCallback);
	}

	return true;
}
