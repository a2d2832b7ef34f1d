/*++
/* NAME
/*	load 3
/* SUMMARY
/*	measures the load of a process
/* DESCRIPTION
/*	The load is the share of time in which the event loop works,
/*	measured in windows of 50 ms. Above 70 % the process becomes busy,
/*	below 40 % it is no longer busy; in between nothing changes.
/*
/*	Each iteration of the event loop reports its duration, and ends the
/*	window when its time is over. A process without work has no
/*	iterations: therefore a timer runs while the process is busy, and
/*	only then.
/* SEE ALSO
/*	reactor(3), event-server(3)
/*--*/

import type {Milliseconds} from '../base/units.ts';

/** Length of a window, in milliseconds. The process reports to master(8) at most once per window. */
const WINDOW = 50;
/** Share of a window above which the process becomes busy, and below which it is no longer busy. */
const BUSY_SHARE = 0.7;
const IDLE_SHARE = 0.4;

/** The load of one process. */
export class Load implements Disposable {
	readonly #changed: (busy: boolean) => void;
	readonly #now: () => Milliseconds;
	#busy = false;
	#since: Milliseconds;
	#worked = 0;
	#timer: NodeJS.Timeout | undefined;

	/**
	 * @param now - the clock with which iterations are measured.
	 * @param changed - called when the process becomes busy or is no longer busy.
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

	/** The event loop has worked during this time. */
	worked(from: Milliseconds, to: Milliseconds): void {
		this.#worked += to - from;
		if (to - this.#since >= WINDOW) {
			this.#endWindow(to);
		}
	}

	[Symbol.dispose](): void {
		clearInterval(this.#timer);
	}

	#endWindow(time: Milliseconds): void {
		const share = this.#worked / (time - this.#since);
		this.#since = time;
		this.#worked = 0;
		if (share > BUSY_SHARE) {
			this.#setBusy(true);
		} else if (share < IDLE_SHARE) {
			this.#setBusy(false);
		}
	}

	#setBusy(busy: boolean): void {
		if (busy === this.#busy) {
			return;
		}

		this.#busy = busy;
		clearInterval(this.#timer);
		if (busy) {
			this.#timer = setInterval(() => {
				const time = this.#now();
				if (time - this.#since >= WINDOW) {
					this.#endWindow(time);
				}
			}, WINDOW);
		}

		this.#changed(busy);
	}
}
