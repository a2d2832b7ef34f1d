/*
 * daemon/handshake TLS 1.3 resumed, level secure: as handshake.ts, with sessions
 * kept. That they were resumed is what the server says. A client that leaves as soon as
 * it is served leaves before the server's next tickets have come, and has its successors
 * ask tlsmgr(8); one that delivers mail does not.
 */
import {exchanges, handshakes} from './lib/driver.ts';
import {type Goal, interleaved, type Measure, type Operation} from './lib/measure.ts';
import {startBoth} from './lib/rig.ts';

const SIZE = 600;

export const resumed: Operation = {
	name: 'resumed',
	async run({authority, samples, scale, say}) {
		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority, {resume: true});
		say('resumed handshakes');
		const load = {count: Math.round(SIZE * scale), atOnce: 1};
		const subjects = await Promise.all(
			services.map(async service => ({service, peer: stack.use(await authority.peer('ecdsa'))})),
		);
		for (const {service, peer} of subjects) {
			await service.warmUp(service.target(peer), {count: 1500, atOnce: 1});
		}

		const cpuOf = async (
			work: typeof handshakes | typeof exchanges,
		): Promise<Pick<Measure, 'samples' | 'note'>> => {
			const before = await Promise.all(subjects.map(async ({peer}) => await peer.counts()));
			const figures = await interleaved(
				samples,
				subjects.map(subject => [subject.service.which, subject] as const),
				async ({service, peer}) =>
					((await service.cpuOf(() => work(service.target(peer), load))) / load.count) * 1000,
			);
			const shares = await Promise.all(
				subjects.map(async ({service, peer}, index) => {
					const {handshakes: all, resumptions} = await peer.counts();
					const share =
						(resumptions - (before[index]?.resumptions ?? 0)) / (all - (before[index]?.handshakes ?? 0));
					return `${service.which} resumed ${Math.round(share * 100)} %`;
				}),
			);
			return {samples: figures, note: shares.join(', ')};
		};
		const goal: Goal = {of: 'ratio', sense: 'at most', must: 0.7, beyond: 0.5};
		return [
			{
				name: 'CPU per resumed handshake, TLS 1.3, one client after the other',
				unit: 'ms',
				goal,
				...(await cpuOf(handshakes)),
			},
			{
				name: 'the same, with a byte that goes to the server and back',
				unit: 'ms',
				goal,
				...(await cpuOf(exchanges)),
			},
		];
	},
};
