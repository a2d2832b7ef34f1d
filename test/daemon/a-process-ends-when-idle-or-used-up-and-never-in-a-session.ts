/*
 * max_idle and max_use have processes end, so that others read the configuration
 * anew. Neither is a reason to end a session.
 */
import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import {Daemon, type Which} from '../helpers/daemon.ts';
import {finish, Service, speaks} from '../helpers/master.ts';
import {echoPeer} from '../helpers/peer.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

const idle = test.macro<[which: Which]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		/* Somebody waits already: on a busy machine a second is soon over. */
		const first = await daemon.connect(service.name);
		const started = service.start('-o', 'max_idle=1s');
		const session = await service.session(t, port);
		/* Another that ends meanwhile: what counts is that one is left. */
		await finish(first);
		await delay(2500);
		t.true(started.lives);
		t.true(await speaks(session));
		await finish(session);
		t.is(await started.end(), 0);
		t.true(await started.gone());
	},
	title(_, which) {
		return `${which}: max_idle ends a process without sessions with status 0, and none with a session`;
	},
});

test(idle, 'ours');
test(idle, 'stock');

test('a session ends a time without one, and max_idle begins anew after it', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.start('-o', 'max_idle=6s');
	for (let round = 0; round < 4; round++) {
		await finish(await service.greeted(t));
		await delay(2000);
		t.true(started.lives, `after ${round + 1} sessions`);
	}

	t.is(await started.end(), 0);
});

const used = test.macro<[which: Which]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		const started = service.start('-m', '3');
		for (let session = 0; session < 2; session++) {
			await finish(await service.session(t, port));
		}

		const last = await service.session(t, port);
		/* Beyond max_use the process goes on to accept until it has nobody left. */
		const beyond = await service.session(t, port);
		await finish(await service.session(t, port));
		t.true(await speaks(beyond));
		await finish(beyond);
		t.true(await speaks(last));
		t.true(started.lives);
		await finish(last);
		t.is(await started.end(), 0);
		t.true(await started.gone());
		t.true(started.reports.every(({pid}) => pid === started.pid));
	},
	title(_, which) {
		const when = which === 'ours' ? 'soon after its last session' : 'with its last session';
		return `${which}: max_use ends a process with status 0 ${when}`;
	},
});

test(used, 'ours');
test(used, 'stock');

const retires = test.macro<[which: Which]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		const started = service.start('-r', '5');
		const session = await service.session(t, port);
		t.is(await started.end(), 0);
		t.true(await speaks(session));
		await finish(session);
		t.true(await started.gone());
	},
	title(_, which) {
		return `${which}: retirement ends the process that master(8) knows, and no session`;
	},
});

test(retires, 'ours');
test(retires, 'stock');
