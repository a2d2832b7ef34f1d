/*
 * master(8) watches the supervisor, clients connect to the worker. When the supervisor ends,
 * the worker must not continue as before. The end of a worker is tested in
 * a-worker-that-ends-is-replaced.ts.
 */
import test from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {echoes, endSession, Service, withoutPerl} from '../helpers/master.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/* There are two supervisors. */
for (const [condition, wrapper] of [
	['', []],
	[' (without Perl)', withoutPerl],
] as const) {
	test(`after SIGKILL to the supervisor, the worker accepts no client, serves its session to the end, and ends${condition}`, async t => {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours', wrapper);
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

	test(`after SIGKILL to the supervisor, a worker without a session ends${condition}`, async t => {
		const service = new Service(t, daemon, 'ours', wrapper);
		const started = service.start();
		await endSession(await service.greeted(t));
		process.kill(started.pid, 'SIGKILL');
		t.is(await started.end(), 'SIGKILL');
		t.true(await started.gone());
	});

	test(`SIGTERM ends the supervisor, its worker and its sessions at once${condition}`, async t => {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours', wrapper);
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
	test(`SIGTERM with the end of the status channel: the supervisor ends at once, and the worker after its session${condition}`, async t => {
		const port = await echoPeer(t);
		for (let round = 0; round < 10; round++) {
			const service = new Service(t, daemon, 'ours', wrapper);
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

	test(`a stopped worker does not delay the end of the supervisor after SIGTERM${condition}`, async t => {
		const service = new Service(t, daemon, 'ours', wrapper);
		const started = service.start();
		await endSession(await service.greeted(t));
		process.kill(started.worker, 'SIGSTOP');
		process.kill(started.pid, 'SIGTERM');
		t.is(await started.end(), 'SIGTERM');
		process.kill(started.worker, 'SIGCONT');
		t.true(await started.gone());
	});
}

for (const signal of ['SIGKILL', 'SIGSEGV', 'SIGTERM'] as const) {
	test(`without Perl, when a worker is ended by ${signal}, the supervisor ends with status 1`, async t => {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours', withoutPerl);
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
	test(`without Perl, when the kernel ends a worker by ${signal}, the supervisor logs the reason, and ends with status 1`, async t => {
		const service = new Service(t, daemon, 'ours', withoutPerl);
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

test('without Perl, when a worker ends before it is ready, the supervisor ends with status 1', async t => {
	const started = new Service(t, daemon, 'ours', withoutPerl).start();
	t.true(await daemon.sandbox.waitFor(() => started.workers().length === 1));
	process.kill(started.worker, 'SIGKILL');
	t.is(await started.end(), 1);
	t.deepEqual(started.reports, []);
});
