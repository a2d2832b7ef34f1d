/*
 * A process whose event loop is busy or blocked keeps its clients waiting, and keeps
 * master(8) from starting another one: it ends within tlsproxy_watchdog_timeout. A process
 * that was stopped is not busy, however long it was stopped.
 */
import {execFileSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import {Daemon, type Program, statusOf} from '../helpers/daemon.ts';
import {echoes, endSession, Service} from '../helpers/master.ts';
import {pause} from '../helpers/pause.ts';
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

/* open(2) of a FIFO without a writer blocks. */
const ends = test.macro<[which: Program]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		const started = service.start(...SHORT);
		const session = await service.session(t, port);
		const pipe = join(daemon.sandbox.directory, `${service.name}.pem`);
		execFileSync('/bin/sh', ['-c', 'mkfifo -m 644 "$0"', pipe]);
		const {status} = await daemon.handOff(t, port, {init: {CAfile: pipe}}, service.name);
		t.is(status, -1);
		t.is(String(await session.rest()), '');
		t.is(await started.end(), 1);
		t.true(await started.gone());
		t.deepEqual((await started.linesUpTo(/^fatal: /)).filter(isFatal), ['fatal: watchdog timeout']);
	},
	title(_, which) {
		return `${which}: an event loop that waits for a file ends by the watchdog, with status 1`;
	},
});

test(ends, 'ours');
test(ends, 'stock');

const BUSY = 'for (;;);';
const BLOCKED = 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);';

const standsStill = test.macro<[what: string, code: string]>({
	async exec(t, what, code) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours');
		const module = join(daemon.sandbox.directory, `${what}.mjs`);
		writeFileSync(
			module,
			`if (process.env.TLSPROXY_ERRAND === undefined) {
				process.on('SIGUSR2', () => { ${code} });
			}`,
		);
		const started = service.startWith({NODE_OPTIONS: `--import=${module}`}, ...SHORT);
		const session = await service.session(t, port);
		process.kill(started.worker, 'SIGUSR2');
		t.is(String(await session.rest()), '');
		t.is(await started.end(), 1);
		t.true(await started.gone());
		t.deepEqual((await started.linesUpTo(/^fatal: /)).filter(isFatal), ['fatal: watchdog timeout']);
	},
	title(_, what) {
		return `an event loop that is ${what} ends by the watchdog, with status 1`;
	},
});

test(standsStill, 'busy', BUSY);
test(standsStill, 'blocked', BLOCKED);

interface Pause {
	readonly seconds: number;
	/** The processes that are stopped. With stock, they are the same. */
	readonly who: 'the worker' | 'all processes';
}

/* Two sessions: one is idle, the other one has data in transit during the pause. */
const goesOn = test.macro<[which: Program, pause: Pause]>({
	async exec(t, which, {seconds, who}) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		const started = service.start(...SHORT);
		const idle = await service.session(t, port);
		const used = await service.session(t, port);
		t.true(await echoes(used));
		const {worker} = started;
		const pids = who === 'the worker' ? [worker] : [...new Set([started.pid, worker])];
		const message = 'sent during the pause';
		await pause(pids, seconds * 1000, async () => await used.send(message));
		t.is(String(await used.bytes(message.length)), message);
		t.true(await echoes(idle));
		/* No timer that has expired in the pause ends the process later on. */
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
	title(_, which, {seconds, who}) {
		return `${which}: a pause of ${seconds} seconds of ${who} ends neither the process nor its sessions`;
	},
});

for (const seconds of [5, 12, 35]) {
	test(goesOn, 'ours', {seconds, who: 'the worker'});
	test(goesOn, 'ours', {seconds, who: 'all processes'});
	test(goesOn, 'stock', {seconds, who: 'the worker'});
}

/* A request must be complete within five seconds. The rest of this one arrives in time, but during a pause. */
const reads = test.macro<[which: Program]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		const started = service.start(...SHORT);
		const client = await service.greeted(t);
		const message = Buffer.concat(daemon.messages(`[127.0.0.1]:${port}`));
		const half = Math.trunc(message.length / 2);
		await client.send(message.subarray(0, half));
		await delay(1000);
		await pause([started.worker], LIMIT + 2000, async () => await client.send(message.subarray(half)));
		t.is(statusOf(await client.list()), 1);
	},
	title(_, which) {
		return `${which}: a request that is completed while the process is stopped is served`;
	},
});

test(reads, 'ours');
test(reads, 'stock');

/* Each time the event loop has little time between two pauses to show that it runs. */
const again = test.macro<[which: Program]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
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
	title(_, which) {
		return `${which}: a process that is stopped again and again goes on`;
	},
});

test(again, 'ours');
test(again, 'stock');

/* The pause neither ends the process nor saves it. */
const endsAfterPause = test.macro<[which: Program]>({
	async exec(t, which) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, which);
		const started = service.start(...SHORT);
		const session = await service.session(t, port);
		const pipe = join(daemon.sandbox.directory, `${service.name}.pem`);
		execFileSync('/bin/sh', ['-c', 'mkfifo -m 644 "$0"', pipe]);
		const handOff = daemon.handOff(t, port, {init: {CAfile: pipe}}, service.name);
		/* The request is there when the pause begins, or comes in during the pause. */
		await delay(500);
		await pause([started.worker], LIMIT + 2000);
		t.is((await handOff).status, -1);
		t.is(String(await session.rest()), '');
		t.is(await started.end(), 1);
		t.deepEqual((await started.linesUpTo(/^fatal: /)).filter(isFatal), ['fatal: watchdog timeout']);
	},
	title(_, which) {
		return `${which}: an event loop that waits for a file ends by the watchdog even if the process is stopped meanwhile`;
	},
});

test(endsAfterPause, 'ours');
test(endsAfterPause, 'stock');

test('a process that has nothing to do goes on', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	service.start(...SHORT);
	const session = await service.session(t, port);
	await delay(LIMIT + 2000);
	t.true(await echoes(session));
});
