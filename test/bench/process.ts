/*
 * daemon/processes: what an empty one has for itself, what each further one adds,
 * and how long a client waits when there is none.
 */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {interleaved, type Measure, type Operation} from './lib/measure.ts';
import {memoryOf} from './lib/process.ts';
import {type Service, startBoth} from './lib/rig.ts';

const MEGABYTE = 1024 * 1024;
const FURTHER = 3;

/** Time after which an idle process has tidied up, in milliseconds. */
const SETTLED = 3500;

/* Copies of the service under other names: each has a process of its own. */
async function addCopies({daemon: {sandbox}}: Service): Promise<readonly string[]> {
	const path = join(sandbox.configDirectory, 'master.cf');
	const text = readFileSync(path, 'utf8');
	const line = /^tlsproxy\s+unix.*(?:\n\s+.*)*/m.exec(text)?.[0];
	if (line === undefined) {
		throw new Error('no service tlsproxy');
	}

	const names = Array.from({length: FURTHER}, (_, index) => `tlsproxy${index}`);
	writeFileSync(path, `${text}${names.map(name => `${line.replace('tlsproxy', name)}\n`).join('')}`);
	await sandbox.reload();
	return names;
}

/** Connects, and reads the greeting: how long that took, in milliseconds. */
async function greeting({daemon}: Service, name = 'tlsproxy'): Promise<number> {
	const started = performance.now();
	using client = await daemon.connect(name);
	await client.list();
	return performance.now() - started;
}

async function memory(service: Service): Promise<{readonly empty: number; readonly further: number}> {
	const names = await addCopies(service);
	await greeting(service);
	await sleep(SETTLED);
	const one = memoryOf(service.processes());
	for (const name of names) {
		await greeting(service, name);
	}

	await sleep(SETTLED);
	const all = memoryOf(service.processes());
	return {empty: one.private / MEGABYTE, further: (all.pss - one.pss) / FURTHER / MEGABYTE};
}

async function coldStart(service: Service): Promise<number> {
	const {sandbox} = service.daemon;
	await sandbox.waitFor(() => service.processes().length === 0);
	await sleep(300);
	return await greeting(service);
}

export const processes: Operation = {
	name: 'process',
	async run({authority, samples, say}) {
		const measures: Measure[] = [];
		{
			await using stack = new AsyncDisposableStack();
			say('empty processes');
			const empty: Record<string, number[]> = {};
			const further: Record<string, number[]> = {};
			for (const service of await startBoth(stack, authority)) {
				const figures = await memory(service);
				empty[service.which] = [figures.empty];
				further[service.which] = [figures.further];
			}

			measures.push(
				{
					name: 'empty process, private memory, with its supervisor',
					unit: 'MB',
					goal: {of: 'ours', sense: 'at most', must: 20, beyond: 14},
					samples: empty,
				},
				{
					name: 'each further process (PSS)',
					unit: 'MB',
					goal: {of: 'ours', sense: 'at most', must: 30, beyond: 22},
					samples: further,
				},
			);
		}

		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority, {main: {max_idle: '1s'}});
		say('first connections');
		/* postconf(1) waits for a main.cf that was changed just now. */
		await sleep(1500);
		measures.push({
			name: 'first connection after the process was gone, up to the greeting',
			unit: 'ms',
			goal: {of: 'ours', sense: 'at most', must: 150, beyond: 80},
			samples: await interleaved(
				samples,
				services.map(service => [service.which, service] as const),
				coldStart,
			),
			note: 'wall clock',
		});
		return measures;
	},
};
