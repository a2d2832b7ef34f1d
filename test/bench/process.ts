/*
 * Memory of an idle process, memory that each further process adds, and the time that
 * a client waits when no process runs.
 */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {interleaved, type Measure, type Operation} from './lib/measure.ts';
import {memoryOf} from './lib/process.ts';
import {type Service, startBoth} from './lib/rig.ts';

const MEGABYTE = 1024 * 1024;
const FURTHER_PROCESSES = 3;

/** Time after which an idle process has collected its garbage, in milliseconds. */
const SETTLE_TIME = 3500;

/* Adds copies of the service with other names. Each runs in a separate process. */
async function addCopies({daemon: {sandbox}}: Service): Promise<readonly string[]> {
	const path = join(sandbox.configDirectory, 'master.cf');
	const text = readFileSync(path, 'utf8');
	const line = /^tlsproxy\s+unix.*(?:\n\s+.*)*/m.exec(text)?.[0];
	if (line === undefined) {
		throw new Error('no service tlsproxy');
	}

	const names = Array.from({length: FURTHER_PROCESSES}, (_, index) => `tlsproxy${index}`);
	writeFileSync(path, `${text}${names.map(name => `${line.replace('tlsproxy', name)}\n`).join('')}`);
	await sandbox.reload();
	return names;
}

/** Connects and reads the greeting. Returns the time in milliseconds. */
async function greeting({daemon}: Service, name = 'tlsproxy'): Promise<number> {
	const started = performance.now();
	using client = await daemon.connect(name);
	await client.list();
	return performance.now() - started;
}

async function memory(service: Service): Promise<{readonly empty: number; readonly further: number}> {
	const names = await addCopies(service);
	await greeting(service);
	await sleep(SETTLE_TIME);
	const one = memoryOf(service.processes());
	for (const name of names) {
		await greeting(service, name);
	}

	await sleep(SETTLE_TIME);
	const all = memoryOf(service.processes());
	return {empty: one.private / MEGABYTE, further: (all.pss - one.pss) / FURTHER_PROCESSES / MEGABYTE};
}

async function coldStart(service: Service): Promise<number> {
	const {sandbox} = service.daemon;
	await sandbox.waitFor(() => service.processes().length === 0);
	await sleep(300);
	return await greeting(service);
}

export const processes: Operation = {
	name: 'process',
	async run({authority, samples, logProgress}) {
		const measures: Measure[] = [];
		{
			await using stack = new AsyncDisposableStack();
			logProgress('empty processes');
			const empty: Record<string, number[]> = {};
			const further: Record<string, number[]> = {};
			for (const service of await startBoth(stack, authority)) {
				const figures = await memory(service);
				empty[service.program] = [figures.empty];
				further[service.program] = [figures.further];
			}

			measures.push(
				{
					name: 'empty process, private memory, with its supervisor',
					unit: 'MB',
					goal: {of: 'ours', bound: 'at most', limit: 20, target: 14},
					samples: empty,
				},
				{
					name: 'each further process (PSS)',
					unit: 'MB',
					goal: {of: 'ours', bound: 'at most', limit: 30, target: 22},
					samples: further,
				},
			);
		}

		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority, {main: {max_idle: '1s'}});
		logProgress('first connections');
		/* postconf(1) waits until main.cf is older than a second. */
		await sleep(1500);
		measures.push({
			name: 'first connection without a running process, until the greeting',
			unit: 'ms',
			goal: {of: 'ours', bound: 'at most', limit: 150, target: 80},
			samples: await interleaved(
				samples,
				services.map(service => [service.program, service] as const),
				coldStart,
			),
			note: 'wall clock',
		});
		return measures;
	},
};
