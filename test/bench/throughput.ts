/*
 * daemon/handshakes per second, all cores, every limit at its default. Servers and
 * clients run on the same cores here, and are most of what these do: the first figure
 * says more about them than about the programs. The second leaves out what they take,
 * as they would be on other machines: what the cores would do if all of them were for
 * the service, with the processes that it starts and ends meanwhile.
 */
import {availableParallelism} from 'node:os';
import {setTimeout as sleep} from 'node:timers/promises';
import {Account} from './lib/account.ts';
import {handshakes} from './lib/driver.ts';
import {type Goal, interleaved, type Operation} from './lib/measure.ts';
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

		const cores = availableParallelism();
		const alone: Record<string, number[]> = Object.fromEntries(services.map(({which}) => [which, []]));
		const together = await interleaved(
			samples,
			services.map(service => [service.which, service] as const),
			async service => {
				const account = new Account(service.daemon.sandbox);
				const seconds = await handshakes(service.target(peer), load);
				await sleep(150);
				alone[service.which]?.push((load.count * cores) / account.used().total);
				return load.count / seconds;
			},
		);
		const goal: Goal = {of: 'ratio', sense: 'at least', must: 1.5, beyond: 2};
		return [
			{
				name: `handshakes per second, ${AT_ONCE} clients, all cores, defaults of both`,
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
				note: 'all cores, divided by the CPU time that all processes of the instance need for one, those that end included',
			},
		];
	},
};
