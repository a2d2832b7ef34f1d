/*
 * From the pair of reports master(8) learns that the program works. A report before
 * the first connection is accepted has it start one process after the other; one
 * with another process id, or of another generation, it ignores.
 */
import test from 'ava';
import {Daemon, type Which} from '../helpers/daemon.ts';
import {finish, Service, speaks} from '../helpers/master.ts';
import {CertificateStore} from '../helpers/openssl.ts';
import {tlsPeer} from '../helpers/peer.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('peer', {});
const good = {key: store.read('peer.key'), cert: store.read('peer.cert')};

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

const reports = test.macro<[which: Which, pairs: (sessions: number) => number]>({
	async exec(t, which, pairs) {
		const port = await tlsPeer(t, good, socket => socket.pipe(socket));
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
		const expected = Array.from({length: pairs(3)}, () =>
			(['taken', 'available'] as const).map(state => ({
				pid: started.pid,
				generation: started.generation,
				state,
			})),
		).flat();
		t.true(await daemon.sandbox.waitFor(() => started.reports.length >= expected.length));
		t.deepEqual(started.reports, expected);
		t.true(started.lives);
	},
	title(_, which) {
		return `${which === 'ours' ? 'a process reports' : 'stock reports'} itself taken, then available, under the pid and the generation that master(8) knows`;
	},
});

/* Stock says it again with each connection, and no more by that. */
test(reports, 'ours', () => 1);
test(reports, 'stock', sessions => sessions);

test('a process to which nobody comes reports nothing', async t => {
	for (const which of ['ours', 'stock'] as const) {
		const started = new Service(t, daemon, which).start('-o', 'max_idle=1s');
		t.is(await started.end(), 0);
		t.deepEqual(started.reports, []);
	}
});
