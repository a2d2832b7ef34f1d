/*
 * CPU time of resumed handshakes with TLS 1.3 at level secure: like handshake.ts, with
 * stored sessions. The server counts resumptions. A client that closes the connection
 * right after the handshake does so before the server's next tickets have arrived, so
 * the following client has to look up a session in tlsmgr(8). A client that delivers
 * mail receives the tickets.
 */
import {exchanges, handshakes} from './lib/driver.ts';
import {type Goal, interleaved, type Measure, type Operation} from './lib/measure.ts';
import {startBoth} from './lib/rig.ts';

const SIZE = 600;

export const resumed: Operation = {
	name: 'resumed',
	async run({authority, samples, scale, logProgress}) {
		await using stack = new AsyncDisposableStack();
		const services = await startBoth(stack, authority, {resume: true});
		logProgress('resumed handshakes');
		const load = {count: Math.round(SIZE * scale), concurrency: 1};
		const subjects = await Promise.all(
			services.map(async service => ({service, peer: stack.use(await authority.peer('ecdsa'))})),
		);
		for (const {service, peer} of subjects) {
			await service.warmUp(service.target(peer), {count: 1500, concurrency: 1});
		}

		const cpuOf = async (
			work: typeof handshakes | typeof exchanges,
		): Promise<Pick<Measure, 'samples' | 'note'>> => {
			const before = await Promise.all(subjects.map(async ({peer}) => await peer.counts()));
			const figures = await interleaved(
				samples,
				subjects.map(subject => [subject.service.program, subject] as const),
				async ({service, peer}) =>
					((await service.cpuOf(() => work(service.target(peer), load))) / load.count) * 1000,
			);
			const shares = await Promise.all(
				subjects.map(async ({service, peer}, index) => {
					const {handshakes: all, resumptions} = await peer.counts();
					const share =
						(resumptions - (before[index]?.resumptions ?? 0)) / (all - (before[index]?.handshakes ?? 0));
					return `${service.program} resumed ${Math.round(share * 100)} %`;
				}),
			);
			return {samples: figures, note: shares.join(', ')};
		};
		const goal: Goal = {of: 'ratio', bound: 'at most', limit: 0.7, target: 0.5};
		return [
			{
				name: 'CPU per resumed handshake, TLS 1.3, one client after another',
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
