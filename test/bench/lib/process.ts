/*
 * What processes use: CPU time and memory, from proc(5).
 */
import {readdirSync, readFileSync} from 'node:fs';
import {type ProcessEntry, runsProgram} from '../../../postfix/lib/processes.ts';
import type {Sandbox} from '../../../postfix/lib/sandbox.ts';

/** Processes of an instance that belong to a program: its own, and with ours what it starts. */
export function processesOf(sandbox: Sandbox, name: string): readonly ProcessEntry[] {
	return sandbox
		.processes()
		.filter(
			entry =>
				runsProgram(entry, name) ||
				(name === 'tlsproxy' && entry.args.some(word => word.endsWith('/lib/main.js'))),
		);
}

/** CPU seconds of a process, user and system, all threads. Nanoseconds are counted, where stat has ticks of 10 ms. */
export function cpuSeconds(pid: number): number {
	try {
		return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
			const [nanoseconds] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ');
			return sum + Number(nanoseconds) / 1e9;
		}, 0);
	} catch {
		/* It has ended. */
		return 0;
	}
}

/** Memory of a process, in bytes. */
export interface MemoryUse {
	/** What would be free again if it ended. */
	readonly private: number;
	/** The same, and its part of what it shares with others. */
	readonly pss: number;
}

/* Nothing, of one that has ended. */
function memoryMapOf(pid: number): string {
	try {
		return readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
	} catch {
		return '';
	}
}

/** Memory of processes, together. */
export function memoryOf(processes: readonly ProcessEntry[]): MemoryUse {
	let pss = 0;
	let own = 0;
	for (const {pid} of processes) {
		const text = memoryMapOf(pid);
		for (const [, name, size] of text.matchAll(/^(Pss|Private_Clean|Private_Dirty): +(\d+) kB$/gm)) {
			if (name === 'Pss') {
				pss += Number(size) * 1024;
			} else {
				own += Number(size) * 1024;
			}
		}
	}

	return {private: own, pss};
}
