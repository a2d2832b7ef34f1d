/*++
/* NAME
/*	connection 3
/* SUMMARY
/*	a TLS connection with non-blocking operations
/* DESCRIPTION
/*	A connection (TLS_SESS_STATE) is one SSL on the descriptor of a
/*	remote peer. OpenSSL reads and writes the descriptor, except that
/*	during the handshake it reads from memory: see handshake-input(3).
/*	The caller waits for readiness as the results request it. This
/*	class has everything that does not depend on the role.
/*
/*	Results are numbers: a number of bytes if positive, otherwise
/*	WANT_READ, WANT_WRITE, WANT_LOOKUP, AGAIN, END or FAILED of
/*	io-result(3). OpenSSL's reason for a failure has been logged. A
/*	peer that resets or closes the connection is not logged.
/*
/*	After the handshake a peer may send messages that are not data:
/*	key updates, tickets, renegotiation requests. By default OpenSSL
/*	reads on until there is data, so that a peer that sends nothing
/*	else would block the process in one call, until the watchdog ends
/*	it. Therefore each call reads at most one such message.
/*
/*	Renegotiation is refused. After it the peer could differ from what
/*	was reported, and any number of renegotiation requests would be
/*	read in one call. SMTP servers do not renegotiate, and TLS 1.3 has
/*	no renegotiation.
/*
/*	When OpenSSL reads such a message it allocates a write buffer of 16
/*	kilobytes for the reply, and releases it only with the next write,
/*	so that an idle connection would have it for its lifetime.
/*	Therefore the buffers are released after each such message.
/* SEE ALSO
/*	client-connection(3), server-connection(3);
/*	postfix src/tls/tls_bio_ops.c
/*--*/

import {AGAIN, END, FAILED, WANT_LOOKUP, WANT_READ, WANT_WRITE} from '../../base/io-result.ts';
import type {Owned, Resources} from '../../base/owned.ts';
import type {Fd} from '../../base/units.ts';
import {type Address, EAGAIN, errno} from '../../ffi/libc/libc.ts';
import {BIO_number_read, BIO_set_callback_ex} from '../../ffi/openssl/bio.ts';
import {callbacksRun} from '../../ffi/openssl/callback.ts';
import {SSL_ERROR_WANT_CLIENT_HELLO_CB} from '../../ffi/openssl/client-hello.ts';
import {ERR_clear_error} from '../../ffi/openssl/libcrypto.ts';
import {
	SSL_clear_mode,
	SSL_ERROR_SSL,
	SSL_ERROR_WANT_READ,
	SSL_ERROR_WANT_WRITE,
	SSL_free_buffers,
	SSL_get_error,
	SSL_get_rbio,
	SSL_get_wbio,
	SSL_MODE_AUTO_RETRY,
	SSL_read,
	SSL_set_fd,
	SSL_set_info_callback,
	SSL_set_options,
	SSL_shutdown,
	SSL_write,
	type Ssl,
} from '../../ffi/openssl/ssl.ts';
import {SSL_OP_NO_RENEGOTIATION} from '../../ffi/openssl/ssl-ctx.ts';
import {info} from '../../log/log.ts';
import type {HandshakeReport} from '../../wire/handshake-report.ts';
import {printErrors} from '../library.ts';
import {TLS_LOG_ALLPKTS, TLS_LOG_DEBUG, TLS_LOG_TLSPKTS} from '../log-mask.ts';
import {dumpCallback, infoCallback} from '../protocol-trace.ts';
import {HandshakeInput} from './handshake-input.ts';

/** The handshake is complete. */
export const DONE = 1;

/** One TLS connection. Disposal releases the SSL without sending close_notify; the descriptor stays open. */
export abstract class Connection implements Disposable {
	readonly #ssl: Owned<Ssl>;
	/* Released before the SSL; undefined if nothing is left. */
	#resources: Resources | undefined;
	/* Undefined after the handshake, when OpenSSL has read all bytes in memory. */
	#input: HandshakeInput | undefined;
	/* Bytes read from the descriptor, at the last call of #hasReceived(). */
	#received: number | bigint = 0;
	#disposed = false;

	/**
	 * @param ssl - moved in.
	 * @param resources - registrations for the SSL; moved in.
	 */
	constructor(ssl: Owned<Ssl>, resources: Resources) {
		SSL_clear_mode(ssl.value, SSL_MODE_AUTO_RETRY);
		SSL_set_options(ssl.value, SSL_OP_NO_RENEGOTIATION);
		this.#input = HandshakeInput.open(ssl.value);
		/* Last: after an earlier exception the caller is still the owner. */
		this.#ssl = ssl.move();
		this.#resources = resources.move();
	}

	/** The log mask of this connection: log-mask(3). Zero after the report. */
	abstract readonly logMask: number;

	/**
	 * Looks up what the next step of the handshake needs from other processes.
	 *
	 * @param done - called exactly once, during the call or later; must not throw.
	 */
	abstract lookUp(done: () => void): void;

	/** Logs the outcome of the handshake and builds the report. */
	protected abstract buildReport(): HandshakeReport;

	/** Whether the connection was disposed; then the result of {@link lookUp} must not be used. */
	protected get disposed(): boolean {
		return this.#disposed;
	}

	/** Releases one of the resources before the others. */
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

	/**
	 * Logs the outcome of a complete handshake and builds the report. Releases the state of the handshake, so
	 * it must be called only once.
	 */
	report(): HandshakeReport {
		this.endDump();
		return this.buildReport();
	}

	/** Stops the packet dump after the handshake, unless the log level requests a dump of the whole session. */
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
	 * Performs one step of the handshake.
	 *
	 * @param mayRead - whether the descriptor was readable since the last result was {@link WANT_READ}.
	 * @returns {@link DONE}; {@link AGAIN}: the peer has sent more than one step reads; or another io-result(3).
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

	/**
	 * Decrypts up to `size` bytes to an address in C memory.
	 *
	 * @returns the number of bytes; {@link AGAIN}: a message without data was read; or another io-result(3).
	 */
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
		 * OpenSSL returns the same result after a message without data as when there is nothing
		 * to read. The errno of its last system call distinguishes these cases, unless a
		 * callback has run JavaScript code since then. Otherwise the number of bytes read does.
		 */
		const blocked = callbacksRun() === callbacks ? errno() === EAGAIN : !this.#hasReceived();
		const outcome = this.#outcome(result);
		return outcome === WANT_READ && !blocked ? this.#again() : outcome;
	}

	/**
	 * Encrypts and sends at most one record.
	 *
	 * After {@link WANT_READ} or {@link WANT_WRITE} it must be called again with the same bytes; they may have
	 * moved to another address.
	 *
	 * @returns the number of bytes, or an io-result(3).
	 */
	write(from: Address | Uint8Array, size: number): number {
		ERR_clear_error();
		const result = SSL_write(this.#ssl.value, from, size);
		return result > 0 ? result : this.#outcome(result);
	}

	/** Sends close_notify and does not wait for that of the peer. Returns {@link END} when it is sent. */
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

	/* A message without data was read. */
	#again(): typeof AGAIN {
		SSL_free_buffers(this.#ssl.value);
		return AGAIN;
	}

	/* Whether bytes were read from the descriptor since the last call. */
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
				/* End of file, a reset or close_notify: not logged. */
				return END;
		}
	}
}

/**
 * Sets the descriptor of an SSL, and enables the packet dump and the trace of the handshake.
 *
 * @param fd - borrowed; must outlive the SSL.
 * @param logMask - whether packets and the steps of the handshake are logged.
 * @returns false if that is not possible; the reason has been logged.
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
