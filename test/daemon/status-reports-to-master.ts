/*
 * From the reports "taken" and "available" master(8) knows that the program works. After a
 * report before the first connection it would start one process after the other. It ignores
 * a report with another process ID or generation.
 */
import test from 'ava';
import {Daemon, type Program} from '../helpers/daemon.ts';
import {echoes, endSession, Service} from '../helpers/master.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

const reports = test.macro<[which: Program]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		const started = service.start();
		/* One client is connected from the start, like the client that causes master(8) to start a process. */
		const first = await service.greeted(t);
		const others = [await service.session(t, port), await service.session(t, port)];
		for (const client of others) {
			t.true(await echoes(client));
			await endSession(client);
		}

		await endSession(first);
		/* Stock reports for each connection. The program under test may report more often on a busy machine. */
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
		return `${which === 'ours' ? 'a process reports' : 'stock reports'} itself taken, then available, with the process ID and the generation of master(8)`;
	},
});

test(reports, 'ours');
test(reports, 'stock');

test('a process without a client reports nothing', async t => {
	for (const which of ['ours', 'stock'] as const) {
		const started = new Service(t, daemon, which).start('-o', 'max_idle=1s');
		t.is(await started.end(), 0);
		t.deepEqual(started.reports, []);
	}
});
