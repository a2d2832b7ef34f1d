/*++
/* NAME
/*	seccomp 3
/* SUMMARY
/*	install the filter of system calls
/* DESCRIPTION
/*	installFilter() installs the filter of workers in this process,
/*	which must have set no_new_privs. A filter cannot be removed. It
/*	applies in addition to a filter of the service manager.
/*
/*	seccomp(2) installs a filter in all threads, including those of V8,
/*	which exist already. The older prctl(2) installs it in the calling
/*	thread only. The filter of a service manager can kill a process
/*	that calls seccomp(2), so launch(3) finds out in a child process
/*	whether the call is allowed.
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

/** The threads that a filter can be installed in: all, or the calling one. */
export type FilterScope = 'process' | 'thread';

/**
 * Installs a filter that kills the process if it makes a system call that a worker does not need.
 *
 * @param scope - as found out by launch(3).
 * @returns undefined if all threads are filtered; otherwise the text of a warning.
 */
export function installFilter(scope: FilterScope): string | undefined {
	const arch = hostArchitecture();
	if (arch === undefined) {
		return `system calls are not filtered: no filter for ${process.arch}`;
	}

	/* Without its JIT compiler, V8 has no WebAssembly. */
	const jit = 'WebAssembly' in globalThis;
	const filter = assemble(arch, workerRules({pid: process.pid, jit}), SECCOMP_RET_KILL_PROCESS);
	const processError =
		scope === 'process' ? filterProcess(arch, filter) : 'seccomp: not allowed by the service manager';
	if (processError === undefined) {
		return undefined;
	}

	const threadError = filterThread(filter);
	return threadError === undefined
		? `system calls are filtered in the main thread only: ${processError}`
		: `system calls are not filtered: ${threadError}`;
}

/** Whether this process has a filter, for example of the service manager. */
export function isFiltered(): boolean {
	return prctl(PR_GET_SECCOMP, 0n, 0n, 0n, 0n) === SECCOMP_MODE_FILTER;
}

/** Installs a filter in the calling thread and in those that it creates. Returns an error text on failure. */
export function filterThread(filter: Uint8Array): string | undefined {
	const program = programOf(filter);
	return prctl(PR_SET_SECCOMP, BigInt(SECCOMP_MODE_FILTER), program, 0n, 0n) === 0
		? undefined
		: `prctl(PR_SET_SECCOMP): ${strerror(errno())}`;
}

/* Installs a filter in all threads. Returns an error text on failure. */
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

	return `seccomp: ${result < 0 ? strerror(errno()) : `thread ${result} has a different filter`}`;
}

/**
 * Calls seccomp(2) without effect. This can kill the process, so it must be a child process without other tasks.
 *
 * @returns whether the call is allowed.
 */
export function trySeccomp(arch: Architecture): boolean {
	const SECCOMP_GET_ACTION_AVAIL = 2;
	const action = allocate(4);
	action.view.setUint32(0, SECCOMP_RET_ALLOW, true);
	return (
		syscall(syscallNumber(arch, 'seccomp') ?? 0, BigInt(SECCOMP_GET_ACTION_AVAIL), 0n, action.address) === 0
	);
}

/* Makes a struct sock_fprog: the number of instructions, and their address. */
function programOf(filter: Uint8Array): bigint {
	const code = allocate(filter.length);
	code.bytes.set(filter);
	const program = allocate(16);
	program.view.setUint16(0, filter.length / INSTRUCTION_SIZE, true);
	program.view.setBigUint64(8, code.address, true);
	return program.address;
}
