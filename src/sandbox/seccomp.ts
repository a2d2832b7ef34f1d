/*++
/* NAME
/*	seccomp 3
/* SUMMARY
/*	filter of system calls
/* DESCRIPTION
/*	confine() puts the filter of workers on this process, which must
/*	have given up new privileges. A filter cannot be taken off again,
/*	and adds to those that a service manager may have set.
/*
/*	seccomp(2) reaches all threads, and those of V8 exist already when
/*	this is called. The older prctl(2) reaches the calling thread. A
/*	filter of a service manager may answer seccomp(2) with a signal
/*	that ends the process, so it has to be known beforehand whether
/*	that can be called: see launch(3).
/* SEE ALSO
/*	seccomp(2), prctl(2), systemd.exec(5)
/*--*/

import {allocate, errno, prctl, strerror, syscall} from '../ffi/libc/libc.ts';
import {assemble, INSTRUCTION_SIZE, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS} from './bpf.ts';
import {workerRules} from './syscall-filter.ts';
import {type Architecture, hostArchitecture, syscallNumber} from './syscalls.ts';

/* Source: linux/prctl.h, linux/seccomp.h. */
const PR_GET_SECCOMP = 21;
const PR_SET_SECCOMP = 22;
const SECCOMP_MODE_FILTER = 2;
const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_TSYNC = 1;

/** How far a filter can reach: all threads, or the one that asks for it. */
export type FilterScope = 'process' | 'thread';

/**
 * Ends the process, from now on, when it makes a system call that a worker has no need for.
 *
 * @param reach - what launch(3) has found out.
 * @returns undefined when that is so; otherwise what is missing, and why.
 */
export function installFilter(reach: FilterScope): string | undefined {
	const arch = hostArchitecture();
	if (arch === undefined) {
		return `system calls are not filtered: no filter for ${process.arch}`;
	}

	/* Where V8 makes no machine code it offers no WebAssembly either. */
	const jit = 'WebAssembly' in globalThis;
	const filter = assemble(arch, workerRules({pid: process.pid, jit}), SECCOMP_RET_KILL_PROCESS);
	const missing =
		reach === 'process' ? filterProcess(arch, filter) : 'seccomp: not allowed by the service manager';
	if (missing === undefined) {
		return undefined;
	}

	const nothing = filterThread(filter);
	return nothing === undefined
		? `system calls are filtered in the main thread only: ${missing}`
		: `system calls are not filtered: ${nothing}`;
}

/** Whether there is a filter already, which others have set. */
export function isFiltered(): boolean {
	return prctl(PR_GET_SECCOMP, 0n, 0n, 0n, 0n) === SECCOMP_MODE_FILTER;
}

/** Puts a filter on the calling thread, and on all that it starts. Returns what is wrong, if something is. */
export function filterThread(filter: Uint8Array): string | undefined {
	const program = programOf(filter);
	return prctl(PR_SET_SECCOMP, BigInt(SECCOMP_MODE_FILTER), program, 0n, 0n) === 0
		? undefined
		: `prctl(PR_SET_SECCOMP): ${strerror(errno())}`;
}

/* Returns what is wrong, if something is. */
function filterProcess(arch: Architecture, filter: Uint8Array): string | undefined {
	const number = syscallNumber(arch, 'seccomp') ?? 0;
	const result = syscall(
		number,
		BigInt(SECCOMP_SET_MODE_FILTER),
		BigInt(SECCOMP_FILTER_FLAG_TSYNC),
		programOf(filter),
	);
	if (result === 0) {
		return undefined;
	}

	return `seccomp: ${result < 0 ? strerror(errno()) : `thread ${result} has a filter of its own`}`;
}

/**
 * Calls seccomp(2) without effect: a process that has nothing to lose finds out whether it survives that.
 * Returns whether the call is allowed.
 */
export function trySeccomp(arch: Architecture): boolean {
	const SECCOMP_GET_ACTION_AVAIL = 2;
	const action = allocate(4);
	action.view.setUint32(0, SECCOMP_RET_ALLOW, true);
	return (
		syscall(syscallNumber(arch, 'seccomp') ?? 0, BigInt(SECCOMP_GET_ACTION_AVAIL), 0n, action.address) === 0
	);
}

/* struct sock_fprog: the number of instructions, and where they are. */
function programOf(filter: Uint8Array): bigint {
	const code = allocate(filter.length);
	code.bytes.set(filter);
	const program = allocate(16);
	program.view.setUint16(0, filter.length / INSTRUCTION_SIZE, true);
	program.view.setBigUint64(8, code.address, true);
	return program.address;
}
