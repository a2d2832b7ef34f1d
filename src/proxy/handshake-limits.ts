/*++
/* NAME
/*	handshake-limits 3
/* SUMMARY
/*	limits on concurrent handshakes with remote clients
/* DESCRIPTION
/*	Counts the handshakes in progress with remote clients: per
/*	fairness key, and in total. A handshake is counted from the request
/*	until it succeeds or fails.
/*
/*	A handshake that exceeds a limit is refused at once, and does not
/*	wait. postscreen(8) handles a refusal: it replies with 454, and the
/*	client may try again. A client that waited would hold two
/*	descriptors and a session in each program, which the limits are
/*	meant to save, and postscreen(8) waits ten seconds at most.
/*
/*	The client role has no limits. Its hand-offs come from the local
/*	mail system, which has limits for them, and some mail of refused
/*	hand-offs would be sent in cleartext.
/* DIAGNOSTICS
/*	Warning: the first refusal, at once, and then once per minute the
/*	number of further refusals. Refused clients cannot fill the log.
/* SEE ALSO
/*	postconf(5), smtpd_client_connection_count_limit
/*--*/

import {Finalizer} from '../base/owned.ts';
import type {Milliseconds} from '../base/units.ts';
import type {Deadline, DeadlineClock} from '../event/deadline.ts';
import {warning} from '../log/log.ts';
import {limitExceededLine, moreRefusedLine} from './log-lines.ts';

/** Largest numbers of handshakes in progress; zero means no limit. */
export interface HandshakeLimits {
	readonly perClient: number;
	readonly total: number;
}

/** Time between two log lines about refusals. */
const LOG_INTERVAL = 60_000 as Milliseconds;

/** The handshakes in progress of one process. */
export class HandshakeLimiter {
	readonly #limits: HandshakeLimits;
	readonly #nextLine: Deadline;
	readonly #counts = new Map<string, number>();
	#total = 0;
	/* Refusals are counted instead of logged. */
	#quiet = false;
	#refused = 0;

	constructor(limits: HandshakeLimits, clock: DeadlineClock) {
		this.#limits = limits;
		this.#nextLine = clock.deadline(() => this.#logRefused());
	}

	/**
	 * Admits or refuses a handshake.
	 *
	 * @param fairnessKey - the key that the handshake counts for; undefined: the handshake is not counted.
	 * @param endpoint - of the remote client, for the log.
	 * @returns an object whose disposal ends the handshake; undefined when the handshake is refused. That has
	 * been logged, or will be.
	 */
	admit(fairnessKey: string | undefined, endpoint: string): Disposable | undefined {
		if (fairnessKey === undefined) {
			return notCounted;
		}

		const count = (this.#counts.get(fairnessKey) ?? 0) + 1;
		if (exceeds(count, this.#limits.perClient)) {
			this.#refuse(`${count} from ${fairnessKey}`, endpoint);
			return undefined;
		}

		if (exceeds(this.#total + 1, this.#limits.total)) {
			this.#refuse(`${this.#total + 1} in progress`, endpoint);
			return undefined;
		}

		this.#total++;
		this.#counts.set(fairnessKey, count);
		return new Finalizer(() => this.#end(fairnessKey));
	}

	#end(fairnessKey: string): void {
		this.#total--;
		const count = (this.#counts.get(fairnessKey) ?? 0) - 1;
		if (count > 0) {
			this.#counts.set(fairnessKey, count);
		} else {
			this.#counts.delete(fairnessKey);
		}
	}

	#refuse(what: string, endpoint: string): void {
		if (this.#quiet) {
			this.#refused++;
			return;
		}

		this.#quiet = true;
		this.#nextLine.arm(LOG_INTERVAL);
		warning(limitExceededLine(what, endpoint));
	}

	#logRefused(): void {
		this.#quiet = this.#refused > 0;
		if (this.#quiet) {
			this.#nextLine.arm(LOG_INTERVAL);
			warning(moreRefusedLine(this.#refused));
			this.#refused = 0;
		}
	}
}

const notCounted: Disposable = new Finalizer(() => undefined);

function exceeds(count: number, limit: number): boolean {
	return limit > 0 && count > limit;
}
