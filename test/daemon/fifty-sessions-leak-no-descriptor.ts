/* One leaked descriptor per session is noticed only after a day. */
import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import {Daemon, type Program} from '../helpers/daemon.ts';
import {echoes, endSession, openFiles, Service} from '../helpers/master.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/** The number of open descriptors of a process, by kind. */
function kinds(pid: number): Readonly<Record<string, number>> {
	const all = Object.groupBy(openFiles(pid), name => name.replace(/:.*/, ''));
	return Object.fromEntries(Object.entries(all).map(([kind, list = []]) => [kind, list.length]));
}

const leaksNone = test.macro<[which: Program]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		const started = service.start('-o', 'ipc_idle=1s');
		const serve = async (): Promise<void> => {
			const session = await service.session(t, port);
			t.true(await echoes(session));
			await endSession(session);
		};

		await serve();
		/* The connection to tlsmgr(8) is closed when it is idle. */
		await delay(3000);
		const {worker} = started;
		const first = kinds(worker);
		for (let session = 1; session < 50; session++) {
			await serve();
		}

		/* The number may be smaller: connections to tlsmgr(8) are opened and closed on demand. */
		const more = () => Object.entries(kinds(worker)).filter(([kind, count]) => count > (first[kind] ?? 0));
		await daemon.sandbox.waitFor(() => more().length === 0);
		t.deepEqual(more(), [], JSON.stringify(first));
		t.is(started.worker, worker);
	},
	title(_, which) {
		return `${which}: after 50 sessions a process has no more open descriptors than after the first`;
	},
});

test(leaksNone, 'ours');
test(leaksNone, 'stock');
