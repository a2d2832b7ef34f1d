/*++
/* NAME
/*	watchdog 3
/* SUMMARY
/*	ends a process whose event loop makes no progress
/* DESCRIPTION
/*	A timer of the event loop cannot detect that the loop is busy or
/*	blocked. A timer of the kernel can: the event loop restarts it
/*	regularly, and when it expires, SIGALRM ends the process. The supervisor sees the signal and logs "watchdog
/*	timeout", as stock does.
/*
/*	Time in which the process is stopped (SIGSTOP, a frozen cgroup, a
/*	paused virtual machine) must not count: the timer expires then, but
/*	the event loop had no chance to restart it. Therefore there are two
/*	timers in a row. When the first expires, a signal handler starts
/*	the second, and only that one sends SIGALRM. However long a pause
/*	is, the handler runs when it is over, and the event loop has the
/*	time of the second timer to restart the first. A process whose
/*	loop is busy or blocked ends after the sum of both, which is the
/*	limit. Stock divides its limit into three alarms for the same
/*	reason.
/*
/*	JavaScript cannot run in a signal handler, and this program has no
/*	C code. Therefore the handler is alarm(2) itself: it is
/*	async-signal-safe and takes one integer, and a signal handler is
/*	passed one integer, the number of the signal. The number of the
/*	first timer's signal is thus the length of the second timer in
/*	seconds.
/* .IP SIGABRT
/*	6 seconds, for limits below 57 seconds. abort(3) still ends the
/*	process: when a handler of SIGABRT returns, it removes the handler
/*	and raises the signal again.
/* .IP "real-time signals"
/*	34 to 64 seconds, for longer limits. No other part of the program
/*	uses them.
/* .PP
/*	The main thread blocks the signal, so that the kernel delivers it
/*	to one of the threads of V8. A main thread that waits for a disk
/*	or a network file system does not run signal handlers.
/* BUGS
/*	A loop that is already blocked when a pause begins may be ended
/*	when the pause is over.
/*
/*	SIGABRT that is sent by another process has no effect.
/*
/*	If the kernel creates no timer (RLIMIT_SIGPENDING), only alarm(2)
/*	is used, and a pause longer than the limit ends the process.
/* SEE ALSO
/*	alarm(2), timer_create(2), signal-safety(7), postfix src/util/watchdog.c
/*--*/

import {type Milliseconds, type Seconds, toMilliseconds} from '../base/units.ts';
import {alarm, alarmFunction, blockSignal, createTimer, type KernelTimer, signal} from '../ffi/libc/libc.ts';

/* Source: signal(7); the C library uses the first two real-time signals. */
const SIGABRT = 6;
const SIGRTMIN = 34;
const SIGRTMAX = 64;

/* The first timer of the watchdog in effect. A process has one alarm(2): it is the second timer of all watchdogs. */
let running: KernelTimer | undefined;

/** A limit to the time in which a process makes no progress. One watchdog is in effect at a time. */
export class Watchdog {
	readonly #limit: Seconds;
	readonly #grace: Seconds;
	readonly #timer: KernelTimer | undefined;

	/**
	 * Creates the timers; restart() starts them. Must be called before the process enters the jail.
	 *
	 * @param limit - at least ten seconds.
	 */
	constructor(limit: Seconds) {
		this.#limit = limit;
		this.#grace = graceOf(limit);
		signal(this.#grace, alarmFunction);
		blockSignal(this.#grace);
		this.#timer = createTimer(this.#grace);
	}

	/** Starts or restarts the first timer, and replaces the watchdog that was in effect. */
	restart(): void {
		if (running !== this.#timer) {
			running?.set(0);
			running = this.#timer;
		}

		if (this.#timer === undefined) {
			alarm(this.#limit);
			return;
		}

		this.#timer.set(this.#limit - this.#grace);
		/*
		 * The handler of the last expiration may run in another thread at this time, and start
		 * the second timer after this call. The next restart is in time to stop it.
		 */
		alarm(0);
	}

	/** Starts the watchdog, and restarts it as long as the event loop runs. */
	watchLoop(): void {
		this.restart();
		setInterval(() => this.restart(), watchdogStep(this.#limit));
	}
}

/** Milliseconds between two restarts. Source: postfix src/util/watchdog.c. */
export function watchdogStep(limit: Seconds): Milliseconds {
	return toMilliseconds(Math.trunc(limit / 3) as Seconds);
}

/** The length of the second timer, and the number of the first timer's signal: about three fifths of the limit. */
export function graceOf(limit: Seconds): Seconds {
	const grace = Math.trunc((limit * 3) / 5);
	return (grace < SIGRTMIN ? SIGABRT : Math.min(grace, SIGRTMAX)) as Seconds;
}
