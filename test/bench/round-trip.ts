/*
 * Round trips of one byte in four busy sessions, alone and during a storm of handshakes
 * by other clients. The storm uses a separate client process and a separate server, so
 * that both loads share only the program.
 */
import {fork} from 'node:child_process';
import {join} from 'node:path';
import {establish, roundTrips, sendCommand} from './lib/driver.ts';
import {interleaved, type Measure, type Operation, quantile} from './lib/measure.ts';
import type {Peer} from './lib/peer.ts';
import {type Service, startBoth} from './lib/rig.ts';

const SESSIONS = 4;
const SIZE = 4000;
const STORM = 64;

async function timesOf(service: Service, peer: Peer, count: number): Promise<readonly number[]> {
	const sessions = await establish(service.target(peer), {count: SESSIONS, concurrency: SESSIONS});
	try {
		for (const session of sessions) {
			sendCommand(session, 'E');
		}

		await roundTrips(sessions, 100);
		return await roundTrips(sessions, count);
	} finally {
		for (const session of sessions) {
			session.close();
		}
	}
}

/* Starts a storm of handshakes. Disposal ends it. */
function startStorm(service: Service, peer: Peer): Disposable {
	const child = fork(join(import.meta.dirname, 'lib', 'storm-process.ts'), [], {
		execArgv: [],
		serialization: 'advanced',
		stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
	});
	child.send({target: service.target(peer), concurrency: STORM});
	return {
		[Symbol.dispose]() {
			child.kill('SIGKILL');
		},
	};
}

export const roundTrip: Operation = {
	name: 'round-trip',
	async run({authority, samples, scale, logProgress}) {
		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority);
		const [echo, other] = [
			stack.use(await authority.peer('ecdsa')),
			stack.use(await authority.peer('ecdsa')),
		];
		const subjects = services.map(service => [service.program, service] as const);
		const count = Math.round(SIZE * scale);
		for (const service of services) {
			await service.warmUp(service.target(other), {count: 600, concurrency: 16});
			await timesOf(service, echo, count);
		}

		logProgress('round trips');
		const measures: Measure[] = [
			{
				name: `round trip of one byte, ${SESSIONS} busy sessions, median`,
				unit: 'ms',
				goal: {of: 'ratio', bound: 'at most', limit: 1, target: 0.9},
				samples: await interleaved(samples, subjects, async service =>
					quantile(await timesOf(service, echo, count), 0.5),
				),
			},
		];
		logProgress('round trips in a storm of handshakes');
		const medians: Record<string, number[]> = {stock: [], ours: []};
		measures.push({
			name: `round trip of one byte during handshakes of ${STORM} clients, 99th percentile`,
			unit: 'ms',
			goal: {of: 'ratio', bound: 'at most', limit: 0.5, target: 0.25},
			samples: await interleaved(samples, subjects, async service => {
				const sessions = await establish(service.target(echo), {count: SESSIONS, concurrency: SESSIONS});
				using stormStack = new DisposableStack();
				stormStack.use(startStorm(service, other));
				await new Promise(resolve => setTimeout(resolve, 500));
				for (const session of sessions) {
					sendCommand(session, 'E');
				}

				const times = await roundTrips(sessions, Math.max(100, Math.round(count / 10)));
				stormStack.dispose();
				for (const session of sessions) {
					session.close();
				}

				medians[service.program]?.push(quantile(times, 0.5));
				return quantile(times, 0.99);
			}),
		});
		measures.push({
			name: `the same, median`,
			unit: 'ms',
			samples: medians,
		});
		return measures;
	},
};
