/*
 * master(8) closes the status channel when it reloads its configuration, and when
 * it dies. The process that it knows has to be gone at once, or it starts no other;
 * sessions have to go on, or mail is sent twice.
 */
import test from 'ava';
import type {LocalClient} from '../helpers/client.ts';
import {Daemon, type Which} from '../helpers/daemon.ts';
import {finish, Service, type Started, speaks} from '../helpers/master.ts';
import {echoPeer} from '../helpers/peer.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

const drains = test.macro<[which: Which]>({
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
		t.true(await speaks(session));

		/* Who comes now waits for the successor. */
		const greeted = service.greeted(t);
		const successor = service.start();
		const client = await greeted;
		t.true(await daemon.sandbox.waitFor(() => successor.reports.length > 0));
		t.is(successor.reports[0]?.pid, successor.pid);
		await finish(client);

		t.is(old.worker, worker);
		t.true(await speaks(session, 'and still?'));
		await finish(session);
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
		return `${which}: the process that master(8) knows ends at once, nothing more is accepted, a session goes on to its end`;
	},
});

test(drains, 'ours');
test(drains, 'stock');

test('a process without a session ends with the status channel, and all of it', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.start();
	await finish(await service.greeted(t));
	started.closeStatus();
	t.is(await started.end(), 0);
	t.true(await started.gone());
});

test('a process whose status channel has ended before it is ready serves nobody, and ends', async t => {
	const started: Started = new Service(t, daemon, 'ours').start();
	started.closeStatus();
	t.is(await started.end(), 0);
	t.true(await started.gone());
	t.deepEqual(started.reports, []);
});

test('many sessions go on, and the process ends with the last of them', async t => {
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
		t.true(await speaks(session));
		t.is(started.workers().length, 1);
		await finish(session);
	}

	t.true(await started.gone());
});
