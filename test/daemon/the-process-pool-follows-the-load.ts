/*
 * One process serves thousands of sessions; more than one processor core needs more than
 * one process. master(8) starts a process when all others have reported "taken", and far
 * too many if they report it too early.
 */
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import type {LocalClient} from '../helpers/client.ts';
import {Daemon, type HandoffOptions} from '../helpers/daemon.ts';
import {echoes, endSession} from '../helpers/master.ts';
import {CertificateStore} from '../helpers/openssl.ts';
import {cpuTime, timeToGreeting} from '../helpers/processes.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
/* With this key, a signature costs ten times as much as its verification by the server. */
store.make('client', {key: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096']});
const files = {cert_file: store.path('client.cert'), key_file: store.path('client.key')};
const options: HandoffOptions = {init: files, start: {log_level: '0'}};

const AT_ONCE = 400;

async function start(processLimit: number, main: Readonly<Record<string, string>> = {}): Promise<Daemon> {
	return await Daemon.start('ours', {
		processLimit,
		main: {
			smtp_tls_cert_file: files.cert_file,
			smtp_tls_key_file: files.key_file,
			smtp_tls_loglevel: '0',
			/* It is also the length of the listen queue. */
			default_process_limit: '500',
			max_use: '100000',
			max_idle: '3s',
			...main,
		},
	});
}

/** An echo server that requests a client certificate. */
async function server(t: ExecutionContext): Promise<number> {
	return await echoPeer(t, {requestCert: true, rejectUnauthorized: false});
}

async function session(t: ExecutionContext, daemon: Daemon, port: number): Promise<LocalClient> {
	const {client, report} = await daemon.handOff(t, port, options);
	t.truthy(report);
	return client;
}

/** Runs sessions, many at a time. Returns the elapsed time, in milliseconds. */
async function storm(t: ExecutionContext, daemon: Daemon, port: number, count: number): Promise<number> {
	const begin = performance.now();
	let begun = 0;
	await Promise.all(
		Array.from({length: AT_ONCE}, async () => {
			while (begun < count) {
				begun++;
				await endSession(await session(t, daemon, port));
			}
		}),
	);
	return performance.now() - begin;
}

/** Polls the process pool for the time of its second process, and for its maximal size. */
function observe(daemon: Daemon): {stop(): Promise<{readonly second: number; readonly most: number}>} {
	const begin = performance.now();
	const end = new AbortController();
	let second = Infinity;
	let most = 0;
	const polling = (async () => {
		while (!end.signal.aborted) {
			const count = daemon.sandbox.daemonPids('tlsproxy').length;
			most = Math.max(most, count);
			if (count > 1) {
				second = Math.min(second, performance.now() - begin);
			}

			await delay(20);
		}
	})();
	return {
		async stop() {
			end.abort();
			await polling;
			return {second, most};
		},
	};
}

test.serial(
	`${AT_ONCE} handshakes at once start a second process, and no third; all are served, and both processes end`,
	async t => {
		const port = await server(t);
		const count = 1200;
		let alone = 0;
		{
			await using daemon = await start(1);
			await endSession(await session(t, daemon, port));
			alone = await storm(t, daemon, port, count);
		}

		await using daemon = await start(2);
		await endSession(await session(t, daemon, port));
		t.is(daemon.sandbox.tlsproxyWorkers().length, 1);
		const observed = observe(daemon);
		const together = await storm(t, daemon, port, count);
		const {second, most} = await observed.stop();
		const work = daemon.sandbox.tlsproxyWorkers().map(cpuTime);
		t.log(
			`second process after ${Math.round(second)} ms; ${count} handshakes in ${Math.round(together)} ms, CPU ${work.join(' and ')} ms; one process needs ${Math.round(alone)} ms`,
		);
		t.is(most, 2);
		t.is(work.length, 2);
		/* Both have served sessions. */
		t.true(Math.min(...work) > Math.max(...work) / 10, work.join(' '));
		t.true(await daemon.sandbox.waitFor(() => daemon.sandbox.daemonPids('tlsproxy').length === 0));
		t.deepEqual(await daemon.sandbox.logLines(/exit status|throttl|panic|fatal|error:|killed/), []);
	},
);

test.serial(
	'clients that connect one after the other, or wait for the first process, start few processes',
	async t => {
		const port = await server(t);
		for (const processLimit of [0, 20]) {
			await using daemon = await start(processLimit);
			const observed = observe(daemon);
			/* All of them are connected before a process accepts. */
			await Promise.all(Array.from({length: 20}, () => timeToGreeting(daemon)));
			for (let count = 0; count < 20; count++) {
				await endSession(await session(t, daemon, port));
				await delay(20);
			}

			const {most} = await observed.stop();
			/* On a slow machine, clients one after the other are a load that starts more processes. */
			t.true(most <= 5, `${most} processes with limit ${processLimit}`);
		}
	},
);

test.serial('many handshakes without a process limit start few processes', async t => {
	const port = await server(t);
	await using daemon = await start(0);
	const observed = observe(daemon);
	const time = await storm(t, daemon, port, 600);
	const {most} = await observed.stop();
	t.log(`${most} processes in ${Math.round(time)} ms`);
	/* At most one per time that a process needs to start. */
	t.true(most <= 2 + time / 100);
});

test.serial('open sessions do not keep a process busy: the pool shrinks', async t => {
	const port = await server(t);
	await using daemon = await start(2);
	const open = await Promise.all(Array.from({length: 20}, () => session(t, daemon, port)));
	await storm(t, daemon, port, 600);
	await delay(4500);
	const left = daemon.sandbox.tlsproxyWorkers();
	t.true(left.length >= 1);
	for (const client of open) {
		t.true(await echoes(client));
	}

	const before = left.map(cpuTime);
	await delay(2000);
	const used = left.map((pid, index) => cpuTime(pid) - (before[index] ?? 0));
	t.log(`${left.length} processes, CPU in 2 s: ${used.join(' and ')} ms`);
	t.true(used.every(time => time < 200));
	for (const client of open) {
		await endSession(client);
	}

	t.true(await daemon.sandbox.waitFor(() => daemon.sandbox.daemonPids('tlsproxy').length === 0));
});
