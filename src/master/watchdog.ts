/*++
/* NAME
/*	watchdog 3
/* SUMMARY
/*	ends a process whose event loop stands still
/* DESCRIPTION
/*	Timers of the event loop cannot tell that it stands still. The
/*	kernel can: as long as the loop turns, the alarm clock is set
/*	anew; otherwise SIGALRM ends the process, whatever it is doing.
/*	That leaves no time for words: the supervisor knows the signal,
/*	logs what stock would have logged, and ends, so that master(8)
/*	starts another process.
/* BUGS
/*	A process that is stopped (SIGSTOP) is ended when it goes on. So it
/*	is with stock.
/* SEE ALSO
/*	alarm(2), postfix src/util/watchdog.c
/*--*/

import {alarm} from '../ffi/libc.ts';
import {type Milliseconds, type Seconds, toMilliseconds} from '../units.ts';

/**
 * Starts to watch.
 *
 * @param limit - tlsproxy_watchdog_timeout: how long the loop may stand still.
 */
export function startWatchdog(limit: Seconds): void {
	alarm(limit);
	setInterval(() => alarm(limit), watchdogStep(limit));
}

/** Milliseconds between two signs of life. Source: postfix src/util/watchdog.c. */
export function watchdogStep(limit: Seconds): Milliseconds {
	return toMilliseconds(Math.trunc(limit / 3) as Seconds);
}
