/*++
/* NAME
/*	prefetched-config 3
/* SUMMARY
/*	what the supervisor has prepared for this process
/* DESCRIPTION
/*	A pipe on which the supervisor has printed, while Node.js was being
/*	started, what the process will ask for first: see postconf-output(3).
/* SEE ALSO
/*	supervisor.sh
/*--*/

import type {Fd} from '../base/units.ts';
import {TIME_LIMIT} from '../conf/command.ts';
import {now} from '../event/deadline.ts';
import {close, EAGAIN, EINTR, errno, read, setNonBlocking} from '../ffi/libc/libc.ts';

/**
 * Reads what the supervisor has prepared, to its end, and closes the pipe. Nothing else is to be done
 * meanwhile: what starts the reading of a pipe in Node.js takes longer than all of this.
 *
 * @param offer - ours.
 * @returns as much as there is; nothing, when there is no end of it in the time that a command may take.
 */
export function readPrefetchedConfig(offer: Fd): string {
	setNonBlocking(offer);
	const parts: Buffer[] = [];
	const limit = now() + TIME_LIMIT;
	let complete = false;
	while (!complete && now() < limit) {
		const part = Buffer.allocUnsafeSlow(OFFER_PART);
		const size = read(offer, part, part.length);
		if (size >= 0) {
			complete = size === 0;
			parts.push(part.subarray(0, size));
		} else if (errno() === EAGAIN) {
			pause();
		} else if (errno() !== EINTR) {
			break;
		}
	}

	close(offer);
	return complete ? Buffer.concat(parts).toString() : '';
}

/** A pipe holds no more, unless somebody asks for it. Source: pipe(7). */
const OFFER_PART = 65_536;

function pause(): void {
	Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
}
