/*
 * Handshakes per second on all cores, with default limits. Servers and clients run on
 * the same cores and use most of the CPU time, so the first figure depends more on them
 * than on the programs. The second figure is an estimate for servers and clients on
 * other machines: all cores, divided by the CPU time of the instance per handshake,
 * including processes that start and end meanwhile.
 */
import {availableParallelism} from 'node:os';
import {setTimeout as sleep} from 'node:timers/promises';
import {Account} from './lib/account.ts';
import {handshakes} from './lib/driver.ts';
import {type Goal, interleaved, type Operation} from './lib/measure.ts';
import {startBoth} from './lib/rig.ts';

const SIZE = 1500;
const CONCURRENCY = 64;

export const throughput: Operation = {
	name: 'throughput',
	async run({authority, samples, scale, logProgress}) {
		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority, {
			defaults: true,
			processLimit: Math.max(2, availableParallelism()),
		});
		logProgress('handshakes per second');
		const peer = stack.use(await authority.peer('ecdsa'));
		const load = {count: Math.round(SIZE * scale), concurrency: CONCURRENCY};
		for (const service of services) {
			await service.warmUp(service.target(peer), {count: 200, concurrency: 16});
		}

		const cores = availableParallelism();
		const alone: Record<string, number[]> = Object.fromEntries(services.map(({program}) => [program, []]));
		const together = await interleaved(
			samples,
			services.map(service => [service.program, service] as const),
			async service => {
				const account = new Account(service.daemon.sandbox);
				const seconds = await handshakes(service.target(peer), load);
				await sleep(150);
				alone[service.program]?.push((load.count * cores) / account.usage().total);
				return load.count / seconds;
			},
		);
		const goal: Goal = {of: 'ratio', bound: 'at least', limit: 1.5, target: 2};
		return [
			{
				name: `handshakes per second, ${CONCURRENCY} clients, all cores, defaults of both`,
				unit: '1/s',
				goal,
				samples: together,
				note: 'the server and the clients use the same cores',
			},
			{
				name: 'the same, if server and clients were on other machines',
				unit: '1/s',
				goal,
				samples: alone,
				note: 'number of cores, divided by the CPU time per handshake of all processes of the instance, including those that have ended',
			},
		];
	},
};
