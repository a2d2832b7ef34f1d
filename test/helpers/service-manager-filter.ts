/* Filters of system calls such as those of a service manager, in all threads of a process. */
import {allocate, syscall} from '../../src/ffi/libc/libc.ts';

/* Actions. Source: linux/seccomp.h. */
export const ALLOW = 0x7fff0000;
export const KILL_PROCESS = 0x80000000;
export const fail = (code: number): number => 0x00050000 | code;

/** struct sock_filter. */
export type Instruction = readonly [code: number, jt: number, jf: number, k: number];
export const ret = (k: number): Instruction => [0x06, 0, 0, k];
/** Continues if the comparison is true; otherwise skips some instructions. */
export const ifEqual = (k: number, skip: number): Instruction => [0x15, 0, skip, k];
export const ifAny = (k: number, skip: number): Instruction => [0x45, 0, skip, k];
export const and = (k: number): Instruction => [0x54, 0, 0, k];
export const loadNumber: Instruction = [0x20, 0, 0, 0];
export const loadArgument = (index: number): Instruction => [0x20, 0, 0, 16 + 8 * index];

const x64 = process.arch === 'x64';

/** Numbers of calls. Source: asm/unistd.h. */
export const numbers = {
	chroot: x64 ? 161 : 51,
	mmap: x64 ? 9 : 222,
	mprotect: x64 ? 10 : 226,
	pkey_mprotect: x64 ? 329 : 288,
	prctl: x64 ? 157 : 167,
	seccomp: x64 ? 317 : 277,
	setgid: x64 ? 106 : 144,
	setgroups: x64 ? 116 : 159,
	setuid: x64 ? 105 : 146,
};

/* Source: linux/seccomp.h. */
const SECCOMP_SET_MODE_FILTER = 1n;
const SECCOMP_FILTER_FLAG_TSYNC = 1n;

/** Installs a filter, which must end with an action. Result of seccomp(2). */
export function filter(...program: readonly Instruction[]): number {
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
	return syscall(numbers.seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, sockFprog.address);
}

/** Makes a call fail with EPERM from now on. */
export function refuse(call: keyof typeof numbers): void {
	if (filter(loadNumber, ifEqual(numbers[call], 1), ret(fail(1)), ret(ALLOW)) !== 0) {
		throw new Error(`cannot refuse ${call}`);
	}
}
