/*
 * If the event loop of a process is busy or blocked, its clients wait, and master(8) may
 * start no other process: the watchdog ends it within tlsproxy_watchdog_timeout. Time in
 * which the process is stopped does not count.
 */
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {blockingCaPath} from '../helpers/blocking.ts';
import {Daemon, type Program, statusOf} from '../helpers/daemon.ts';
import {echoes, endSession, Service, type StartedProcess} from '../helpers/master.ts';
import {pause} from '../helpers/pause.ts';
import {hasEnded} from '../helpers/processes.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/* The shortest limit that stock accepts. */
const SHORT = ['-o', 'tlsproxy_watchdog_timeout=10s'];
const LIMIT = 10_000;

const isFatal = (line: string): boolean => /^(fatal|panic): /.test(line);

/* A worker is replaced; stock ends with status 1. */
async function expectWatchdog(
	t: ExecutionContext,
	program: Program,
	started: StartedProcess,
	worker: number,
): Promise<void> {
	if (program === 'stock') {
		t.is(await started.end(), 1);
		t.true(await started.gone());
	} else {
		t.true(await daemon.sandbox.waitFor(() => hasEnded(worker)));
		t.true(started.lives);
	}

	t.deepEqual((await started.linesUpTo(/^fatal: /)).filter(isFatal), ['fatal: watchdog timeout']);
}

/* A file of a CApath directory is opened during the handshake: open(2) of a FIFO without a writer blocks. */
const endsOnFifo = test.macro<[program: Program]>({
	async exec(t, program) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, program);
		const started = service.start(...SHORT);
		const session = await service.session(t, port);
		const {worker} = started;
		const CApath = blockingCaPath(daemon.sandbox.directory);
		const {report} = await daemon.handOff(t, port, {init: {CApath}}, service.name);
		t.is(report, undefined);
		t.is(String(await session.rest()), '');
		await expectWatchdog(t, program, started, worker);
	},
	title(_, program) {
		return `${program}: the watchdog ends a process that waits for a file`;
	},
});

test(endsOnFifo, 'ours');
test(endsOnFifo, 'stock');

const BUSY = 'for (;;);';
const BLOCKED = 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);';

const endsByWatchdog = test.macro<[state: string, code: string]>({
	async exec(t, state, code) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours');
		const module = join(daemon.sandbox.directory, `${state}.mjs`);
		writeFileSync(
			module,
			`if (process.env.TLSPROXY_REQUEST === undefined) {
				process.on('SIGUSR2', () => { ${code} });
			}`,
		);
		const started = service.startWith({NODE_OPTIONS: `--import=${module}`}, ...SHORT);
		const session = await service.session(t, port);
		const {worker} = started;
		process.kill(worker, 'SIGUSR2');
		t.is(String(await session.rest()), '');
		await expectWatchdog(t, 'ours', started, worker);
	},
	title(_, state) {
		return `the watchdog ends a process whose event loop is ${state}`;
	},
});

test(endsByWatchdog, 'busy', BUSY);
test(endsByWatchdog, 'blocked', BLOCKED);

interface Pause {
	readonly seconds: number;
	/** The processes that are stopped. Stock has only one process. */
	readonly stopped: 'the worker' | 'all processes';
}

/* Two sessions: one is idle, the other one has data in transit during the pause. */
const survives = test.macro<[program: Program, pause: Pause]>({
	async exec(t, program, {seconds, stopped}) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, program);
		const started = service.start(...SHORT);
		const idle = await service.session(t, port);
		const used = await service.session(t, port);
		t.true(await echoes(used));
		const {worker} = started;
		const pids = stopped === 'the worker' ? [worker] : [...new Set([started.pid, worker])];
		const message = 'sent during the pause';
		await pause(pids, seconds * 1000, async () => await used.send(message));
		t.is(String(await used.bytes(message.length)), message);
		t.true(await echoes(idle));
		/* A timer that has expired in the pause does not end the process later. */
		await delay(LIMIT + 2000);
		t.true(await echoes(used));
		t.true(await echoes(idle));
		/* The same process accepts more connections. */
		const next = await service.session(t, port);
		t.true(await echoes(next));
		t.true(started.lives);
		t.is(started.worker, worker);
		t.deepEqual((await started.lines()).filter(isFatal), []);
		await endSession(next);
	},
	title(_, program, {seconds, stopped}) {
		return `${program}: a pause of ${seconds} seconds of ${stopped} ends neither the process nor its sessions`;
	},
});

for (const seconds of [5, 12, 35]) {
	test(survives, 'ours', {seconds, stopped: 'the worker'});
	test(survives, 'ours', {seconds, stopped: 'all processes'});
	test(survives, 'stock', {seconds, stopped: 'the worker'});
}

/* A request must be complete within five seconds. The rest of this one arrives in time, but during a pause. */
const servesRequest = test.macro<[program: Program]>({
	async exec(t, program) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, program);
		const started = service.start(...SHORT);
		const client = await service.greeted(t);
		const message = Buffer.concat(daemon.messages(`[127.0.0.1]:${port}`));
		const half = Math.trunc(message.length / 2);
		await client.send(message.subarray(0, half));
		await delay(1000);
		await pause([started.worker], LIMIT + 2000, async () => await client.send(message.subarray(half)));
		t.is(statusOf(await client.list()), 1);
	},
	title(_, program) {
		return `${program}: a request that is completed while the process is stopped is served`;
	},
});

test(servesRequest, 'ours');
test(servesRequest, 'stock');

/* Between two pauses, the event loop has little time to restart the timer. */
const survivesRepeatedly = test.macro<[program: Program]>({
	async exec(t, program) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, program);
		const started = service.start(...SHORT);
		const session = await service.session(t, port);
		const {worker} = started;
		for (const part of [0.3, 1.1, 1.1, 0.3, 0.3]) {
			await pause([worker], LIMIT * part);
			t.true(await echoes(session));
		}

		t.true(started.lives);
		t.is(started.worker, worker);
	},
	title(_, program) {
		return `${program}: a process that is stopped repeatedly continues`;
	},
});

test(survivesRepeatedly, 'ours');
test(survivesRepeatedly, 'stock');

/* The pause does not reset the watchdog. */
const endsAfterPause = test.macro<[program: Program]>({
	async exec(t, program) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, program);
		const started = service.start(...SHORT);
		const session = await service.session(t, port);
		const {worker} = started;
		const CApath = blockingCaPath(daemon.sandbox.directory);
		const handOff = daemon.handOff(t, port, {init: {CApath}}, service.name);
		/* The request arrives before or during the pause. */
		await delay(500);
		await pause([worker], LIMIT + 2000);
		t.is((await handOff).report, undefined);
		t.is(String(await session.rest()), '');
		await expectWatchdog(t, program, started, worker);
	},
	title(_, program) {
		return `${program}: the watchdog ends a process that waits for a file, also after a pause`;
	},
});

test(endsAfterPause, 'ours');
test(endsAfterPause, 'stock');

test('an idle process continues', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	service.start(...SHORT);
	const session = await service.session(t, port);
	await delay(LIMIT + 2000);
	t.true(await echoes(session));
});
