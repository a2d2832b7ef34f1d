/*
 * pump/round trip of one byte, four busy sessions: by themselves, and while other
 * clients storm with handshakes. The storm comes from a process of its own, against
 * a server of its own, so that only the daemon is shared.
 */
import {fork} from 'node:child_process';
import {join} from 'node:path';
import {establish, options, roundTrips} from './lib/driver.ts';
import {interleaved, type Measure, type Operation, quantile} from './lib/measure.ts';
import type {Peer} from './lib/peer.ts';
import {type Service, startBoth} from './lib/rig.ts';

const SESSIONS = 4;
const SIZE = 4000;
const STORM = 64;

async function timesOf(service: Service, peer: Peer, count: number): Promise<readonly number[]> {
	const sessions = await establish(service.target(peer), {count: SESSIONS, atOnce: SESSIONS});
	try {
		for (const session of sessions) {
			options(session, 'E');
		}

		await roundTrips(sessions, 100);
		return await roundTrips(sessions, count);
	} finally {
		for (const session of sessions) {
			session.close();
		}
	}
}

/* Storms until it is disposed. */
function storm(service: Service, peer: Peer): Disposable {
	const child = fork(join(import.meta.dirname, 'lib', 'storm-process.ts'), [], {
		execArgv: [],
		serialization: 'advanced',
		stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
	});
	child.send({target: service.target(peer), atOnce: STORM});
	return {
		[Symbol.dispose]() {
			child.kill('SIGKILL');
		},
	};
}

export const roundTrip: Operation = {
	name: 'round-trip',
	async run({authority, samples, scale, say}) {
		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority);
		const [echo, other] = [
			stack.use(await authority.peer('ecdsa')),
			stack.use(await authority.peer('ecdsa')),
		];
		const subjects = services.map(service => [service.which, service] as const);
		const count = Math.round(SIZE * scale);
		for (const service of services) {
			await service.warmUp(service.target(other), {count: 600, atOnce: 16});
			await timesOf(service, echo, count);
		}

		say('round trips');
		const measures: Measure[] = [
			{
				name: `round trip of one byte, ${SESSIONS} busy sessions, median`,
				unit: 'ms',
				goal: {of: 'ratio', sense: 'at most', must: 1, beyond: 0.9},
				samples: await interleaved(samples, subjects, async service =>
					quantile(await timesOf(service, echo, count), 0.5),
				),
			},
		];
		say('round trips in a storm of handshakes');
		const medians: Record<string, number[]> = {stock: [], ours: []};
		measures.push({
			name: `round trip of one byte while ${STORM} clients storm with handshakes, 99th percentile`,
			unit: 'ms',
			goal: {of: 'ratio', sense: 'at most', must: 0.5, beyond: 0.25},
			samples: await interleaved(samples, subjects, async service => {
				const sessions = await establish(service.target(echo), {count: SESSIONS, atOnce: SESSIONS});
				using stormy = new DisposableStack();
				stormy.use(storm(service, other));
				await new Promise(resolve => setTimeout(resolve, 500));
				for (const session of sessions) {
					options(session, 'E');
				}

				const times = await roundTrips(sessions, Math.max(100, Math.round(count / 10)));
				stormy.dispose();
				for (const session of sessions) {
					session.close();
				}

				medians[service.which]?.push(quantile(times, 0.5));
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
