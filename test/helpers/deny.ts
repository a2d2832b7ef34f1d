/*
 * Takes something away from itself, as a service manager or an old kernel would, and
 * becomes another program:
 *
 *	node deny.ts WHAT PROGRAM ARGUMENT...
 *
 * Descriptors 3 to 9 are that program's.
 */

import type {Fd} from '../../src/base/units.ts';
import {clearCloseOnExec, errno, prctl, strerror} from '../../src/ffi/libc/libc.ts';
import {
	ALLOW,
	and,
	answer,
	fail,
	filter,
	ifAny,
	ifEqual,
	KILL_PROCESS,
	loadArgument,
	loadNumber,
	numbers,
} from './own-filter.ts';

/* Source: linux/prctl.h. */
const PR_SET_SECCOMP = 22;
const PR_SET_MDWE = 65;
const PR_MDWE_REFUSE_EXEC_GAIN = 1n;

const EPERM = 1;
const EINVAL = 22;
const ENOSYS = 38;

/** What can be taken away, by the name of the argument. */
const ways: Readonly<Record<string, () => number>> = {
	/* MemoryDenyWriteExecute= of newer service managers. */
	'write-execute by prctl': () => prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0n, 0n, 0n),

	/* The same of older ones. */
	'write-execute by seccomp': () =>
		filter(
			loadNumber,
			ifEqual(numbers.mmap, 4),
			loadArgument(2),
			and(0x6),
			ifEqual(0x6, 1),
			answer(fail(EPERM)),
			loadNumber,
			ifEqual(numbers.mprotect, 3),
			loadArgument(2),
			ifAny(0x4, 1),
			answer(fail(EPERM)),
			loadNumber,
			ifEqual(numbers.pkey_mprotect, 3),
			loadArgument(2),
			ifAny(0x4, 1),
			answer(fail(EPERM)),
			answer(ALLOW),
		),

	/* SystemCallFilter=@system-service, which lacks this one. */
	'seccomp by death': () =>
		filter(loadNumber, ifEqual(numbers.seccomp, 1), answer(KILL_PROCESS), answer(ALLOW)),

	/* A kernel that was built without. */
	seccomp: () =>
		filter(
			loadNumber,
			ifEqual(numbers.seccomp, 1),
			answer(fail(ENOSYS)),
			ifEqual(numbers.prctl, 3),
			loadArgument(0),
			ifEqual(PR_SET_SECCOMP, 1),
			answer(fail(EINVAL)),
			answer(ALLOW),
		),
};

const [what = '', program = '', ...args] = process.argv.slice(2);
const way = ways[what];
if (way === undefined) {
	throw new Error(`cannot take away "${what}"`);
}

if (way() !== 0) {
	throw new Error(`${what}: ${strerror(errno())}`);
}

for (let fd = 3; fd < 10; fd++) {
	clearCloseOnExec(fd as Fd);
}

process.execve?.(program, [program, ...args], process.env);
