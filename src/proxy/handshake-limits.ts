/*++
/* NAME
/*	handshake-limits 3
/* SUMMARY
/*	limits on handshakes with remote clients
/* DESCRIPTION
/*	Counts the handshakes that are in progress with remote clients: of
/*	each flow, and of all. A handshake counts from the request on,
/*	until it is through or has failed.
/*
/*	Who exceeds a limit is refused at once, and does not wait. The
/*	requesting program has an answer for that (postscreen(8): reply
/*	454, and the client may come back), costs nothing meanwhile, and
/*	waits ten seconds at most in any case; whereas a client that is
/*	kept waiting holds two descriptors and a session of each program,
/*	which is what the limits are there to save.
/*
/*	There is no such limit in the client role. Its hand-offs are those
/*	of our own mail system, which has limits for them; and of mail
/*	whose hand-off is refused some would be sent in cleartext.
/* DIAGNOSTICS
/*	The first refusal is logged when it happens, all those of the next
/*	minute in one line at its end: who is refused as fast as he can
/*	connect cannot fill the log with it.
/* SEE ALSO
/*	postconf(5), smtpd_client_connection_count_limit
/*--*/

import {Finalizer} from '../base/owned.ts';
import type {Milliseconds} from '../base/units.ts';
import type {Deadline, DeadlineClock} from '../event/deadline.ts';
import {warning} from '../log/log.ts';
import {limitExceededLine, moreRefusedLine} from './log-lines.ts';

/** Handshakes in progress at most; zero: any number. */
export interface HandshakeLimits {
	readonly perClient: number;
	readonly total: number;
}

/** Time between two lines about refusals. */
const LOG_PAUSE = 60_000 as Milliseconds;

/** The handshakes in progress of one process. */
export class HandshakeLimiter {
	readonly #limits: HandshakeLimits;
	readonly #pause: Deadline;
	readonly #counts = new Map<string, number>();
	#total = 0;
	#logged = false;
	#refused = 0;

	constructor(limits: HandshakeLimits, clock: DeadlineClock) {
		this.#limits = limits;
		this.#pause = clock.deadline(() => this.#report());
	}

	/**
	 * Admits a handshake.
	 *
	 * @param flow - whose it is; undefined: not to be counted.
	 * @param endpoint - of the remote client, for the log.
	 * @returns what ends the handshake, any number of times; undefined when it is refused. That has been
	 * logged, or will be.
	 */
	admit(fairnessKey: string | undefined, endpoint: string): Disposable | undefined {
		if (fairnessKey === undefined) {
			return nothing;
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
		if (this.#logged) {
			this.#refused++;
			return;
		}

		this.#logged = true;
		this.#pause.arm(LOG_PAUSE);
		warning(limitExceededLine(what, endpoint));
	}

	#report(): void {
		this.#logged = this.#refused > 0;
		if (this.#logged) {
			this.#pause.arm(LOG_PAUSE);
			warning(moreRefusedLine(this.#refused));
			this.#refused = 0;
		}
	}
}

const nothing: Disposable = new Finalizer(() => undefined);

function exceeds(count: number, limit: number): boolean {
	return limit > 0 && count > limit;
}
