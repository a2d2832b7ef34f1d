/*++
/* NAME
/*	beginning 3
/* SUMMARY
/*	what a session needs up to its report
/* DESCRIPTION
/*	A session that moves data, or waits for some, needs a connection, a
/*	pump, and a name for the log. The request, what the connection was
/*	made with, and how its handshake waits for its turn, are forgotten
/*	with the report: most sessions are idle for most of their time,
/*	and there are thousands.
/* SEE ALSO
/*	session(3), handoff(3), concurrency(3)
/*--*/

import type {Opener} from '../tls/connection.ts';
import type {Fd} from '../units.ts';
import {flowOf} from './flow.ts';
import {Handoff, type Order, type Progress} from './handoff.ts';
import type {SessionHost} from './host.ts';

/** The time of a session before its report. Disposal gives back what it was prepared with. */
export class Beginning implements Disposable {
	readonly handoff: Handoff;
	/** Those who share their turn have the same; undefined: with nobody. */
	flow: string | undefined;
	/** With what the connection is made; undefined until {@link prepare}, and when that was not possible. */
	opener: Opener | undefined;
	/** The handshake can proceed: there is what it waits for. */
	due = false;
	/** What the handshake waits for is room for what it has to send. */
	wantsRoom = false;
	/* Ends with the handshake, or with the session. */
	#admission: Disposable | undefined;
	#begun = false;

	constructor({profile, settingsParser}: SessionHost) {
		this.handoff = new Handoff(profile, settingsParser);
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
	prepare(host: SessionHost, order: Order): boolean {
		this.flow = flowOf(order.request);
		this.#admission = host.concurrency.admit(this.flow, order.request.remoteEndpoint);
		this.opener = this.#admission && host.prepare(order);
		return this.opener !== undefined;
	}

	/**
	 * Logs that a session which has had no report is over.
	 *
	 * @param handshakeDone - there is no failure to be told.
	 */
	bidFarewell({profile}: SessionHost, handshakeDone: boolean): void {
		const quiet = this.opener === undefined && profile.quietRefusal;
		this.handoff.bidFarewell(quiet || handshakeDone);
	}

	[Symbol.dispose](): void {
		try {
			this.opener?.[Symbol.dispose]();
		} finally {
			this.#admission?.[Symbol.dispose]();
		}
	}
}
