/*++
/* NAME
/*	deadline 3
/* SUMMARY
/*	one coarse clock for many time limits
/* DESCRIPTION
/*	Time limits of a proxy are seconds to minutes, and nearly all of
/*	them are extended or cancelled before they pass. So a limit is a
/*	number in an object that its owner may overwrite at no cost, and
/*	one timer looks at all of them, four times a second, and only
/*	while there are any. A limit may be noticed up to 250 ms late,
/*	never early.
/*
/*	What comes at once passes at once: thousands of sessions that have
/*	to be ended. Others have their turn after some milliseconds of it.
/*
/*	After a pause (SIGSTOP, a frozen cgroup, a busy event loop) many
/*	limits have passed, although the data that would have extended
/*	them may be there. When the clock is late, events are served
/*	first, and limits are looked at one tick later.
/* SEE ALSO
/*	postfix src/util/events.c, event_request_timer()
/*--*/

import type {Milliseconds} from '../base/units.ts';

/** How often limits are looked at. */
const TICK = 250;
/** A clock that was not looked at for this long is late. */
const LATE = 4 * TICK;
/** Time for what happens when limits pass, before others have their turn. */
const SLICE = 10;

/** The time that limits are measured with: monotonic, in milliseconds. */
export function now(): Milliseconds {
	return performance.now() as Milliseconds;
}

/** Whoever has a time limit. */
export interface DeadlineOwner {
	/** It has passed. It is off then, and may be armed again. */
	expired(): void;
}

/** A set of time limits. */
export class DeadlineClock {
	readonly #deadlines = new Set<Deadline>();
	#timer: NodeJS.Timeout | undefined;
	#looked = now();
	#late = false;

	/**
	 * Makes a time limit that is not running yet.
	 *
	 * @param expired - called when it has passed; it is off then and may be armed again.
	 */
	deadline(expired: () => void): Deadline {
		return this.deadlineOf({expired});
	}

	/** The same for an owner that there are many of: nothing is made but the limit. */
	deadlineOf(owner: DeadlineOwner): Deadline {
		return new Deadline(this, owner);
	}

	/** For Deadline only: starts to look at it. */
	add(deadline: Deadline): void {
		this.#deadlines.add(deadline);
		if (this.#timer === undefined) {
			this.#looked = now();
			this.#timer = setInterval(() => this.#tick(), TICK);
		}
	}

	/** For Deadline only: looks at it no more. */
	remove(deadline: Deadline): void {
		this.#deadlines.delete(deadline);
		if (this.#deadlines.size === 0) {
			clearInterval(this.#timer);
			this.#timer = undefined;
		}
	}

	#tick(): void {
		const time = now();
		/* Not twice in a row: where each tick is late, limits have to pass too. */
		this.#late = !this.#late && time - this.#looked > LATE;
		this.#looked = time;
		if (this.#late) {
			return;
		}

		for (const deadline of this.#deadlines) {
			if (deadline.check(time) && now() - time > SLICE) {
				setImmediate(() => this.#tick());
				return;
			}
		}
	}
}

/** A time limit that starts over with each sign of life. */
export class Deadline implements Disposable {
	readonly #clock: DeadlineClock;
	readonly #owner: DeadlineOwner;
	#at = Infinity;

	constructor(clock: DeadlineClock, owner: DeadlineOwner) {
		this.#clock = clock;
		this.#owner = owner;
	}

	/** Starts over: the limit passes when nothing re-arms it for this long. */
	arm(limit: Milliseconds): void {
		if (this.#at === Infinity) {
			this.#clock.add(this);
		}

		this.#at = now() + limit;
	}

	/** For the clock only: whether it has passed. */
	check(time: Milliseconds): boolean {
		if (time < this.#at) {
			return false;
		}

		this[Symbol.dispose]();
		this.#owner.expired();
		return true;
	}

	/** Stops; nothing happens any more. */
	[Symbol.dispose](): void {
		if (this.#at !== Infinity) {
			this.#at = Infinity;
			this.#clock.remove(this);
		}
	}
}
