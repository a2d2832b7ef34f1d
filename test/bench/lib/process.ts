/*
 * CPU time and memory of processes, from proc(5).
 */
import {readdirSync, readFileSync} from 'node:fs';
import {type ProcessEntry, runsProgram} from '../../../postfix/lib/processes.ts';
import type {Sandbox} from '../../../postfix/lib/sandbox.ts';

/** Processes of an instance that run a program. For this program, they include the supervisor and the worker. */
export function processesOf(sandbox: Sandbox, name: string): readonly ProcessEntry[] {
	return sandbox
		.processes()
		.filter(
			entry =>
				runsProgram(entry, name) ||
				(name === 'tlsproxy' && entry.args.some(argument => argument.endsWith('/lib/main.js'))),
		);
}

/** CPU seconds of all threads of a process, user and system. schedstat has nanoseconds, stat has ticks of 10 ms. */
export function cpuSeconds(pid: number): number {
	try {
		return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
			const [nanoseconds] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
			return sum + Number(nanoseconds) / 1e9;
		}, 0);
	} catch {
		/* The process has ended. */
		return 0;
	}
}

/** Memory of a process, in bytes. */
export interface MemoryUse {
	/** Memory that would become free if the process ended. */
	readonly private: number;
	/** Private memory plus a proportional share of shared memory. */
	readonly pss: number;
}

/* Empty if the process has ended. */
function memoryMapOf(pid: number): string {
	try {
		return readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
	} catch {
		return '';
	}
}

/** The sum over several processes. */
export function memoryOf(processes: readonly ProcessEntry[]): MemoryUse {
	let pss = 0;
	let privateBytes = 0;
	for (const {pid} of processes) {
		const text = memoryMapOf(pid);
		for (const [, name, size] of text.matchAll(/^(Pss|Private_Clean|Private_Dirty): +(\d+) kB$/gm)) {
			if (name === 'Pss') {
				pss += Number(size) * 1024;
			} else {
				privateBytes += Number(size) * 1024;
			}
		}
	}

	return {private: privateBytes, pss};
}
