/*
 * What all processes of an instance have used, also those that have ended: whoever
 * waits for a child has what it used, and what it had of its own children, added to
 * an account of his own, and all are descendants of master(8).
 */
import {readFileSync} from 'node:fs';
import {fieldsOf, type ProcessEntry, TICKS} from '../../../postfix/lib/processes.ts';
import type {Sandbox} from '../../../postfix/lib/sandbox.ts';
import {cpuSeconds} from './process.ts';

/** The program that a process of Postfix runs. */
function programOf({args}: ProcessEntry): string {
	if (args.some(word => word.endsWith('/lib/main.js'))) {
		return 'tlsproxy';
	}

	const [first = '', second = ''] = args;
	if (first.endsWith('sh')) {
		return second.endsWith('/tlsproxy') ? 'supervisor' : (second.split('/').at(-1) ?? '');
	}

	return first.split('/').at(-1) ?? '';
}

/** CPU seconds of the children that a process has waited for, with theirs; in steps of 10 ms. */
function waitedFor(pid: number): number {
	try {
		const fields = fieldsOf(readFileSync(`/proc/${pid}/stat`, 'utf8'));
		/* Numbers of proc(5), which counts from one. */
		const [user = Number.NaN, system = Number.NaN] = [16, 17].map(number => Number(fields[number - 3]));
		return (user + system) / TICKS;
	} catch {
		return 0;
	}
}

/** CPU seconds since an Account was opened. */
export interface Used {
	readonly total: number;
	/** What is left of the total, of processes that came and went between two looks, is `ended`. */
	readonly byProgram: Readonly<Record<string, number>>;
}

/** The account of one instance, from when it is made. */
export class Account {
	readonly #sandbox: Sandbox;
	readonly #first = new Map<number, number>();
	readonly #last = new Map<number, readonly [program: string, used: number]>();
	readonly #begin: number;

	constructor(sandbox: Sandbox) {
		this.#sandbox = sandbox;
		this.#begin = this.look();
		for (const [pid, [, used]] of this.#last) {
			this.#first.set(pid, used);
		}
	}

	/** Notes what each process has used so far; without it, who ends has no name. Returns the sum. */
	look(): number {
		let sum = 0;
		for (const entry of this.#sandbox.processes()) {
			const used = cpuSeconds(entry.pid);
			sum += used + waitedFor(entry.pid);
			/* Between a look at the table and one at the process it may have ended. */
			if (used > 0) {
				this.#last.set(entry.pid, [programOf(entry), used]);
			}
		}

		return sum;
	}

	used(): Used {
		const all = this.look() - this.#begin;
		const sums = new Map<string, number>();
		for (const [pid, [program, used]] of this.#last) {
			sums.set(program, (sums.get(program) ?? 0) + used - (this.#first.get(pid) ?? 0));
		}

		const known = [...sums.values()].reduce((sum, used) => sum + used, 0);
		/*
		 * Ticks are coarse: what is below is nobody. Nor is a process waited for that outlives
		 * who has started it, as one of ours does when it drains: it counts as it was seen last.
		 */
		const ended = Math.max(0, all - known);
		sums.set('ended', ended);
		return {total: known + ended, byProgram: Object.fromEntries(sums)};
	}
}
