/* Stops processes for some time, like a frozen cgroup or a paused virtual machine. */
import {readFileSync} from 'node:fs';
import {setTimeout as delay} from 'node:timers/promises';

/**
 * Stops processes for a number of milliseconds.
 *
 * @param meanwhile - called when all of them are stopped.
 */
export async function pause(
	pids: readonly number[],
	milliseconds: number,
	meanwhile: () => Promise<void> = async () => undefined,
): Promise<void> {
	for (const pid of pids) {
		process.kill(pid, 'SIGSTOP');
	}

	try {
		/* The signal takes effect when the process would run next. */
		while (!pids.every(isStopped)) {
			await delay(10);
		}

		const over = delay(milliseconds);
		await meanwhile();
		await over;
	} finally {
		for (const pid of pids) {
			process.kill(pid, 'SIGCONT');
		}
	}
}

function isStopped(pid: number): boolean {
	return /^State:\tT/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}
