/*
 * 9,000 sessions in one process: all are established and transfer data.
 */
import {establish, roundTrips, sendCommand} from './lib/driver.ts';
import type {Operation} from './lib/measure.ts';
import {Service} from './lib/rig.ts';

const SIZE = 9000;

export const capacity: Operation = {
	name: 'capacity',
	async run({authority, scale, logProgress}) {
		await using stack = new AsyncDisposableStack();
		const service = stack.use(await Service.start('ours', authority));
		const peer = stack.use(await authority.peer('ecdsa'));
		const count = scale < 1 ? SIZE / 3 : SIZE;
		logProgress(`${count} sessions`);
		const sessions = await establish(service.target(peer), {count, concurrency: 32});
		for (const session of sessions) {
			sendCommand(session, 'E');
		}

		const times = await roundTrips(sessions, 1);
		const [pid, ...others] = service.daemon.sandbox.tlsproxyWorkers();
		if (pid === undefined || others.length > 0) {
			throw new Error('the service has not exactly one process');
		}

		for (const session of sessions) {
			session.close();
		}

		return [
			{
				name: `sessions in one process that transfer data, of ${count}`,
				unit: '',
				goal: {of: 'ours', bound: 'at least', limit: count},
				samples: {ours: [times.length]},
			},
		];
	},
};
