/*
 * daemon/handshake TLS 1.3 full, level secure: CPU time of all processes of the
 * service per hand-off, from accept to close.
 */
import {handshakes} from './lib/driver.ts';
import {interleaved, type Measure, type Operation} from './lib/measure.ts';
import {type PeerKind, startBoth} from './lib/rig.ts';

const SIZE = 600;
const AT_ONCE = 16;
/** By then V8 has compiled what is used often, and stock has the processes that it wants. */
const WARM_UP = 2000;

export const handshake: Operation = {
	name: 'handshake',
	async run({authority, samples, scale, say}) {
		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority);
		const measures: Measure[] = [];
		for (const kind of ['ecdsa', 'rsa'] satisfies PeerKind[]) {
			say(`full handshakes, ${kind}`);
			const peer = stack.use(await authority.peer(kind));
			const load = {count: Math.round(SIZE * scale), atOnce: AT_ONCE};
			for (const service of services) {
				await service.warmUp(service.target(peer), {count: WARM_UP, atOnce: AT_ONCE});
			}

			measures.push({
				name: `CPU per full handshake, TLS 1.3, ${kind.toUpperCase()} peer`,
				unit: 'ms',
				goal: {of: 'ratio', sense: 'at most', must: 0.8, beyond: 0.7},
				samples: await interleaved(
					samples,
					services.map(service => [service.which, service] as const),
					async service =>
						((await service.cpuOf(() => handshakes(service.target(peer), load))) / load.count) * 1000,
				),
			});
		}

		return measures;
	},
};
