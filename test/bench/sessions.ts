/*
 * Memory of all processes of the service with many idle sessions, and the cost of a
 * hand-off and a round trip meanwhile.
 */
import {setTimeout as sleep} from 'node:timers/promises';
import {establish, type HandOff, handshakes, roundTrips, sendCommand} from './lib/driver.ts';
import {type Measure, median, type Operation, quantile} from './lib/measure.ts';
import type {Peer} from './lib/peer.ts';
import {memoryOf} from './lib/process.ts';
import {type Service, startBoth} from './lib/rig.ts';

const STEPS = [10, 100, 1000, 5000] as const;
const MEGABYTE = 1024 * 1024;

/* Figures of one program, one for each number of sessions. */
interface Growth {
	readonly memory: readonly number[];
	readonly handshake: readonly number[];
	readonly trip: readonly number[];
	/** KiB per session. */
	readonly perSession: number;
}

async function growthOf(
	service: Service,
	peer: Peer,
	steps: readonly number[],
	scale: number,
): Promise<Growth> {
	const target = service.target(peer);
	const idle: HandOff[] = [];
	const memory: number[] = [];
	const handshake: number[] = [];
	const trip: number[] = [];
	for (const step of steps) {
		idle.push(...(await establish(target, {count: step - idle.length, concurrency: 32})));
		const load = {count: Math.round(300 * scale), concurrency: 16};
		const costs: number[] = [];
		for (let sample = 0; sample < 3; sample++) {
			costs.push(((await service.cpuOf(() => handshakes(target, load))) / load.count) * 1000);
		}

		handshake.push(median(costs));
		const busy = await establish(target, {count: 4, concurrency: 4});
		for (const session of busy) {
			sendCommand(session, 'E');
		}

		trip.push(quantile(await roundTrips(busy, Math.round(2000 * scale)), 0.5));
		for (const session of busy) {
			session.close();
		}

		/* Time to collect garbage, which should not count. The process cannot be made to collect it. */
		await sleep(1000);
		memory.push(memoryOf(service.processes()).pss / MEGABYTE);
	}

	for (const session of idle) {
		session.close();
	}

	/* The other program is measured when this one has ended its sessions. */
	await sleep(3000);
	const [from, to] = [steps.indexOf(1000), steps.length - 1];
	const [more, sessions] = [(memory[to] ?? 0) - (memory[from] ?? 0), (steps[to] ?? 0) - (steps[from] ?? 0)];
	return {memory, handshake, trip, perSession: (more * 1024) / sessions};
}

export const sessions: Operation = {
	name: 'sessions',
	async run({authority, scale, logProgress}) {
		const steps = scale < 1 ? [10, 1000, 3000] : STEPS;
		const growths: Record<string, Growth> = {};
		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority);
		for (const service of services) {
			const peer = stack.use(await authority.peer('ecdsa'));
			logProgress(`idle sessions, ${service.program}`);
			await service.warmUp(service.target(peer));
			growths[service.program] = await growthOf(service, peer, steps, scale);
		}

		const by = (pick: (growth: Growth) => readonly number[]): Record<string, readonly number[]> =>
			Object.fromEntries(Object.entries(growths).map(([program, figures]) => [program, pick(figures)]));
		const last = steps.at(-1);
		return [
			{
				name: `memory of all processes (PSS), ${last} idle sessions`,
				unit: 'MB',
				goal: {of: 'ratio', bound: 'at most', limit: 0.5, target: 0.35},
				samples: by(({memory}) => memory.slice(-1)),
			},
			{
				name: `memory per further idle session, from 1000 to ${last}`,
				unit: 'KiB',
				goal: {of: 'ours', bound: 'at most', limit: 20, target: 12},
				samples: by(({perSession}) => [perSession]),
			},
			...(
				[
					['memory (PSS)', 'MB', ({memory}: Growth) => memory],
					['CPU per handshake', 'ms', ({handshake}: Growth) => handshake],
					['round trip, median', 'ms', ({trip}: Growth) => trip],
				] as const
			).map(
				([name, unit, pick]): Measure => ({
					name: `growth: ${name} with ${steps.join(', ')} idle sessions`,
					unit,
					samples: by(pick),
					note: 'one figure per number of sessions',
				}),
			),
		];
	},
};
