/*++
/* NAME
/*	prefetched-config 3
/* SUMMARY
/*	reads the configuration that the supervisor has printed
/* DESCRIPTION
/*	While Node.js starts, the supervisor has the output of postconf(1)
/*	written to a pipe: see postconf-output(3).
/* SEE ALSO
/*	supervisor.pl, prefetch-config.sh
/*--*/

import type {Fd} from '../base/units.ts';
import {TIME_LIMIT} from '../conf/command.ts';
import {now} from '../event/deadline.ts';
import {close, EAGAIN, EINTR, errno, read, setNonBlocking} from '../ffi/libc/libc.ts';

/**
 * Reads the pipe to its end, and closes it. There is no other work meanwhile, and an asynchronous read would
 * load modules of Node.js, which takes longer.
 *
 * @param pipe - moved in.
 * @returns the contents; empty if the pipe does not end within the time limit of a command.
 */
export function readPrefetchedConfig(pipe: Fd): string {
	setNonBlocking(pipe);
	const parts: Buffer[] = [];
	const limit = now() + TIME_LIMIT;
	let complete = false;
	while (!complete && now() < limit) {
		const part = Buffer.allocUnsafeSlow(PART_SIZE);
		const size = read(pipe, part, part.length);
		if (size >= 0) {
			complete = size === 0;
			parts.push(part.subarray(0, size));
		} else if (errno() === EAGAIN) {
			pause();
		} else if (errno() !== EINTR) {
			break;
		}
	}

	close(pipe);
	return complete ? Buffer.concat(parts).toString() : '';
}

/** Default capacity of a pipe. Source: pipe(7). */
const PART_SIZE = 65_536;

function pause(): void {
	Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
}
