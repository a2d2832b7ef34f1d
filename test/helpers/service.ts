/*
 * What an administrator sees of a service under a real master(8): how long clients
 * wait, which processes there are, and what they cost.
 */
import {readFileSync} from 'node:fs';
import {setTimeout as delay} from 'node:timers/promises';
import type {Daemon} from './daemon.ts';

/** Times in which a client was greeted, in milliseconds. */
export interface Waits {
	readonly count: number;
	readonly longest: number;
}

/** Connects and waits for the greeting, again and again. Ask it to stop; it tells how long clients waited. */
export function askAgainAndAgain(daemon: Daemon, service = 'tlsproxy'): {stop(): Promise<Waits>} {
	const end = new AbortController();
	const asking = (async (): Promise<Waits> => {
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
			return await asking;
		},
	};
}

/** How long a client waits for the greeting, in milliseconds; one that is not greeted comes again. */
export async function timeToGreeting(daemon: Daemon, service = 'tlsproxy'): Promise<number> {
	const start = performance.now();
	for (;;) {
		try {
			using client = await daemon.connect(service);
			if ((await client.list()) !== undefined) {
				return performance.now() - start;
			}
		} catch {
			/* The backlog is full. */
		}

		if (performance.now() - start > 60_000) {
			throw new Error(`nobody is greeted:\n${await daemon.sandbox.log()}`);
		}

		await delay(10);
	}
}

/** CPU time that a process has used, in milliseconds. */
export function cpuTime(pid: number): number {
	const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
	const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
	/* utime and stime, in hundredths of a second. */
	return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Whether a process has ended, also when nobody has noticed. */
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

/** Processes that serve, or will: supervisors too. */
export function processes(daemon: Daemon): readonly number[] {
	return daemon.sandbox
		.processes()
		.filter(({args}) => args.some(arg => /\/tlsproxy$|\/lib\/main\.js$/.test(arg)))
		.map(({pid}) => pid);
}
