/*++
/* NAME
/*	pending-handoff 3
/* SUMMARY
/*	what a session needs up to its report
/* DESCRIPTION
/*	A session that moves data, or waits for some, needs a connection, a
/*	pump, and a name for the log. The request, what the connection was
/*	made with, and how its handshake waits for its turn, are forgotten
/*	with the report: most sessions are idle for most of their time,
/*	and there are thousands.
/* SEE ALSO
/*	session(3), handoff(3), handshake-limits(3)
/*--*/

import type {Fd} from '../base/units.ts';
import type {Connection} from '../tls/connection/connection.ts';
import {type ConnectionParameters, openConnection} from '../tls/connection/open-connection.ts';
import {fairnessKey} from './fairness-key.ts';
import {type CompleteHandoff, Handoff, type Progress} from './handoff.ts';
import type {SessionContext} from './session-context.ts';

/** The time of a session before its report. Disposal gives back what it was prepared with. */
export class PendingHandoff implements Disposable {
	readonly handoff: Handoff;
	/** Those who share their turn have the same; undefined: with nobody. */
	fairnessKey: string | undefined;
	/** The handshake can proceed: there is what it waits for. */
	due = false;
	/** What the handshake waits for is room for what it has to send. */
	wantsWritable = false;
	/* Undefined until {@link prepare}, and when the hand-off cannot be served. */
	#parameters: ConnectionParameters | undefined;
	#retainedContext: Disposable | undefined;
	/* Ends with the handshake, or with the session. */
	#admission: Disposable | undefined;
	#begun = false;

	constructor({features, settingsParser}: SessionContext) {
		this.handoff = new Handoff(features, settingsParser);
	}

	/**
	 * Like {@link Handoff.receive}; but the first time that there is some and not all of it: 'begun'. A client
	 * that sends a byte now and then gains no time by it.
	 */
	receive(socket: Fd): Progress | 'begun' {
		const progress = this.handoff.receive(socket);
		if (progress !== 'more' || this.#begun || !this.handoff.begun) {
			return progress;
		}

		this.#begun = true;
		return 'begun';
	}

	/** Finds what the connection will be made with. Returns whether that was possible; the reason has been logged. */
	prepare(context: SessionContext, complete: CompleteHandoff): boolean {
		this.fairnessKey = fairnessKey(complete.request);
		this.#admission = context.handshakeLimiter.admit(this.fairnessKey, complete.request.remoteEndpoint);
		this.#parameters = this.#admission && context.prepare(complete);
		/* Until the descriptor arrives, other hand-offs may push the SSL_CTX out of its cache. */
		this.#retainedContext = this.#parameters?.context.retain();
		return this.#parameters !== undefined;
	}

	/**
	 * Prepares the connection.
	 *
	 * @param fd - the peer's descriptor, non-blocking; borrowed, it has to outlive the connection.
	 * @returns undefined when that is not possible; the reason has been logged.
	 */
	open(fd: Fd): Connection | undefined {
		return this.#parameters && openConnection(this.#parameters, fd);
	}

	/**
	 * Logs that a session which has had no report is over.
	 *
	 * @param handshakeDone - there is no failure to be told.
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
