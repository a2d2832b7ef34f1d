/*
 * Measures the same program twice. The difference is the noise of all other figures.
 */
import {handshakes} from './lib/driver.ts';
import {interleaved, type Operation} from './lib/measure.ts';
import {Service} from './lib/rig.ts';

const SIZE = 600;

export const noise: Operation = {
	name: 'noise',
	async run({authority, samples, scale, logProgress}) {
		await using stack = new AsyncDisposableStack();
		const peer = stack.use(await authority.peer('ecdsa'));
		const [one, other] = [
			stack.use(await Service.start('ours', authority)),
			stack.use(await Service.start('ours', authority)),
		];
		logProgress('noise: the same program twice');
		for (const service of [one, other]) {
			await service.warmUp(service.target(peer));
		}

		const load = {count: Math.round(SIZE * scale), concurrency: 16};
		return [
			{
				name: 'noise: CPU per handshake of two instances of ours',
				unit: 'ms',
				samples: await interleaved(
					samples,
					[
						['stock', one],
						['ours', other],
					] as const,
					async service =>
						((await service.cpuOf(() => handshakes(service.target(peer), load))) / load.count) * 1000,
				),
				note: 'both columns are this program: the distance of the ratio from 1 is the noise of all ratios',
			},
		];
	},
};
