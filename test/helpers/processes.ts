/* Observations of a service under a real master(8): waiting times, processes, and their CPU time. */
import {readFileSync} from 'node:fs';
import {setTimeout as delay} from 'node:timers/promises';
import type {Daemon} from './daemon.ts';

/** Waiting times of clients. */
export interface WaitingTimes {
	readonly count: number;
	/** In milliseconds. */
	readonly longest: number;
}

/** Connects and waits for the greeting repeatedly, until it is stopped. */
export function pollGreetings(daemon: Daemon, service = 'tlsproxy'): {stop(): Promise<WaitingTimes>} {
	const end = new AbortController();
	const polling = (async (): Promise<WaitingTimes> => {
		let count = 0;
		let longest = 0;
		while (!end.signal.aborted) {
			longest = Math.max(longest, await timeToGreeting(daemon, service));
			count++;
			await delay(20);
		}

		return {count, longest};
	})();
	return {
		async stop() {
			end.abort();
			return await polling;
		},
	};
}

/** The time until a client is greeted, in milliseconds. It reconnects when its connection is closed. */
export async function timeToGreeting(daemon: Daemon, service = 'tlsproxy'): Promise<number> {
	const start = performance.now();
	for (;;) {
		try {
			using client = await daemon.connect(service);
			if ((await client.list()) !== undefined) {
				return performance.now() - start;
			}
		} catch {
			/* The listen queue is full. */
		}

		if (performance.now() - start > 60_000) {
			throw new Error(`no greeting:\n${await daemon.sandbox.log()}`);
		}

		await delay(10);
	}
}

/** CPU time of a process, in milliseconds. */
export function cpuTime(pid: number): number {
	const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
	const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
	/* utime and stime, in hundredths of a second. */
	return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Whether a process has ended, or is a zombie. */
export function hasEnded(pid: number): boolean {
	try {
		return /^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
	} catch {
		return true;
	}
}

/** The master(8) of an instance. */
export function masterPid(daemon: Daemon): number {
	return Number(readFileSync(`${daemon.sandbox.queueDirectory}/pid/master.pid`, 'utf8'));
}

/** Supervisors and workers, including those that are still starting, and stock. */
export function processes(daemon: Daemon): readonly number[] {
	return daemon.sandbox
		.processes()
		.filter(({args}) => args.some(arg => /(?:^|\/)tlsproxy$|\/lib\/main\.js$/.test(arg)))
		.map(({pid}) => pid);
}

/** Resident memory of a process, in bytes. */
export function residentSize(pid: number): number {
	return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}
