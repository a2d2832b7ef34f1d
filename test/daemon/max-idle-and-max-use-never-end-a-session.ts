/*
 * max_idle and max_use end a process, so that its successor reads the configuration again.
 * They must not end a session.
 */
import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import {Daemon, type Program} from '../helpers/daemon.ts';
import {echoes, endSession, Service} from '../helpers/master.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

const idle = test.macro<[which: Program]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		/* A client is connected before the process starts: on a busy machine it would be idle for a second. */
		const first = await daemon.connect(service.name);
		const started = service.start('-o', 'max_idle=1s');
		const session = await service.session(t, port);
		/* One session remains when the other one ends. */
		await endSession(first);
		await delay(2500);
		t.true(started.lives);
		t.true(await echoes(session));
		await endSession(session);
		t.is(await started.end(), 0);
		t.true(await started.gone());
	},
	title(_, which) {
		return `${which}: max_idle ends a process without sessions with status 0, and no process with a session`;
	},
});

test(idle, 'ours');
test(idle, 'stock');

test('max_idle is counted from the end of the last session', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.start('-o', 'max_idle=12s');
	for (let round = 0; round < 4; round++) {
		await endSession(await service.greeted(t));
		await delay(4000);
		t.true(started.lives, `after ${round + 1} sessions`);
	}

	t.is(await started.end(), 0);
});

const used = test.macro<[which: Program]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		const started = service.start('-m', '3');
		for (let session = 0; session < 2; session++) {
			await endSession(await service.session(t, port));
		}

		const last = await service.session(t, port);
		/* After max_use sessions the process accepts clients until it has no session. */
		const beyond = await service.session(t, port);
		await endSession(await service.session(t, port));
		t.true(await echoes(beyond));
		await endSession(beyond);
		t.true(await echoes(last));
		t.true(started.lives);
		await endSession(last);
		t.is(await started.end(), 0);
		t.true(await started.gone());
		t.true(started.reports.every(({pid}) => pid === started.pid));
	},
	title(_, which) {
		const when = which === 'ours' ? 'soon after its last session' : 'at the end of its last session';
		return `${which}: max_use ends a process with status 0 ${when}`;
	},
});

test(used, 'ours');
test(used, 'stock');

const retires = test.macro<[which: Program]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		const started = service.start('-r', '5');
		const session = await service.session(t, port);
		t.is(await started.end(), 0);
		t.true(await echoes(session));
		await endSession(session);
		t.true(await started.gone());
	},
	title(_, which) {
		return `${which}: retirement ends the process that master(8) has started, and no session`;
	},
});

test(retires, 'ours');
test(retires, 'stock');
