/* The watchdog of whole services is in test/daemon. */
import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import fc from 'fast-check';
import type {Milliseconds, Seconds} from '../../src/base/units.ts';
import {graceOf, watchdogStep} from '../../src/master/watchdog.ts';
import {pause} from '../helpers/pause.ts';

test('watchdogStep is a third of the limit, in whole seconds', t => {
	t.is(watchdogStep(10 as Seconds), 3000 as Milliseconds);
	t.is(watchdogStep(11 as Seconds), 3000 as Milliseconds);
	t.is(watchdogStep(12 as Seconds), 4000 as Milliseconds);
});

test('graceOf is the number of a signal that nothing else uses', t => {
	t.is(graceOf(10 as Seconds), 6 as Seconds);
	t.is(graceOf(56 as Seconds), 6 as Seconds);
	t.is(graceOf(57 as Seconds), 34 as Seconds);
	t.is(graceOf(100 as Seconds), 60 as Seconds);
	t.is(graceOf(1000 as Seconds), 64 as Seconds);
});

test('a running event loop restarts either timer before it expires, whatever the limit', t => {
	fc.assert(
		fc.property(fc.integer({min: 10, max: 2_000_000}), limit => {
			const step = watchdogStep(limit as Seconds);
			const grace = graceOf(limit as Seconds);
			t.true(step > 0 && step < (limit - grace) * 1000);
			t.true(grace >= 6 && grace < limit);
		}),
	);
});

const modules = {
	watchdog: join(import.meta.dirname, '..', '..', 'src', 'master', 'watchdog.ts'),
	libc: join(import.meta.dirname, '..', '..', 'src', 'ffi', 'libc', 'libc.ts'),
};

/* A process with a watchdog of ten seconds, which is in effect when this returns; then the process runs some code. */
async function watched(
	t: ExecutionContext,
	start: 'restart' | 'watchLoop',
	code: string,
	wrapper: readonly string[] = [],
): Promise<ChildProcess & {readonly pid: number}> {
	const script = `
		import {Watchdog} from ${JSON.stringify(modules.watchdog)};
		import {allocate} from ${JSON.stringify(modules.libc)};
		import koffi from 'koffi';
		const watchdog = new Watchdog(10);
		watchdog.${start}();
		console.log('in effect');
		${code}`;
	const node = [process.execPath, '--v8-pool-size=1', '--input-type=module', '-e', script];
	const child = spawn('env', [...wrapper, ...node], {detached: true, stdio: ['ignore', 'pipe', 'inherit']});
	const {pid} = child;
	if (pid === undefined) {
		throw new Error('cannot start a process');
	}

	t.teardown(() => {
		child.stdout.destroy();
		try {
			process.kill(-pid, 'SIGKILL');
		} catch {
			/* It has ended, and so have its children. */
		}
	});
	await once(child.stdout, 'data');
	return Object.assign(child, {pid});
}

/* The signal that a process is ended by, or its status. */
async function end(child: ChildProcess): Promise<string | number | null> {
	if (child.exitCode === null && child.signalCode === null) {
		await once(child, 'exit', {signal: AbortSignal.timeout(120_000)});
	}

	return child.signalCode ?? child.exitCode;
}

const BUSY = 'for (;;);';
const BLOCKED = 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);';
const BLOCKED_LATER = `setTimeout(() => { ${BLOCKED} }, 12_000);`;

test('a loop that is busy ends by SIGALRM', async t => {
	t.is(await end(await watched(t, 'watchLoop', BUSY)), 'SIGALRM');
});

test('a loop that is blocked ends by SIGALRM', async t => {
	t.is(await end(await watched(t, 'watchLoop', BLOCKED)), 'SIGALRM');
});

for (const [how, wrapper] of [
	['', []],
	['without timers of the kernel: ', ['prlimit', '--sigpending=0']],
] as const) {
	test(`${how}a loop that runs for longer than the limit, and is blocked then, ends by SIGALRM`, async t => {
		const child = await watched(t, 'watchLoop', BLOCKED_LATER, wrapper);
		await delay(11_000);
		t.is(child.signalCode, null);
		t.is(await end(child), 'SIGALRM');
	});
}

/*
 * The parent of vfork(2) waits as for a disk: only a signal that ends it reaches it, until
 * the child has become another program. This one never does.
 */
test('a loop that waits where no signal handler can run ends by SIGALRM', async t => {
	const child = await watched(
		t,
		'watchLoop',
		`const libc = koffi.load('libc.so.6');
		const clone = libc.func('int clone(void *fn, void *stack, int flags, void *arg)');
		const [CLONE_VFORK, SIGCHLD] = [0x4000, 17];
		const size = 65536;
		clone(libc.symbol('sleep'), allocate(size).address + BigInt(size), CLONE_VFORK | SIGCHLD, 1000n);`,
	);
	t.is(await end(child), 'SIGALRM');
});

test('abort(3) ends a process nevertheless', async t => {
	const quietly = ['sh', '-c', 'ulimit -c 0; exec "$@" 2>/dev/null', 'sh'];
	t.is(await end(await watched(t, 'watchLoop', 'process.abort();', quietly)), 'SIGABRT');
});

test('a process that is stopped for longer than the limit has time to restart the watchdog afterwards', async t => {
	const child = await watched(t, 'restart', 'setInterval(() => undefined, 100);');
	await pause([child.pid], 12_000);
	await delay(2000);
	t.is(child.signalCode, null);
	/* It does not. */
	t.is(await end(child), 'SIGALRM');
});

test('of two watchdogs the one that was started last is in effect', async t => {
	const child = await watched(
		t,
		'restart',
		'new Watchdog(1000).watchLoop(); setTimeout(() => process.exit(3), 12_000);',
	);
	t.is(await end(child), 3);
});
