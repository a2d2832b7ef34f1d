/*
 * daemon/handshakes per second, both cores, every limit at its default: server and
 * client run on the same cores, and take their part of them from both programs alike.
 */
import {availableParallelism} from 'node:os';
import {handshakes} from './lib/driver.ts';
import {interleaved, type Operation} from './lib/measure.ts';
import {startBoth} from './lib/rig.ts';

const SIZE = 1500;
const AT_ONCE = 64;

export const throughput: Operation = {
	name: 'throughput',
	async run({authority, samples, scale, say}) {
		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority, {
			defaults: true,
			processLimit: Math.max(2, availableParallelism()),
		});
		say('handshakes per second');
		const peer = stack.use(await authority.peer('ecdsa'));
		const load = {count: Math.round(SIZE * scale), atOnce: AT_ONCE};
		for (const service of services) {
			await service.warmUp(service.target(peer), {count: 200, atOnce: 16});
		}

		return [
			{
				name: `handshakes per second, ${AT_ONCE} clients, all cores, defaults of both`,
				unit: '1/s',
				goal: {of: 'ratio', sense: 'at least', must: 1.5, beyond: 2},
				samples: await interleaved(
					samples,
					services.map(service => [service.which, service] as const),
					async service => load.count / (await handshakes(service.target(peer), load)),
				),
				note: 'the server and the clients use the same cores',
			},
		];
	},
};
