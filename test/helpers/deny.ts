/*
 * Denies itself a feature, as a service manager or an old kernel does, and executes
 * another program:
 *
 *	node deny.ts FEATURE PROGRAM ARGUMENT...
 *
 * The program inherits descriptors 3 to 9.
 */
import type {Fd} from '../../src/base/units.ts';
import {clearCloseOnExec, errno, prctl, strerror} from '../../src/ffi/libc/libc.ts';
import {
	ALLOW,
	and,
	fail,
	filter,
	ifAny,
	ifEqual,
	KILL_PROCESS,
	loadArgument,
	loadNumber,
	numbers,
	ret,
} from './service-manager-filter.ts';

/* Source: linux/prctl.h. */
const PR_SET_SECCOMP = 22;
const PR_SET_MDWE = 65;
const PR_MDWE_REFUSE_EXEC_GAIN = 1n;

const EPERM = 1;
const EINVAL = 22;
const ENOSYS = 38;

/** How to deny a feature. */
const denials: Readonly<Record<string, () => number>> = {
	/* MemoryDenyWriteExecute= of newer service managers. */
	'write-execute by prctl': () => prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0n, 0n, 0n),

	/* The same setting of older ones. */
	'write-execute by seccomp': () =>
		filter(
			loadNumber,
			ifEqual(numbers.mmap, 4),
			loadArgument(2),
			and(0x6),
			ifEqual(0x6, 1),
			ret(fail(EPERM)),
			loadNumber,
			ifEqual(numbers.mprotect, 3),
			loadArgument(2),
			ifAny(0x4, 1),
			ret(fail(EPERM)),
			loadNumber,
			ifEqual(numbers.pkey_mprotect, 3),
			loadArgument(2),
			ifAny(0x4, 1),
			ret(fail(EPERM)),
			ret(ALLOW),
		),

	/* SystemCallFilter=@system-service, which does not contain this call. */
	'seccomp by death': () => filter(loadNumber, ifEqual(numbers.seccomp, 1), ret(KILL_PROCESS), ret(ALLOW)),

	/* A kernel without seccomp(2). */
	seccomp: () =>
		filter(
			loadNumber,
			ifEqual(numbers.seccomp, 1),
			ret(fail(ENOSYS)),
			ifEqual(numbers.prctl, 3),
			loadArgument(0),
			ifEqual(PR_SET_SECCOMP, 1),
			ret(fail(EINVAL)),
			ret(ALLOW),
		),
};

const [feature = '', program = '', ...args] = process.argv.slice(2);
const deny = denials[feature];
if (deny === undefined) {
	throw new Error(`cannot deny "${feature}"`);
}

if (deny() !== 0) {
	throw new Error(`${feature}: ${strerror(errno())}`);
}

for (let fd = 3; fd < 10; fd++) {
	clearCloseOnExec(fd as Fd);
}

process.execve?.(program, [program, ...args], process.env);
