/*
 * An attacker who controls a worker needs system calls that a worker never makes. The tests
 * inject such calls through the environment, which the real master(8) does not pass on.
 */
import {existsSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {denying, echoes, endSession, openFiles, Service, type StartedProcess} from '../helpers/master.ts';
import {hasEnded} from '../helpers/processes.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/** The seccomp state of each thread of a process. */
function filters(pid: number): readonly string[] {
	return readdirSync(`/proc/${pid}/task`).map(thread => {
		const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
		const field = (name: string): string | undefined =>
			new RegExp(`^${name}:\\t(.*)$`, 'm').exec(status)?.[1];
		return `${field('Seccomp')} ${field('Seccomp_filters')} ${field('NoNewPrivs')}`;
	});
}

/** Starts a process that runs code when it gets SIGUSR2. */
async function startTrojan(
	t: ExecutionContext,
	service: Service,
	code: string,
	...options: readonly string[]
) {
	const module = join(daemon.sandbox.directory, `${service.name}.mjs`);
	writeFileSync(
		module,
		`import {execve} from 'node:process';
		import {openSync} from 'node:fs';
		import {spawn} from 'node:child_process';
		import {connect} from 'node:net';
		import {Worker} from 'node:worker_threads';
		if (process.argv[1].endsWith('/main.js')) {
			process.on('SIGUSR2', () => { ${code} });
		}`,
	);
	return service.startWith({NODE_OPTIONS: `--import=${module}`}, ...options);
}

const attacks: ReadonlyArray<readonly [title: string, code: string]> = [
	['starts a program', "spawn('/bin/true')"],
	['executes another program', "execve('/bin/true', ['true'])"],
	['opens a file for writing', "openSync('/tmp/tlsproxy-was-here', 'w')"],
	['connects to a host', "connect(25, '127.0.0.1')"],
	['starts a thread', "new Worker('0', {eval: true})"],
	['sends a signal to another process', 'process.kill(process.ppid, 0)'],
];

async function expectEnd(t: ExecutionContext, started: StartedProcess, worker: number): Promise<void> {
	process.kill(worker, 'SIGUSR2');
	t.true(await daemon.sandbox.waitFor(() => hasEnded(worker)));
	t.true(started.lives);
	t.deepEqual(
		(await started.linesUpTo(/^fatal: /)).filter(line => /^(fatal|panic|warning: system)/.test(line)),
		['fatal: killed for a system call that a worker may not make'],
	);
}

for (const [title, code] of attacks) {
	test(`a worker that ${title} is killed, this is logged, and another worker serves`, async t => {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours');
		const started = await startTrojan(t, service, code);
		const session = await service.session(t, port);
		t.true(await echoes(session));
		const {worker} = started;
		t.deepEqual([...new Set(filters(worker))], ['2 2 1']);
		/* No filter sees the calls that are submitted through io_uring. */
		t.false(openFiles(worker).some(file => file.includes('io_uring')));
		await expectEnd(t, started, worker);
		t.is(String(await session.rest()), '');
		t.false(existsSync('/tmp/tlsproxy-was-here'));

		const next = service.start();
		const after = await service.session(t, port);
		t.true(await echoes(after));
		await endSession(after);
		t.true(next.lives);
	});
}

/* The control: the signal alone does not end a worker. */
test('a worker that makes permitted system calls on the signal keeps running', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const started = await startTrojan(t, service, "openSync('/etc/passwd', 'r'); globalThis.gc();");
	const session = await service.session(t, port);
	const {worker} = started;
	process.kill(worker, 'SIGUSR2');
	t.true(await daemon.sandbox.waitFor(() => openFiles(worker).includes('/etc/passwd')));
	t.true(await echoes(session));
	await endSession(session);
	t.is(started.worker, worker);
});

test('with seccomp=no the worker may make all system calls', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const started = await startTrojan(t, service, "spawn('/bin/true')", 'seccomp=no');
	const session = await service.session(t, port);
	const {worker} = started;
	/* The launcher has set the filter that denies io_uring. */
	t.deepEqual([...new Set(filters(worker))].toSorted(), ['2 1 0', '2 1 1']);
	process.kill(worker, 'SIGUSR2');
	t.true(await echoes(session));
	await endSession(session);
	t.is(started.worker, worker);
});

test('if seccomp(2) kills the caller, only the main thread is filtered, and a warning is logged', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours', denying('seccomp by death'));
	const started = await startTrojan(t, service, "spawn('/bin/true')");
	const session = await service.session(t, port);
	t.true(await echoes(session));
	const {worker} = started;
	await started.linesUpTo(
		'warning: system calls are filtered in the main thread only: seccomp: not allowed by the service manager',
	);
	process.kill(worker, 'SIGUSR2');
	t.true(await daemon.sandbox.waitFor(() => hasEnded(worker)));
});

test('without seccomp the worker serves, and one warning is logged', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours', denying('seccomp'));
	const started = service.start();
	for (let round = 0; round < 2; round++) {
		const session = await service.session(t, port);
		t.true(await echoes(session));
		await endSession(session);
	}

	t.deepEqual(
		(await started.linesUpTo(/^DISCONNECT /)).filter(line => line.includes('system call')),
		['warning: system calls are not filtered: prctl(PR_SET_SECCOMP): Invalid argument'],
	);
});
