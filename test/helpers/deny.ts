/*
 * Takes something away from itself, as a service manager or an old kernel would, and
 * becomes another program:
 *
 *	node deny.ts WHAT PROGRAM ARGUMENT...
 *
 * Descriptors 3 to 9 are that program's.
 */
import {allocate, clearCloseOnExec, errno, prctl, strerror} from '../../src/ffi/libc.ts';
import type {Fd} from '../../src/units.ts';

/* Source: linux/prctl.h. */
const PR_SET_SECCOMP = 22;
const PR_SET_MDWE = 65;
const PR_MDWE_REFUSE_EXEC_GAIN = 1n;
const MODE_FILTER = 2n;

/* Answers of a filter. Source: linux/seccomp.h. */
const ALLOW = 0x7fff0000;
const KILL_PROCESS = 0x80000000;
const fail = (code: number): number => 0x00050000 | code;
const EPERM = 1;
const EINVAL = 22;
const ENOSYS = 38;

type Instruction = readonly [code: number, jt: number, jf: number, k: number];
const answer = (k: number): Instruction => [0x06, 0, 0, k];
const ifEqual = (k: number, skip: number): Instruction => [0x15, 0, skip, k];
const ifAny = (k: number, skip: number): Instruction => [0x45, 0, skip, k];
const and = (k: number): Instruction => [0x54, 0, 0, k];
const loadNumber: Instruction = [0x20, 0, 0, 0];
const loadArgument = (index: number): Instruction => [0x20, 0, 0, 16 + 8 * index];

const numbers =
	process.arch === 'x64'
		? {mmap: 9, mprotect: 10, pkey_mprotect: 329, seccomp: 317, prctl: 157}
		: {mmap: 222, mprotect: 226, pkey_mprotect: 288, seccomp: 277, prctl: 167};

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

function filter(...program: readonly Instruction[]): number {
	const code = allocate(8 * program.length);
	program.forEach(([operation, jt, jf, k], index) => {
		code.view.setUint16(8 * index, operation, true);
		code.view.setUint8(8 * index + 2, jt);
		code.view.setUint8(8 * index + 3, jf);
		code.view.setUint32(8 * index + 4, k, true);
	});
	const sockFprog = allocate(16);
	sockFprog.view.setUint16(0, program.length, true);
	sockFprog.view.setBigUint64(8, code.address, true);
	return prctl(PR_SET_SECCOMP, MODE_FILTER, sockFprog.address, 0n, 0n);
}

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
