/*
 * master(8) closes the status channel when it reloads its configuration, and when it dies.
 * The process that it has started must end at once, or it does not start another one. Sessions
 * must continue, or mail is delivered twice.
 */
import test from 'ava';
import type {LocalClient} from '../helpers/client.ts';
import {Daemon, type Program} from '../helpers/daemon.ts';
import {echoes, endSession, Service, type StartedProcess} from '../helpers/master.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

const drains = test.macro<[which: Program]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		const old = service.start();
		const session = await service.session(t, port);
		t.true(service.isListenedOnBy(old.worker));

		old.closeStatus();
		t.is(await old.end(), 0);
		t.true(await daemon.sandbox.waitFor(() => old.workers().length === 1));
		const {worker} = old;
		t.true(await daemon.sandbox.waitFor(() => !service.isListenedOnBy(worker)));
		t.true(await echoes(session));

		/* A client that connects now waits for the successor. */
		const greeted = service.greeted(t);
		const successor = service.start();
		const client = await greeted;
		t.true(await daemon.sandbox.waitFor(() => successor.reports.length > 0));
		t.is(successor.reports[0]?.pid, successor.pid);
		await endSession(client);

		t.is(old.worker, worker);
		t.true(await echoes(session, 'still there?'));
		await endSession(session);
		t.true(await old.gone());
		t.true(successor.lives);
		t.deepEqual(
			(await old.linesUpTo(/^DISCONNECT /)).filter(line =>
				/^(warning|fatal|panic): (?!TLS server role)/.test(line),
			),
			[],
		);
	},
	title(_, which) {
		return `${which}: the process that master(8) has started ends at once, no client is accepted, a session continues to its end`;
	},
});

test(drains, 'ours');
test(drains, 'stock');

test('a process without a session ends with the status channel, and so do its children', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.start();
	await endSession(await service.greeted(t));
	started.closeStatus();
	t.is(await started.end(), 0);
	t.true(await started.gone());
});

test('a process whose status channel is closed before it is ready ends without a session', async t => {
	const started: StartedProcess = new Service(t, daemon, 'ours').start();
	started.closeStatus();
	t.is(await started.end(), 0);
	t.true(await started.gone());
	t.deepEqual(started.reports, []);
});

test('many sessions continue, and the process ends with the last of them', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const started = service.start('-o', 'max_use=1');
	const sessions: LocalClient[] = [];
	for (let count = 0; count < 10; count++) {
		sessions.push(await service.session(t, port));
	}

	started.closeStatus();
	t.is(await started.end(), 0);
	for (const session of sessions) {
		t.true(await echoes(session));
		t.is(started.workers().length, 1);
		await endSession(session);
	}

	t.true(await started.gone());
});
