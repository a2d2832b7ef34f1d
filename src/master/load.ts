/*++
/* NAME
/*	load 3
/* SUMMARY
/*	whether this process has more work than is good for it
/* DESCRIPTION
/*	The load is the share of the time that the event loop works, of
/*	windows of 50 ms. Above 70 % the process is busy, below 40 % it is
/*	not any more; in between it remains what it is.
/*
/*	Turns of the event loop report how long they were, and close the
/*	window when it is over; that is all this costs. A process without
/*	work has no turns: only while it is busy a timer looks for that.
/* SEE ALSO
/*	reactor(3), server(3)
/*--*/

import type {Milliseconds} from '../base/units.ts';

/** Length of a window, in milliseconds. There is one report in it to master(8), at most. */
const WINDOW = 50;
/** Shares of a window. */
const BUSY = 0.7;
const NOT_BUSY = 0.4;

/** The load of one process. */
export class Load implements Disposable {
	readonly #changed: (busy: boolean) => void;
	readonly #now: () => Milliseconds;
	#busy = false;
	#since: Milliseconds;
	#worked = 0;
	#timer: NodeJS.Timeout | undefined;

	/**
	 * @param now - the time that turns are measured with.
	 * @param changed - called when the process becomes busy, or is not any more.
	 */
	constructor(now: () => Milliseconds, changed: (busy: boolean) => void) {
		this.#now = now;
		this.#changed = changed;
		this.#since = now();
	}

	/** Whether the process is busy. */
	get busy(): boolean {
		return this.#busy;
	}

	/** The event loop has worked from one time to another. */
	worked(from: Milliseconds, to: Milliseconds): void {
		this.#worked += to - from;
		if (to - this.#since >= WINDOW) {
			this.#close(to);
		}
	}

	[Symbol.dispose](): void {
		clearInterval(this.#timer);
	}

	#close(time: Milliseconds): void {
		const share = this.#worked / (time - this.#since);
		this.#since = time;
		this.#worked = 0;
		if (share > BUSY) {
			this.#become(true);
		} else if (share < NOT_BUSY) {
			this.#become(false);
		}
	}

	#become(busy: boolean): void {
		if (busy === this.#busy) {
			return;
		}

		this.#busy = busy;
		clearInterval(this.#timer);
		if (busy) {
			this.#timer = setInterval(() => {
				const time = this.#now();
				if (time - this.#since >= WINDOW) {
					this.#close(time);
				}
			}, WINDOW);
		}

		this.#changed(busy);
	}
}
