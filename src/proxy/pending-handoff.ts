/*++
/* NAME
/*	pending-handoff 3
/* SUMMARY
/*	state of a session until the report is sent
/* DESCRIPTION
/*	The request, the parameters of the connection and the scheduling
/*	of the handshake are needed until the report about the handshake is
/*	sent. Afterwards a session needs a connection, a pump and a name
/*	for the log. Most of the sessions of a process, of which there are
/*	thousands, are idle: this state is kept in a separate object, and
/*	released with the report.
/* SEE ALSO
/*	session(3), handoff(3), handshake-limits(3)
/*--*/

import type {Fd} from '../base/units.ts';
import type {Connection} from '../tls/connection/connection.ts';
import {type ConnectionParameters, openConnection} from '../tls/connection/open-connection.ts';
import {fairnessKey} from './fairness-key.ts';
import {type CompleteHandoff, Handoff, type HandoffProgress} from './handoff.ts';
import type {SessionContext} from './session-context.ts';

/** A session before its report. Owns a reference to the SSL_CTX and an entry of the handshake limiter, until disposal. */
export class PendingHandoff implements Disposable {
	readonly handoff: Handoff;
	/** Handshakes with the same key share their turn; undefined in the client role. Set by {@link prepare}. */
	fairnessKey: string | undefined;
	/** Whether the handshake can proceed: the peer's descriptor is ready. */
	canProceed = false;
	/** Whether the handshake waits until the descriptor is writable, rather than readable. */
	wantsWritable = false;
	/* Undefined before prepare(), and when the hand-off cannot be served. */
	#parameters: ConnectionParameters | undefined;
	#retainedContext: Disposable | undefined;
	#admission: Disposable | undefined;
	#started = false;

	constructor(context: SessionContext) {
		this.handoff = new Handoff(context);
	}

	/**
	 * Like {@link Handoff.receive}, but returns 'started' instead of 'incomplete' the first time that input has
	 * been received. The caller starts a time limit then, and does not extend it later: a client that sends
	 * byte by byte gains no time.
	 */
	receive(socket: Fd): HandoffProgress | 'started' {
		const progress = this.handoff.receive(socket);
		if (progress !== 'incomplete' || this.#started || !this.handoff.started) {
			return progress;
		}

		this.#started = true;
		return 'started';
	}

	/** Finds the parameters of the connection. Returns false when the hand-off is refused; the reason has been logged. */
	prepare(context: SessionContext, complete: CompleteHandoff): boolean {
		this.fairnessKey = fairnessKey(complete.request);
		this.#admission = context.handshakeLimiter.admit(this.fairnessKey, complete.request.remoteEndpoint);
		this.#parameters = this.#admission && context.prepare(complete);
		/* Until the descriptor arrives, other hand-offs may evict the SSL_CTX from its cache. */
		this.#retainedContext = this.#parameters?.context.retain();
		return this.#parameters !== undefined;
	}

	/**
	 * Makes the connection.
	 *
	 * @param fd - the peer's descriptor, non-blocking; borrowed, it has to outlive the connection.
	 * @returns undefined when that is not possible; the reason has been logged.
	 */
	open(fd: Fd): Connection | undefined {
		return this.#parameters && openConnection(this.#parameters, fd);
	}

	/**
	 * Logs the end of a session that has sent no report.
	 *
	 * @param handshakeDone - no handshake failure is logged.
	 */
	logEnd({features}: SessionContext, handshakeDone: boolean): void {
		const quiet = this.#parameters === undefined && features.quietRefusal;
		this.handoff.logEnd(quiet || handshakeDone);
	}

	[Symbol.dispose](): void {
		try {
			this.#retainedContext?.[Symbol.dispose]();
		} finally {
			this.#admission?.[Symbol.dispose]();
		}
	}
}
