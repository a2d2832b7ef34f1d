/*
 * A process that does not come back to its clients keeps them waiting for ever, and
 * master(8) from starting another. Its own timers cannot tell: the kernel has to.
 */
import {execFileSync} from 'node:child_process';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import {Daemon, type Which} from '../helpers/daemon.ts';
import {Service, speaks} from '../helpers/master.ts';
import {echoPeer} from '../helpers/peer.ts';

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/* The shortest that stock takes. */
const SHORT = ['-o', 'tlsproxy_watchdog_timeout=10s'];
const LIMIT = 10_000;

/* Whoever opens a pipe for which there is no writer waits for one. */
const ends = test.macro<[which: Which]>({
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
		t.deepEqual(
			(await started.linesUpTo(/^fatal: /)).filter(line => /^(fatal|panic): /.test(line)),
			['fatal: watchdog timeout'],
		);
	},
	title(_, which) {
		return `${which}: an event loop that waits for a file ends by the watchdog, with status 1`;
	},
});

test(ends, 'ours');
test(ends, 'stock');

/* A stopped process gets its alarm when it goes on, before it can do anything else. */
test('a process that is stopped for longer than tlsproxy_watchdog_timeout ends by the watchdog', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const started = service.start(...SHORT);
	const session = await service.session(t, port);
	const {worker} = started;
	process.kill(worker, 'SIGSTOP');
	await delay(LIMIT + 1000);
	t.true(started.lives);
	process.kill(worker, 'SIGCONT');
	t.is(await started.end(), 1);
	t.is(String(await session.rest()), '');
	t.true(await started.gone());
});

test('a process that is stopped for less, and again, goes on', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const started = service.start(...SHORT);
	const session = await service.session(t, port);
	/* It shows a sign of life every three seconds: whenever it is stopped, there is time left. */
	for (let round = 0; round < 4; round++) {
		process.kill(started.worker, 'SIGSTOP');
		await delay(LIMIT * 0.3);
		process.kill(started.worker, 'SIGCONT');
		t.true(await speaks(session));
		await delay(500);
	}

	t.true(started.lives);
});

test('a process that has nothing to do goes on', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	service.start(...SHORT);
	const session = await service.session(t, port);
	await delay(LIMIT + 2000);
	t.true(await speaks(session));
});
