/*
 * A descriptor per session is nothing that anybody notices, for a day.
 */
import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import {Daemon, type Which} from '../helpers/daemon.ts';
import {finish, openFiles, Service, speaks} from '../helpers/master.ts';
import {echoPeer} from '../helpers/peer.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/** How much a process has open, by kind. */
function kinds(pid: number): Readonly<Record<string, number>> {
	const all = Object.groupBy(openFiles(pid), name => name.replace(/:.*/, ''));
	return Object.fromEntries(Object.entries(all).map(([kind, list = []]) => [kind, list.length]));
}

const leavesNone = test.macro<[which: Which]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		const started = service.start('-o', 'ipc_idle=1s');
		const serve = async (): Promise<void> => {
			const session = await service.session(t, port);
			t.true(await speaks(session));
			await finish(session);
		};

		await serve();
		/* The connection to tlsmgr(8) goes when it is idle. */
		await delay(3000);
		const {worker} = started;
		const first = kinds(worker);
		for (let session = 1; session < 50; session++) {
			await serve();
		}

		/* Fewer are none left behind: connections to tlsmgr(8) come and go. */
		const more = () => Object.entries(kinds(worker)).filter(([kind, count]) => count > (first[kind] ?? 0));
		await daemon.sandbox.waitFor(() => more().length === 0, 30_000);
		t.deepEqual(more(), [], JSON.stringify(first));
		t.is(started.worker, worker);
	},
	title(_, which) {
		return `${which}: a process that has served 50 sessions has no more open than after the first`;
	},
});

test(leavesNone, 'ours');
test(leavesNone, 'stock');
