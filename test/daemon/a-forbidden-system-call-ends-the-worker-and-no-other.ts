/*
 * Whoever takes a worker over wants something of the kernel that a worker never asks
 * for. What he asks here is put into the process by way of the environment, which
 * master(8) does not let through.
 */
import {existsSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {denying, finish, openFiles, Service, type Started, speaks} from '../helpers/master.ts';
import {echoPeer} from '../helpers/peer.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/** What system calls of all threads of a process go through. */
function filters(pid: number): readonly string[] {
	return readdirSync(`/proc/${pid}/task`).map(thread => {
		const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8');
		const field = (name: string): string | undefined =>
			new RegExp(`^${name}:\\t(.*)$`, 'm').exec(status)?.[1];
		return `${field('Seccomp')} ${field('Seccomp_filters')} ${field('NoNewPrivs')}`;
	});
}

/** Starts a process that does something as soon as it is told to, by a signal. */
async function startTrojan(
	t: ExecutionContext,
	service: Service,
	deed: string,
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
			process.on('SIGUSR2', () => { ${deed} });
		}`,
	);
	return service.startWith({NODE_OPTIONS: `--import=${module}`}, ...options);
}

const deeds: ReadonlyArray<readonly [title: string, deed: string]> = [
	['starts a program', "spawn('/bin/true')"],
	['becomes another program', "execve('/bin/true', ['true'])"],
	['opens a file for writing', "openSync('/tmp/tlsproxy-was-here', 'w')"],
	['connects to a host', "connect(25, '127.0.0.1')"],
	['starts a thread', "new Worker('0', {eval: true})"],
	['sends a signal to another process', 'process.kill(process.ppid, 0)'],
];

async function expectEnd(t: ExecutionContext, started: Started, worker: number): Promise<void> {
	process.kill(worker, 'SIGUSR2');
	t.is(await started.end(), 1);
	t.true(await started.gone());
	t.deepEqual(
		(await started.linesUpTo(/^fatal: /)).filter(line => /^(fatal|panic|warning: system)/.test(line)),
		['fatal: killed for a system call that a worker may not make'],
	);
}

for (const [title, deed] of deeds) {
	test(`a worker that ${title} ends, with a line in the log, and another serves`, async t => {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours');
		const started = await startTrojan(t, service, deed);
		const session = await service.session(t, port);
		t.true(await speaks(session));
		const {worker} = started;
		t.deepEqual([...new Set(filters(worker))], ['2 2 1']);
		/* Calls by way of that are seen by no filter. */
		t.false(openFiles(worker).some(file => file.includes('io_uring')));
		await expectEnd(t, started, worker);
		t.is(String(await session.rest()), '');
		t.false(existsSync('/tmp/tlsproxy-was-here'));

		const next = service.start();
		const after = await service.session(t, port);
		t.true(await speaks(after));
		await finish(after);
		t.true(next.lives);
	});
}

/* It is not the signal that ends a worker. */
test('a worker that does what it may do on a signal goes on', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const started = await startTrojan(t, service, "openSync('/etc/passwd', 'r'); globalThis.gc();");
	const session = await service.session(t, port);
	const {worker} = started;
	process.kill(worker, 'SIGUSR2');
	t.true(await daemon.sandbox.waitFor(() => openFiles(worker).includes('/etc/passwd')));
	t.true(await speaks(session));
	await finish(session);
	t.is(started.worker, worker);
});

test('with seccomp=no nothing is forbidden that the account may do', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const started = await startTrojan(t, service, "spawn('/bin/true')", 'seccomp=no');
	const session = await service.session(t, port);
	const {worker} = started;
	/* What keeps io_uring away is from before. */
	t.deepEqual([...new Set(filters(worker))].toSorted(), ['2 1 0', '2 1 1']);
	process.kill(worker, 'SIGUSR2');
	t.true(await speaks(session));
	await finish(session);
	t.is(started.worker, worker);
});

test('where seccomp(2) is death, the main thread is filtered, and a line says so', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours', denying('seccomp by death'));
	const started = await startTrojan(t, service, "spawn('/bin/true')");
	const session = await service.session(t, port);
	t.true(await speaks(session));
	const {worker} = started;
	await started.linesUpTo(
		'warning: system calls are filtered in the main thread only: seccomp: not allowed by the service manager',
	);
	process.kill(worker, 'SIGUSR2');
	t.is(await started.end(), 1);
});

test('where there is no seccomp, a line says so once, and the worker serves', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours', denying('seccomp'));
	const started = service.start();
	for (let round = 0; round < 2; round++) {
		const session = await service.session(t, port);
		t.true(await speaks(session));
		await finish(session);
	}

	t.deepEqual(
		(await started.linesUpTo(/^DISCONNECT /)).filter(line => line.includes('system call')),
		['warning: system calls are not filtered: prctl(PR_SET_SECCOMP): Invalid argument'],
	);
});
