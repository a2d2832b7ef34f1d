/*
 * master(8) watches the supervisor, clients talk to the worker. When one of them ends, the
 * other must not continue as before.
 */
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {echoes, endSession, Service} from '../helpers/master.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

test('after SIGKILL to the supervisor, the worker accepts no client, serves its session to the end, and ends', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const old = service.start();
	const session = await service.session(t, port);
	const {worker} = old;
	process.kill(old.pid, 'SIGKILL');
	t.is(await old.end(), 'SIGKILL');
	t.true(await daemon.sandbox.waitFor(() => !service.isListenedOnBy(worker)));
	/* A client that connects now is served by a successor. */
	const greeted = service.greeted(t);
	const successor = service.start('-m', '1');
	await endSession(await greeted);
	t.is(await successor.end(), 0);
	t.deepEqual(
		successor.reports.slice(0, 2).map(({state}) => state),
		['taken', 'available'],
	);

	t.is(old.worker, worker);
	t.true(await echoes(session));
	await endSession(session);
	t.true(await old.gone());
	t.deepEqual(
		(await old.lines()).filter(line => /^(fatal|panic): /.test(line)),
		[],
	);
});

test('after SIGKILL to the supervisor, a worker without a session ends', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.start();
	await endSession(await service.greeted(t));
	process.kill(started.pid, 'SIGKILL');
	t.is(await started.end(), 'SIGKILL');
	t.true(await started.gone());
});

test('SIGTERM ends the supervisor, its worker and its sessions at once', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const started = service.start();
	const session = await service.session(t, port);
	process.kill(started.pid, 'SIGTERM');
	t.is(await started.end(), 'SIGTERM');
	t.true(await started.gone());
	t.is(String(await session.rest()), '');
});

/*
 * When a service is removed, master(8) sends SIGTERM and blocks until the process has ended.
 * Stock ends with its sessions.
 */
test('SIGTERM with the end of the status channel: the supervisor ends at once, and the worker after its session', async t => {
	const port = await echoPeer(t);
	for (let round = 0; round < 10; round++) {
		const service = new Service(t, daemon, 'ours');
		const started = service.start();
		const session = await service.session(t, port);
		started.closeStatus();
		process.kill(started.pid, 'SIGTERM');
		t.true(['SIGTERM', 0].includes((await started.end()) ?? ''));
		t.true(await echoes(session), `round ${round}`);
		await endSession(session);
		t.true(await started.gone());
	}
});

test('a stopped worker does not delay the end of the supervisor after SIGTERM', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.start();
	await endSession(await service.greeted(t));
	process.kill(started.worker, 'SIGSTOP');
	process.kill(started.pid, 'SIGTERM');
	t.is(await started.end(), 'SIGTERM');
	process.kill(started.worker, 'SIGCONT');
	t.true(await started.gone());
});

for (const signal of ['SIGKILL', 'SIGSEGV', 'SIGTERM'] as const) {
	test(`when a worker is ended by ${signal}, the supervisor ends with status 1`, async t => {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours');
		const started = service.start();
		const client = await service.session(t, port);
		process.kill(started.worker, signal);
		t.is(await started.end(), 1);
		t.is(String(await client.rest()), '');
		t.true(await started.gone());
	});
}

for (const [signal, line] of [
	['SIGALRM', 'fatal: watchdog timeout'],
	['SIGSYS', 'fatal: killed for a system call that a worker may not make'],
] as const) {
	test(`when the kernel ends a worker by ${signal}, the supervisor logs the reason, and ends with status 1`, async t => {
		const service = new Service(t, daemon, 'ours');
		const started = service.start();
		await endSession(await service.greeted(t));
		process.kill(started.worker, signal);
		t.is(await started.end(), 1);
		t.true(await started.gone());
		t.deepEqual(
			(await started.linesUpTo(/^fatal: /)).filter(text => text.startsWith('fatal: ')),
			[line],
		);
	});
}

test('when a worker ends before it is ready, the supervisor ends with status 1', async t => {
	const started = new Service(t, daemon, 'ours').start();
	t.true(await daemon.sandbox.waitFor(() => started.workers().length === 1));
	process.kill(started.worker, 'SIGKILL');
	t.is(await started.end(), 1);
	t.deepEqual(started.reports, []);
});

/* test/postfix/launch.ts tests that the alarm is set. */
test('a worker that hangs before it has a watchdog is ended by the alarm of its launcher, and the supervisor logs this', async t => {
	const module = join(daemon.sandbox.directory, 'hangs.mjs');
	writeFileSync(
		module,
		`if (process.env.TLSPROXY_ERRAND === undefined) {
			Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
		}`,
	);
	const started = new Service(t, daemon, 'ours').startWith({NODE_OPTIONS: `--import=${module}`});
	t.true(await daemon.sandbox.waitFor(() => started.workers().length === 1));
	process.kill(started.worker, 'SIGALRM');
	t.is(await started.end(), 1);
	t.true(await started.gone());
	t.deepEqual(
		(await started.linesUpTo(/^fatal: /)).filter(text => text.startsWith('fatal: ')),
		['fatal: watchdog timeout, before a process was ready'],
	);
});
