/*
 * CPU time of all processes of an instance, including those that have ended. When a
 * process waits for a child, the kernel adds the CPU time of the child and of the
 * child's children to the process (cutime and cstime in proc(5)). All processes are
 * descendants of master(8).
 */
import {readFileSync} from 'node:fs';
import {fieldsOf, type ProcessEntry, TICKS_PER_SECOND} from '../../../postfix/lib/processes.ts';
import type {Sandbox} from '../../../postfix/lib/sandbox.ts';
import {cpuSeconds} from './process.ts';

/** The program that a process of Postfix runs. */
function programOf({args}: ProcessEntry): string {
	if (args.some(argument => argument.endsWith('/lib/main.js'))) {
		return 'tlsproxy';
	}

	const [first = '', second = ''] = args;
	if (first.endsWith('sh')) {
		return second.endsWith('/tlsproxy') ? 'supervisor' : (second.split('/').at(-1) ?? '');
	}

	return first.split('/').at(-1) ?? '';
}

/** CPU seconds of the children that a process has waited for, and of their children; in steps of 10 ms. */
function childCpuSeconds(pid: number): number {
	try {
		const fields = fieldsOf(readFileSync(`/proc/${pid}/stat`, 'utf8'));
		/* Field numbers of proc(5), which start at one. */
		const [user = Number.NaN, system = Number.NaN] = [16, 17].map(number => Number(fields[number - 3]));
		return (user + system) / TICKS_PER_SECOND;
	} catch {
		return 0;
	}
}

/** CPU seconds since an Account was created. */
export interface CpuUsage {
	readonly total: number;
	/** By program. `ended` is the rest: processes that started and ended between two samples. */
	readonly byProgram: Readonly<Record<string, number>>;
}

/** Measures the CPU time of one instance, from the creation of this object. */
export class Account {
	readonly #sandbox: Sandbox;
	readonly #first = new Map<number, number>();
	readonly #last = new Map<number, readonly [program: string, used: number]>();
	readonly #begin: number;

	constructor(sandbox: Sandbox) {
		this.#sandbox = sandbox;
		this.#begin = this.sample();
		for (const [pid, [, used]] of this.#last) {
			this.#first.set(pid, used);
		}
	}

	/**
	 * Records the CPU time of each process, so that it can be attributed to a program after the process has
	 * ended. Returns the sum.
	 */
	sample(): number {
		let sum = 0;
		for (const entry of this.#sandbox.processes()) {
			const used = cpuSeconds(entry.pid);
			sum += used + childCpuSeconds(entry.pid);
			/* Zero if the process has ended since the process table was read. */
			if (used > 0) {
				this.#last.set(entry.pid, [programOf(entry), used]);
			}
		}

		return sum;
	}

	usage(): CpuUsage {
		const all = this.sample() - this.#begin;
		const sums = new Map<string, number>();
		for (const [pid, [program, used]] of this.#last) {
			sums.set(program, (sums.get(program) ?? 0) + used - (this.#first.get(pid) ?? 0));
		}

		const attributed = [...sums.values()].reduce((sum, used) => sum + used, 0);
		/*
		 * Child times are in ticks, so the rest can be negative; then it is zero. If a process
		 * outlives its parent, as a worker that drains, no process of the instance waits for it:
		 * its last sample counts.
		 */
		const ended = Math.max(0, all - attributed);
		sums.set('ended', ended);
		return {total: attributed + ended, byProgram: Object.fromEntries(sums)};
	}
}
