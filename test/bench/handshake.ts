/*
 * CPU time of full handshakes with TLS 1.3 at level secure: all processes of the
 * service, per hand-off, from accept to close.
 */
import {handshakes} from './lib/driver.ts';
import {interleaved, type Measure, type Operation} from './lib/measure.ts';
import {type PeerKind, startBoth} from './lib/rig.ts';

const SIZE = 600;
const CONCURRENCY = 16;
/** Handshakes after which V8 has compiled functions that are called often, and stock has started its processes. */
const WARM_UP = 2000;

export const handshake: Operation = {
	name: 'handshake',
	async run({authority, samples, scale, logProgress}) {
		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority);
		const measures: Measure[] = [];
		for (const kind of ['ecdsa', 'rsa'] satisfies PeerKind[]) {
			logProgress(`full handshakes, ${kind}`);
			const peer = stack.use(await authority.peer(kind));
			const load = {count: Math.round(SIZE * scale), concurrency: CONCURRENCY};
			for (const service of services) {
				await service.warmUp(service.target(peer), {count: WARM_UP, concurrency: CONCURRENCY});
			}

			measures.push({
				name: `CPU per full handshake, TLS 1.3, ${kind.toUpperCase()} peer`,
				unit: 'ms',
				goal: {of: 'ratio', bound: 'at most', limit: 0.8, target: 0.7},
				samples: await interleaved(
					samples,
					services.map(service => [service.program, service] as const),
					async service =>
						((await service.cpuOf(() => handshakes(service.target(peer), load))) / load.count) * 1000,
				),
			});
		}

		return measures;
	},
};
