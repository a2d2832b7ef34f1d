/*
 * A descriptor per session is nothing that anybody notices, for a day.
 */
import {readdirSync, readlinkSync} from 'node:fs';
import {setTimeout as delay} from 'node:timers/promises';
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

/** What a process has open, by kind. */
function kinds(pid: number): readonly string[] {
	return readdirSync(`/proc/${pid}/fd`)
		.map(fd => readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/:.*/, ''))
		.toSorted();
}

const leavesNone = test.macro<[which: Which]>({
	async exec(t, which) {
		const port = await tlsPeer(t, good, socket => socket.pipe(socket));
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

		await daemon.sandbox.waitFor(() => kinds(worker).length === first.length);
		t.deepEqual(kinds(worker), first);
		t.is(started.worker, worker);
	},
	title(_, which) {
		return `${which}: a process that has served 50 sessions has open what it had after the first`;
	},
});

test(leavesNone, 'ours');
test(leavesNone, 'stock');
