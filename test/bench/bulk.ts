/*
 * pump/bulk, one session, each way: CPU time of the service per gigabyte.
 */
import {establish, transfer} from './lib/driver.ts';
import {interleaved, type Measure, type Operation} from './lib/measure.ts';
import {startBoth} from './lib/rig.ts';

const SIZE = 400_000_000;
const GIGABYTE = 1_000_000_000;

const ways = [
	{way: 'to-peer', name: 'plaintext to peer', must: 0.45, beyond: 0.35},
	{way: 'to-client', name: 'peer to plaintext', must: 0.65, beyond: 0.5},
] as const;

export const bulk: Operation = {
	name: 'bulk',
	async run({authority, samples, scale, say}) {
		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority);
		const peer = stack.use(await authority.peer('ecdsa'));
		const size = Math.round(SIZE * scale);
		const measures: Measure[] = [];
		for (const {way, name, must, beyond} of ways) {
			say(`bulk, ${name}`);
			measures.push({
				name: `CPU per GB, ${name}`,
				unit: 's',
				goal: {of: 'ratio', sense: 'at most', must, beyond},
				samples: await interleaved(
					samples,
					services.map(service => [service.which, service] as const),
					async service => {
						const [session] = await establish(service.target(peer), {count: 1, atOnce: 1});
						if (session === undefined) {
							throw new Error('no session');
						}

						const cpu = await service.cpuOf(() => transfer(session, way, size));
						session.close();
						return (cpu / size) * GIGABYTE;
					},
				),
			});
		}

		return measures;
	},
};
