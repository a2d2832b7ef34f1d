/*
 * V8 generates machine code and executes it. Some systems deny memory that is writable and
 * executable: systemd does for Debian's Postfix, and so does SELinux. There the worker runs
 * without the JIT compiler. Callbacks from OpenSSL go through the foreign function interface,
 * which must not generate code at run time either.
 */
import {readFileSync} from 'node:fs';
import test from 'ava';
import {commandLine} from '../../postfix/lib/processes.ts';
import {Daemon} from '../helpers/daemon.ts';
import {denying, echoes, endSession, Service} from '../helpers/master.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/** Mappings of a process that are writable and executable, or executable without a file. */
function suspiciousMemory(pid: number): readonly string[] {
	return readFileSync(`/proc/${pid}/maps`, 'utf8')
		.split('\n')
		.filter(line => / .?wx/.test(line) || / r?.?x. .* 0 *$/.test(line));
}

for (const what of ['write-execute by prctl', 'write-execute by seccomp']) {
	test(`if the system denies ${what}, a worker without the JIT compiler serves, resumes and reports like any other`, async t => {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours', denying(what));
		const started = service.start('-c');
		/* The first session stays open, so that the same process serves the next ones. */
		const first = await service.session(t, port);
		t.true(await echoes(first));
		const {worker} = started;
		t.true(commandLine(worker).includes('--jitless'));
		t.deepEqual(suspiciousMemory(worker), []);

		/* Verification, the handshake states and the protocol trace use callbacks. */
		const debug = {init: {log_level: '4', CAfile: '/nonexistent'}, start: {tls_level: 3}} as const;
		t.is((await daemon.handOff(t, port, debug, service.name)).report, undefined);
		const {client, report} = await daemon.handOff(t, port, {init: {log_level: '4'}}, service.name);
		t.truthy(report);
		t.true(await echoes(client));
		await endSession(client);
		const {client: again, report: resumed} = await daemon.handOff(t, port, {}, service.name);
		t.truthy(resumed);
		await endSession(again);

		t.true(await echoes(first, 'x'.repeat(300_000)));
		await endSession(first);
		t.is(started.worker, worker);
		/* The first session ends last. */
		const ends = async (): Promise<number> =>
			(await started.lines()).filter(line => line.startsWith('DISCONNECT ')).length;
		t.true(await daemon.sandbox.waitFor(async () => (await ends()) >= 3));
		const lines = await started.lines();
		t.true(lines.some(line => line.includes('SSL_connect:')));
		t.true(lines.some(line => /^[\dA-F]{4} /.test(line)));
		t.deepEqual(
			lines.filter(line => /^(fatal|panic): |system calls/.test(line)),
			[],
		);
	});
}

/* MemoryDenyWriteExecute=yes and SystemCallFilter=@system-service, which lacks seccomp(2). */
test('a worker serves under the restrictions of the systemd unit of Debian 13, and logs a warning', async t => {
	const port = await echoPeer(t);
	const wrapper = [...denying('seccomp by death'), ...denying('write-execute by prctl')];
	const service = new Service(t, daemon, 'ours', wrapper);
	const started = service.start('-c');
	const session = await service.session(t, port);
	t.true(commandLine(started.worker).includes('--jitless'));
	t.deepEqual(suspiciousMemory(started.worker), []);
	t.true(await echoes(session));
	await endSession(session);
	const lines = await started.linesUpTo(/^DISCONNECT /);
	t.is(lines.filter(line => line.startsWith('warning: system calls are filtered in')).length, 1);
});

test('on a system without restrictions the JIT compiler is on', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const started = service.start();
	const session = await service.session(t, port);
	t.false(commandLine(started.worker).includes('--jitless'));
	t.not(suspiciousMemory(started.worker).length, 0);
	t.true(await echoes(session));
	await endSession(session);
});
