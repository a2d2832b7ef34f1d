/*
 * From the pair of reports master(8) learns that the program works. A report before
 * the first connection is accepted has it start one process after the other; one
 * with another process id, or of another generation, it ignores.
 */
import test from 'ava';
import {Daemon, type Which} from '../helpers/daemon.ts';
import {finish, Service, speaks} from '../helpers/master.ts';
import {echoPeer} from '../helpers/peer.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

const reports = test.macro<[which: Which]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		const started = service.start();
		/* Somebody waits from the beginning, as whoever made master(8) start the process. */
		const first = await service.greeted(t);
		const others = [await service.session(t, port), await service.session(t, port)];
		for (const client of others) {
			t.true(await speaks(client));
			await finish(client);
		}

		await finish(first);
		/* Stock says it again with each connection. Ours may be busy meanwhile, on a busy machine. */
		const [least, most] = which === 'stock' ? [6, 6] : [2, 20];
		t.true(
			await daemon.sandbox.waitFor(
				() => started.reports.length >= least && started.reports.at(-1)?.state === 'available',
			),
		);
		t.true(started.reports.length <= most, `${started.reports.length} reports`);
		t.deepEqual(
			started.reports,
			started.reports.map((_, index) => ({
				pid: started.pid,
				generation: started.generation,
				state: index % 2 === 0 ? 'taken' : 'available',
			})),
		);
		t.true(started.lives);
	},
	title(_, which) {
		return `${which === 'ours' ? 'a process reports' : 'stock reports'} itself taken, then available, under the pid and the generation that master(8) knows`;
	},
});

test(reports, 'ours');
test(reports, 'stock');

test('a process to which nobody comes reports nothing', async t => {
	for (const which of ['ours', 'stock'] as const) {
		const started = new Service(t, daemon, which).start('-o', 'max_idle=1s');
		t.is(await started.end(), 0);
		t.deepEqual(started.reports, []);
	}
});
