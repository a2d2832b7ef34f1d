/*
 * daemon/9,000 sessions in one process: all are established and answer, and so does
 * one more.
 */
import {establish, options, roundTrips} from './lib/driver.ts';
import type {Operation} from './lib/measure.ts';
import {Service} from './lib/rig.ts';

const SIZE = 9000;

export const capacity: Operation = {
	name: 'capacity',
	async run({authority, scale, say}) {
		await using stack = new AsyncDisposableStack();
		const service = stack.use(await Service.start('ours', authority));
		const peer = stack.use(await authority.peer('ecdsa'));
		const count = scale < 1 ? SIZE / 3 : SIZE;
		say(`${count} sessions`);
		const held = await establish(service.target(peer), {count, atOnce: 32});
		for (const session of held) {
			options(session, 'E');
		}

		const times = await roundTrips(held, 1);
		const [pid, ...others] = service.daemon.sandbox.tlsproxyWorkers();
		if (pid === undefined || others.length > 0) {
			throw new Error('the sessions are not those of one process');
		}

		for (const session of held) {
			session.close();
		}

		return [
			{
				name: `sessions open in one process that answer, of ${count}`,
				unit: '',
				goal: {of: 'ours', sense: 'at least', must: count},
				samples: {ours: [times.length]},
			},
		];
	},
};
