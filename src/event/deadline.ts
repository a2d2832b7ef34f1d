/*++
/* NAME
/*	deadline 3
/* SUMMARY
/*	time limits that share one coarse timer
/* DESCRIPTION
/*	Time limits of a proxy are seconds to minutes, and nearly all of
/*	them are extended or cancelled before they expire. Therefore a
/*	deadline is a number that its owner overwrites at no cost. One
/*	timer checks all running deadlines, four times per second, and
/*	stops when none is running. A deadline expires up to 250 ms late,
/*	and never early.
/*
/*	Deadlines that start together expire together: thousands of
/*	sessions may have to be closed. After 10 ms the clock returns to
/*	the event loop and continues in the next iteration.
/*
/*	After a pause (SIGSTOP, a frozen cgroup, a busy event loop) many
/*	deadlines have expired, although the data that would have extended
/*	them may have arrived. When a check is late, events are served
/*	first, and the deadlines are checked in the next interval.
/* DIAGNOSTICS
/*	An exception in an owner's expired() is logged, and the other
/*	deadlines are checked as usual.
/* SEE ALSO
/*	postfix src/util/events.c, event_request_timer()
/*--*/

import type {Milliseconds} from '../base/units.ts';
import {logException} from '../log/log.ts';

/** Time between two checks, in milliseconds. */
const CHECK_INTERVAL = 250;
/** A check that comes this long after the previous one is late. */
const LATE = 4 * CHECK_INTERVAL;
/** Time that expired() calls may take in one iteration of the event loop, in milliseconds. */
const CHECK_LIMIT = 10;

/** The current time on the monotonic clock, in milliseconds. */
export function now(): Milliseconds {
	return performance.now() as Milliseconds;
}

/** An object with a deadline. */
export interface DeadlineOwner {
	/** The deadline has expired. It is no longer running, and may be armed again. */
	expired(): void;
}

/** A set of deadlines. It refers to those that are running, and thereby to their owners. */
export class DeadlineClock {
	readonly #deadlines = new Set<Deadline>();
	#timer: NodeJS.Timeout | undefined;
	#lastCheck = now();
	#late = false;

	/**
	 * Makes a deadline that is not running.
	 *
	 * @param expired - called when the deadline has expired; it may be armed again then.
	 */
	deadline(expired: () => void): Deadline {
		return this.deadlineOf({expired});
	}

	/** Makes a deadline without a closure, for owners of which there are thousands. */
	deadlineOf(owner: DeadlineOwner): Deadline {
		return new Deadline(this, owner);
	}

	/** Starts to check a deadline. For {@link Deadline} only. */
	add(deadline: Deadline): void {
		this.#deadlines.add(deadline);
		if (this.#timer === undefined) {
			this.#lastCheck = now();
			this.#timer = setInterval(() => this.#checkAll(), CHECK_INTERVAL);
		}
	}

	/** Stops to check a deadline. For {@link Deadline} only. */
	remove(deadline: Deadline): void {
		this.#deadlines.delete(deadline);
		if (this.#deadlines.size === 0) {
			clearInterval(this.#timer);
			this.#timer = undefined;
		}
	}

	#checkAll(): void {
		const time = now();
		/* Never skipped twice in a row: deadlines must expire even if every check is late. */
		this.#late = !this.#late && time - this.#lastCheck > LATE;
		this.#lastCheck = time;
		if (this.#late) {
			return;
		}

		for (const deadline of this.#deadlines) {
			if (deadline.check(time) && now() - time > CHECK_LIMIT) {
				setImmediate(() => this.#checkAll());
				return;
			}
		}
	}
}

/** A time limit. Disposal stops it. */
export class Deadline implements Disposable {
	readonly #clock: DeadlineClock;
	readonly #owner: DeadlineOwner;
	/* Infinity while it is not running. */
	#expiry = Infinity;

	constructor(clock: DeadlineClock, owner: DeadlineOwner) {
		this.#clock = clock;
		this.#owner = owner;
	}

	/** Starts or restarts the deadline: it expires after this time, unless it is armed or disposed again. */
	arm(limit: Milliseconds): void {
		if (this.#expiry === Infinity) {
			this.#clock.add(this);
		}

		this.#expiry = now() + limit;
	}

	/** Calls the owner if the deadline has expired. Returns whether it has. For {@link DeadlineClock} only. */
	check(time: Milliseconds): boolean {
		if (time < this.#expiry) {
			return false;
		}

		this[Symbol.dispose]();
		try {
			this.#owner.expired();
		} catch (reason) {
			logException(reason);
		}

		return true;
	}

	/** Stops the deadline. It may be armed again. */
	[Symbol.dispose](): void {
		if (this.#expiry !== Infinity) {
			this.#expiry = Infinity;
			this.#clock.remove(this);
		}
	}
}
