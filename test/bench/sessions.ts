/*
 * daemon/idle sessions: memory of all processes of the service, and what a hand-off
 * and a round trip cost with so many sessions open.
 */
import {setTimeout as sleep} from 'node:timers/promises';
import {establish, type HandOff, handshakes, options, roundTrips} from './lib/driver.ts';
import {type Measure, median, type Operation, quantile} from './lib/measure.ts';
import type {Peer} from './lib/peer.ts';
import {memoryOf} from './lib/process.ts';
import {type Service, startBoth} from './lib/rig.ts';

const STEPS = [10, 100, 1000, 5000] as const;
const MEGABYTE = 1024 * 1024;

/* What one program does with ever more sessions. */
interface Course {
	readonly memory: readonly number[];
	readonly handshake: readonly number[];
	readonly trip: readonly number[];
	readonly perSession: number;
}

async function course(
	service: Service,
	peer: Peer,
	steps: readonly number[],
	scale: number,
): Promise<Course> {
	const target = service.target(peer);
	const held: HandOff[] = [];
	const memory: number[] = [];
	const handshake: number[] = [];
	const trip: number[] = [];
	for (const step of steps) {
		held.push(...(await establish(target, {count: step - held.length, atOnce: 32})));
		const load = {count: Math.round(300 * scale), atOnce: 16};
		const costs: number[] = [];
		for (let sample = 0; sample < 3; sample++) {
			costs.push(((await service.cpuOf(() => handshakes(target, load))) / load.count) * 1000);
		}

		handshake.push(median(costs));
		const busy = await establish(target, {count: 4, atOnce: 4});
		for (const session of busy) {
			options(session, 'E');
		}

		trip.push(quantile(await roundTrips(busy, Math.round(2000 * scale)), 0.5));
		for (const session of busy) {
			session.close();
		}

		/* Garbage is no use of memory, but nobody may tell the process to collect it. */
		await sleep(1000);
		memory.push(memoryOf(service.processes()).pss / MEGABYTE);
	}

	for (const session of held) {
		session.close();
	}

	/* The other program shall not be measured while this one is busy with the ends. */
	await sleep(3000);
	const [from, to] = [steps.indexOf(1000), steps.length - 1];
	const [more, sessions] = [(memory[to] ?? 0) - (memory[from] ?? 0), (steps[to] ?? 0) - (steps[from] ?? 0)];
	return {memory, handshake, trip, perSession: (more * 1024) / sessions};
}

export const sessions: Operation = {
	name: 'sessions',
	async run({authority, scale, say}) {
		const steps = scale < 1 ? [10, 1000, 3000] : STEPS;
		const courses: Record<string, Course> = {};
		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority);
		for (const service of services) {
			const peer = stack.use(await authority.peer('ecdsa'));
			say(`idle sessions, ${service.which}`);
			await service.warmUp(service.target(peer));
			courses[service.which] = await course(service, peer, steps, scale);
		}

		const of = (pick: (course: Course) => readonly number[]): Record<string, readonly number[]> =>
			Object.fromEntries(Object.entries(courses).map(([which, figures]) => [which, pick(figures)]));
		const last = steps.at(-1);
		return [
			{
				name: `memory of all processes (PSS), ${last} idle sessions`,
				unit: 'MB',
				goal: {of: 'ratio', sense: 'at most', must: 0.5, beyond: 0.35},
				samples: of(({memory}) => memory.slice(-1)),
			},
			{
				name: `memory per further idle session, from 1000 to ${last}`,
				unit: 'KiB',
				goal: {of: 'ours', sense: 'at most', must: 20, beyond: 12},
				samples: of(({perSession}) => [perSession]),
			},
			...(
				[
					['memory (PSS)', 'MB', ({memory}: Course) => memory],
					['CPU per handshake', 'ms', ({handshake}: Course) => handshake],
					['round trip, median', 'ms', ({trip}: Course) => trip],
				] as const
			).map(
				([name, unit, pick]): Measure => ({
					name: `growth: ${name} with ${steps.join(', ')} idle sessions`,
					unit,
					samples: of(pick),
					note: 'a figure per number of sessions, in this order',
				}),
			),
		];
	},
};
