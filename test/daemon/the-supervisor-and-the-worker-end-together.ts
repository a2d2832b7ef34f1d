/*
 * master(8) knows the supervisor, clients know the worker. When one of them is gone
 * the other must not look as if nothing had happened.
 */
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {finish, Service, speaks} from '../helpers/master.ts';
import {echoPeer} from '../helpers/peer.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

test('a supervisor that is killed: the worker accepts nothing more, serves its session to the end, and ends', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const old = service.start();
	const session = await service.session(t, port);
	const {worker} = old;
	process.kill(old.pid, 'SIGKILL');
	t.is(await old.end(), 'SIGKILL');
	t.true(await daemon.sandbox.waitFor(() => !service.isListenedOnBy(worker)));
	/* Who comes now is served by a successor, whose only session it is. */
	const greeted = service.greeted(t);
	const successor = service.start('-m', '1');
	await finish(await greeted);
	t.is(await successor.end(), 0);
	t.deepEqual(
		successor.reports.slice(0, 2).map(({state}) => state),
		['taken', 'available'],
	);

	t.is(old.worker, worker);
	t.true(await speaks(session));
	await finish(session);
	t.true(await old.gone());
	t.deepEqual(
		(await old.lines()).filter(line => /^(fatal|panic): /.test(line)),
		[],
	);
});

test('a supervisor that is killed: a worker without a session ends', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.start();
	await finish(await service.greeted(t));
	process.kill(started.pid, 'SIGKILL');
	t.is(await started.end(), 'SIGKILL');
	t.true(await started.gone());
});

test('a supervisor that gets SIGTERM ends at once, and so do its worker and its sessions', async t => {
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
 * What master(8) does when a service is removed: it keeps all others waiting until
 * the process is gone. Stock goes with its sessions.
 */
test('SIGTERM that comes with the end of the status channel: the supervisor ends at once, and the worker after its session', async t => {
	const port = await echoPeer(t);
	for (let round = 0; round < 10; round++) {
		const service = new Service(t, daemon, 'ours');
		const started = service.start();
		const session = await service.session(t, port);
		started.closeStatus();
		process.kill(started.pid, 'SIGTERM');
		t.true(['SIGTERM', 0].includes((await started.end()) ?? ''));
		t.true(await speaks(session), `round ${round}`);
		await finish(session);
		t.true(await started.gone());
	}
});

test('a worker that is stopped does not keep a supervisor that gets SIGTERM', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.start();
	await finish(await service.greeted(t));
	process.kill(started.worker, 'SIGSTOP');
	process.kill(started.pid, 'SIGTERM');
	t.is(await started.end(), 'SIGTERM');
	process.kill(started.worker, 'SIGCONT');
	t.true(await started.gone());
});

for (const signal of ['SIGKILL', 'SIGSEGV', 'SIGTERM'] as const) {
	test(`a worker that ends by ${signal}: the supervisor ends with status 1`, async t => {
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
	test(`a worker that the kernel ends by ${signal}: the supervisor says why, and ends with status 1`, async t => {
		const service = new Service(t, daemon, 'ours');
		const started = service.start();
		await finish(await service.greeted(t));
		process.kill(started.worker, signal);
		t.is(await started.end(), 1);
		t.true(await started.gone());
		t.deepEqual(
			(await started.linesUpTo(/^fatal: /)).filter(text => text.startsWith('fatal: ')),
			[line],
		);
	});
}

test('a worker that ends before it is ready: the supervisor ends with status 1', async t => {
	const started = new Service(t, daemon, 'ours').start();
	t.true(await daemon.sandbox.waitFor(() => started.workers().length === 1));
	process.kill(started.worker, 'SIGKILL');
	t.is(await started.end(), 1);
	t.deepEqual(started.reports, []);
});

/* Whatever it waits for. That the kernel sends the signal in time: test/postfix/launch.ts. */
test('a worker that hangs before it has a watchdog is ended by the alarm that it started with, and the supervisor says so', async t => {
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
