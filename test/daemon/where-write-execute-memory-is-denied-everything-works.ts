/*
 * V8 writes machine code and runs it. Hosts that deny memory for that - systemd does for
 * Debian's Postfix, and SELinux - get a worker that is interpreted, and that does all
 * that others do: callbacks from OpenSSL come through code of the foreign function
 * interface, which must not be made at run time either.
 */
import {readFileSync} from 'node:fs';
import test from 'ava';
import {commandLine} from '../../postfix/lib/processes.ts';
import {Daemon} from '../helpers/daemon.ts';
import {denying, finish, Service, speaks} from '../helpers/master.ts';
import {echoPeer} from '../helpers/peer.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/** Memory of a process that is writable and executable, or is executable and belongs to no file. */
function suspiciousMemory(pid: number): readonly string[] {
	return readFileSync(`/proc/${pid}/maps`, 'utf8')
		.split('\n')
		.filter(line => / .?wx/.test(line) || / r?.?x. .* 0 *$/.test(line));
}

for (const what of ['write-execute by prctl', 'write-execute by seccomp']) {
	test(`denied ${what}: a worker without machine code of its own serves, resumes and reports as any other`, async t => {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours', denying(what));
		const started = service.start('-c');
		/* The first session stays, so that what follows is of the same process. */
		const first = await service.session(t, port);
		t.true(await speaks(first));
		const {worker} = started;
		t.true(commandLine(worker).includes('--jitless'));
		t.deepEqual(suspiciousMemory(worker), []);

		/* Verification, the states of a handshake and its bytes come by callbacks. */
		const debug = {init: {log_level: '4', CAfile: '/nonexistent'}, start: {tls_level: 3}} as const;
		t.is((await daemon.handOff(t, port, debug, service.name)).report, undefined);
		const {client, report} = await daemon.handOff(t, port, {init: {log_level: '4'}}, service.name);
		t.truthy(report);
		t.true(await speaks(client));
		await finish(client);
		const {client: again, report: resumed} = await daemon.handOff(t, port, {}, service.name);
		t.truthy(resumed);
		await finish(again);

		t.true(await speaks(first, 'x'.repeat(300_000)));
		await finish(first);
		t.is(started.worker, worker);
		/* The first session ends last; the one that was refused has not ended. */
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
test('a worker serves under the restrictions that the service manager of Debian 13 sets, and says what is missing', async t => {
	const port = await echoPeer(t);
	const wrapper = [...denying('seccomp by death'), ...denying('write-execute by prctl')];
	const service = new Service(t, daemon, 'ours', wrapper);
	const started = service.start('-c');
	const session = await service.session(t, port);
	t.true(commandLine(started.worker).includes('--jitless'));
	t.deepEqual(suspiciousMemory(started.worker), []);
	t.true(await speaks(session));
	await finish(session);
	const lines = await started.linesUpTo(/^DISCONNECT /);
	t.is(lines.filter(line => line.startsWith('warning: system calls are filtered in')).length, 1);
});

test('a worker on a host that denies nothing has machine code of its own', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const started = service.start();
	const session = await service.session(t, port);
	t.false(commandLine(started.worker).includes('--jitless'));
	t.not(suspiciousMemory(started.worker).length, 0);
	t.true(await speaks(session));
	await finish(session);
});
