/*
 * When a worker ends by a fault, its supervisor logs the cause and starts another worker
 * immediately: master(8) notices nothing, and does not throttle the service.
 */
import {execFileSync} from 'node:child_process';
import {readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {echoes, endSession, mounting, Service, type StartedProcess} from '../helpers/master.ts';
import {hasEnded, residentSize} from '../helpers/processes.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

const program = join(import.meta.dirname, '..', '..', 'dist', 'tlsproxy');

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/** Waits until a supervisor has a worker that accepts connections. Returns its process id. */
async function readyWorker(t: ExecutionContext, service: Service, started: StartedProcess, previous = 0) {
	await endSession(await service.greeted(t));
	t.true(started.lives, 'the supervisor has ended');
	t.not(started.worker, previous);
	return started.worker;
}

/** Waits until the last report is "available", after a number of reports. */
const isAvailable = async (started: StartedProcess, least: number): Promise<boolean> =>
	await daemon.sandbox.waitFor(
		() => started.reports.length >= least && started.reports.at(-1)?.state === 'available',
	);

/** Environment that has workers, and no other process of the program, execute a JavaScript module. */
function loading(name: string, code: string): Readonly<Record<string, string>> {
	const module = join(daemon.sandbox.directory, `${name.replaceAll(/\W/g, '-')}.mjs`);
	writeFileSync(
		module,
		`import {closeSync, writeSync} from 'node:fs';
		if (process.env.TLSPROXY_REQUEST === undefined) {
			const [, supervisor] = (process.env.TLSPROXY_SUPERVISOR ?? '').split(' ').map(Number);
			${code}
		}`,
	);
	return {NODE_OPTIONS: `--import=${module}`};
}

const logged = async (started: StartedProcess): Promise<readonly string[]> =>
	(await started.lines()).filter(line => /^(?:fatal|warning: (?:process|using|cannot)) ?/.test(line));

/* Each row: the end, how to cause it, and the log line, without the process. */
const ends: ReadonlyArray<readonly [name: string, code: string, line: RegExp]> = [
	['SIGKILL', '', /^warning: process \S+\/tlsproxy pid PID killed by signal 9$/],
	['SIGSEGV', '', /^warning: process \S+\/tlsproxy pid PID killed by signal 11$/],
	['SIGBUS', '', /^warning: process \S+\/tlsproxy pid PID killed by signal 7$/],
	['SIGTERM', '', /^warning: process \S+\/tlsproxy pid PID killed by signal 15$/],
	['SIGALRM', '', /^fatal: watchdog timeout$/],
	['SIGSYS', '', /^fatal: killed for a system call that a worker may not make$/],
	['abort(3)', 'process.abort()', /^warning: process \S+\/tlsproxy pid PID killed by signal 6\b/],
	[
		'an exception of the runtime',
		`process.reallyExit(7)`,
		/^warning: process \S+\/tlsproxy pid PID exit status 7$/,
	],
	[
		'a heap that is full',
		`const all = []; for (;;) all.push(new Array(1000).fill({}))`,
		/^warning: process \S+\/tlsproxy pid PID killed by signal \d+: FATAL ERROR: .*heap out of memory$/,
	],
	[
		'a message on standard error',
		`writeSync(2, 'x'.repeat(300000) + '\\n\\x1b[1mlast message\\n'); process.reallyExit(1)`,
		/^warning: process \S+\/tlsproxy pid PID exit status 1: \?\[1mlast message$/,
	],
];

for (const [name, code, expected] of ends) {
	test(`after the end of a worker by ${name} the next client is served by the same supervisor, and the cause is logged`, async t => {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours');
		const started = service.startWith(
			name.includes('heap')
				? {
						NODE_OPTIONS: `${loading(name, `process.on('SIGUSR2', () => {${code}})`)['NODE_OPTIONS']} --max-old-space-size=50`,
					}
				: loading(name, `process.on('SIGUSR2', () => {${code}})`),
		);
		const session = await service.session(t, port);
		const {worker} = started;
		process.kill(worker, code === '' ? name : 'SIGUSR2');
		t.is(String(await session.rest()), '');
		const next = await service.session(t, port);
		t.true(await echoes(next));
		t.true(started.lives);
		t.true(hasEnded(worker));
		t.not(started.worker, worker);
		const [line = ''] = (await started.linesUpTo(/^fatal: |^warning: process/)).filter(text =>
			/^fatal: |^warning: process/.test(text),
		);
		t.regex(line.replace(String(worker), 'PID'), expected);
		/* On a busy machine a worker reports more often. */
		t.true(await isAvailable(started, 5));
		t.true(
			started.reports.every(({pid, generation}) => pid === started.pid && generation === started.generation),
		);
		await endSession(next);
	});
}

test('a worker that is killed before it is ready is replaced', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.start();
	t.true(await daemon.sandbox.waitFor(() => started.workers().length === 1));
	const {worker} = started;
	process.kill(worker, 'SIGKILL');
	await readyWorker(t, service, started, worker);
});

test('workers that have accepted a connection are replaced again and again', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.start();
	let worker = 0;
	for (let count = 0; count < 5; count++) {
		worker = await readyWorker(t, service, started, worker);
		process.kill(worker, 'SIGKILL');
		t.true(await daemon.sandbox.waitFor(() => hasEnded(worker)));
	}

	t.is((await started.lines()).filter(line => line.includes('killed by signal 9')).length >= 4, true);
});

test('when a replacement ends before it has accepted a connection, the supervisor ends with status 1', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.start();
	const worker = await readyWorker(t, service, started);
	t.true(await isAvailable(started, 2));
	const reports = started.reports.length;
	process.kill(worker, 'SIGKILL');
	/* The next report is made when the replacement is ready. */
	t.true(await isAvailable(started, reports + 1));
	t.true(await daemon.sandbox.waitFor(() => started.workers().some(pid => pid !== worker)));
	process.kill(started.worker, 'SIGKILL');
	t.is(await started.end(), 1);
	t.true(await started.gone());
});

test('while a replacement starts slowly, master(8) is notified that no process is available', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.startWith(
		loading(
			'slow-replacement',
			`if (process.env.TLSPROXY_REPLACEMENT !== undefined) {
				Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 8000);
			}`,
		),
	);
	const worker = await readyWorker(t, service, started);
	t.true(await isAvailable(started, 2));
	const reports = started.reports.length;
	process.kill(worker, 'SIGKILL');
	t.true(await daemon.sandbox.waitFor(() => started.reports.length > reports));
	t.is(started.reports[reports]?.state, 'taken');
	t.true(await isAvailable(started, reports + 2));
	await readyWorker(t, service, started, worker);
});

test('when the status channel ends before a worker is ready, the supervisor ends with status 0, and the worker ends', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.startWith(
		loading('slow-start', 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000);'),
	);
	t.true(await daemon.sandbox.waitFor(() => started.workers().length === 1));
	started.closeStatus();
	t.is(await started.end(), 0);
	t.true(await started.gone());
});

test('a process starts when no file can be created in the directory pid of the queue', async t => {
	const service = new Service(t, daemon, 'ours', mounting('mount -t tmpfs -o nr_inodes=1 none pid'));
	const started = service.start();
	await readyWorker(t, service, started);
	t.deepEqual(await logged(started), []);
});

/* Requests that the program never makes: the worker has been taken over. */
const takenOver: ReadonlyArray<readonly [name: string, code: string]> = [
	['an endless line', `for (;;) writeSync(supervisor, 'x'.repeat(65536));`],
	['an unknown request', `writeSync(supervisor, 'restart now\\n');`],
	['ready twice', `writeSync(supervisor, 'ready\\n');`],
	[
		'thousands of checks',
		`for (let n = 0; n < 5000; n++) writeSync(supervisor, 'check ["/nonexistent"]\\n');`,
	],
	['a check without a list', "writeSync(supervisor, 'check /etc/shadow\\n');"],
	['a list that does not end', "writeSync(supervisor, 'check [\"/a\",\"' + '\\\\\"'.repeat(20000) + '\\n');"],
];

for (const [name, code] of takenOver) {
	test(`a worker that sends ${name} is killed and replaced, and the supervisor does not grow`, async t => {
		const service = new Service(t, daemon, 'ours');
		const started = service.startWith(loading(name, `process.on('SIGUSR2', () => {${code}})`));
		const worker = await readyWorker(t, service, started);
		process.kill(worker, 'SIGUSR2');
		await started.linesUpTo(/pid \d+ sent a request that this program does not make, and was killed$/);
		t.true(hasEnded(worker));
		t.true(residentSize(started.pid) < 12_000_000, String(residentSize(started.pid)));
		await readyWorker(t, service, started, worker);
	});
}

test('a worker that closes its pipe to the supervisor is killed and replaced', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.startWith(
		loading('closed-pipe', `process.on('SIGUSR2', () => closeSync(supervisor));`),
	);
	const worker = await readyWorker(t, service, started);
	process.kill(worker, 'SIGUSR2');
	await started.linesUpTo(`warning: process ${program} pid ${worker} killed by signal 9`);
	await readyWorker(t, service, started, worker);
});

/* The unit of Debian 13 removes this capability. */
test('without CAP_KILL a worker that sends an endless line is killed and replaced', async t => {
	const service = new Service(t, daemon, 'ours', ['setpriv', '--bounding-set', '-kill']);
	const started = service.startWith(
		loading('without-kill', `process.on('SIGUSR2', () => { for (;;) writeSync(supervisor, 'xxxxxxxx'); })`),
	);
	const worker = await readyWorker(t, service, started);
	t.throws(() =>
		execFileSync('setpriv', ['--bounding-set', '-kill', 'kill', '-0', String(worker)], {stdio: 'ignore'}),
	);
	process.kill(worker, 'SIGUSR2');
	await started.linesUpTo(/pid \d+ sent a request that this program does not make, and was killed$/);
	t.true(hasEnded(worker));
	await readyWorker(t, service, started, worker);
});

test('checks that a worker requests again and again are limited, and the last request is carried out', async t => {
	const service = new Service(t, daemon, 'ours');
	const started = service.startWith(
		loading(
			'repeated-checks',
			`process.on('SIGUSR2', () => {
				let count = 0;
				const timer = setInterval(() => {
					writeSync(supervisor, 'check ["/nonexistent/' + ++count + '"]\\n');
					if (count === 40) clearInterval(timer);
				}, 100);
			})`,
		),
	);
	const worker = await readyWorker(t, service, started);
	const checks = new Set<string>();
	const start = performance.now();
	process.kill(worker, 'SIGUSR2');
	const sees = async (last: RegExp): Promise<boolean> =>
		await daemon.sandbox.waitFor(() => {
			for (const text of checksOf(started.pid)) {
				checks.add(text);
			}

			return [...checks].some(text => last.test(text));
		});
	t.true(await sees(/nonexistent\/40"/));
	const seconds = (performance.now() - start) / 1000;
	t.log(`${checks.size} checks in ${seconds.toFixed(1)} s`);
	/* A second after each. */
	t.true(checks.size <= 1 + seconds);
	await delay(1000);
	t.true(started.lives);
	t.is(started.worker, worker);
});

/* The names that the running checks of a supervisor have. */
function checksOf(supervisor: number): readonly string[] {
	return readdirSync('/proc')
		.filter(name => /^\d+$/.test(name))
		.flatMap(pid => {
			try {
				const parent = / (\d+) /.exec(
					readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) \w/s, ''),
				)?.[1];
				const [text] =
					/(?<=(?:^|\0)TLSPROXY_REQUEST_TEXT=)[^\0]*/.exec(readFileSync(`/proc/${pid}/environ`, 'utf8')) ??
					[];
				return Number(parent) === supervisor && text !== undefined ? [text] : [];
			} catch {
				/* It has ended in the meantime. */
				return [];
			}
		});
}
