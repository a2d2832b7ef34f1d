/*
 * CPU time of the service per gigabyte, in one session, for each direction.
 */
import {establish, transfer} from './lib/driver.ts';
import {interleaved, type Measure, type Operation} from './lib/measure.ts';
import {startBoth} from './lib/rig.ts';

const SIZE = 400_000_000;
const GIGABYTE = 1_000_000_000;

const directions = [
	{direction: 'to-peer', name: 'plaintext to peer', limit: 0.45, target: 0.35},
	{direction: 'to-client', name: 'peer to plaintext', limit: 0.65, target: 0.5},
] as const;

export const bulk: Operation = {
	name: 'bulk',
	async run({authority, samples, scale, logProgress}) {
		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority);
		const peer = stack.use(await authority.peer('ecdsa'));
		const size = Math.round(SIZE * scale);
		const measures: Measure[] = [];
		for (const {direction, name, limit, target} of directions) {
			logProgress(`bulk, ${name}`);
			measures.push({
				name: `CPU per GB, ${name}`,
				unit: 's',
				goal: {of: 'ratio', bound: 'at most', limit, target},
				samples: await interleaved(
					samples,
					services.map(service => [service.program, service] as const),
					async service => {
						const [session] = await establish(service.target(peer), {count: 1, concurrency: 1});
						if (session === undefined) {
							throw new Error('no session');
						}

						const cpu = await service.cpuOf(() => transfer(session, direction, size));
						session.close();
						return (cpu / size) * GIGABYTE;
					},
				),
			});
		}

		return measures;
	},
};
