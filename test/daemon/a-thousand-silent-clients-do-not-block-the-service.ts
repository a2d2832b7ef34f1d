/*
 * Remote SMTP clients that connect, request TLS and then send nothing, or one byte at a
 * time. Each of them costs one handshake time limit, and other clients are served in the
 * meantime.
 */
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import type {Seconds} from '../../src/base/units.ts';
import {Daemon} from '../helpers/daemon.ts';
import {CertificateStore, ecdsa} from '../helpers/openssl.ts';
import {RawTls, TLS1_3_VERSION} from '../helpers/raw-tls.ts';
import {
	completeSession,
	type RemoteClient,
	RemoteListener,
	runConcurrently,
	serverRoleParameters,
} from '../helpers/remote-clients.ts';

const COUNT = 1000;
/*
 * Handshake time limits. All clients must be connected at once, so the limit has to exceed
 * the time in which this machine connects them: the next limit is used if the last was too short.
 */
const TIME_LIMITS = [20, 60, 140] as readonly number[] as readonly Seconds[];
/** Limit for the memory of one waiting session, in bytes. */
const SESSION_MEMORY_LIMIT = 64 * 1024;

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {key: ecdsa});

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('ours', {
		main: serverRoleParameters(store.path('server.key'), store.path('server.cert')),
	});
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/** Every attempt uses different ports, so that its log lines are distinguishable. */
const endpoint = (attempt: number, index: number): string =>
	`[192.0.2.${index % 4}]:${10_000 * (attempt + 1) + index}`;
const wellBehaved = '[198.51.100.1]:25';

/** The behavior of the clients until they are disconnected. */
type Behavior = (clients: readonly RemoteClient[]) => Promise<void>;

/** The clients of one attempt, each of them waiting in its handshake. */
interface Crowd {
	readonly clients: readonly RemoteClient[];
	/** Resolves when the daemon has closed all sessions. */
	readonly ended: Promise<unknown>;
	/** Memory that the daemon needs for them, in bytes. */
	readonly growth: number;
	/** False if the first sessions had reached the time limit before the last had started. */
	readonly complete: boolean;
}

async function connectCrowd(
	t: ExecutionContext,
	door: RemoteListener,
	attempt: number,
	handshakeTimeout: Seconds,
	behave: Behavior,
): Promise<Crowd> {
	const memory = daemon.memory();
	const clients = await runConcurrently(
		COUNT,
		async index => await door.visit(endpoint(attempt, index), {handshakeTimeout}),
	);
	const ended = Promise.all([behave(clients), ...clients.map(async ({local}) => await local.rest())]);
	const isComplete = (): boolean => clients.every(({local}) => !local.ended);
	/* Two descriptors per session. The number of others varies with the connections to tlsmgr(8). */
	await daemon.sandbox.waitFor(() => !isComplete() || daemon.descriptors() >= 2 * COUNT);
	for (let round = 0; round < 20; round++) {
		await completeSession(t, await door.visit(wellBehaved));
	}

	return {clients, ended, growth: daemon.memory() - memory, complete: isComplete()};
}

const served = test.macro<[what: string, behave: Behavior]>({
	async exec(t, _, behave) {
		const door = await RemoteListener.open(t, daemon);
		await completeSession(t, await door.visit(wellBehaved));
		const {pid} = daemon;
		const descriptors = await daemon.descriptorsUpTo(59);
		for (const [attempt, limit] of TIME_LIMITS.entries()) {
			const known = (await daemon.lines()).length;
			const started = performance.now();
			const {clients, ended, growth, complete} = await connectCrowd(t, door, attempt, limit, behave);
			t.log(
				`limit ${limit} s: ${Math.round(growth / COUNT / 1024)} kB each, ${Math.round(performance.now() - started)} ms`,
			);
			await ended;
			t.true((await daemon.descriptorsUpTo(descriptors)) <= descriptors, 'descriptors leak');
			t.is(daemon.pid, pid);
			if (!complete) {
				continue;
			}

			t.is(clients.length, COUNT);
			t.true(growth < COUNT * SESSION_MEMORY_LIMIT);
			const ports = new RegExp(String.raw`\[192\.0\.2\.\d\]:${attempt + 1}\d{4}\b`);
			const lines = async (): Promise<readonly string[]> =>
				(await daemon.lines()).slice(known).filter(line => ports.test(line));
			/* Four lines per client: CONNECT, the timeout, the failed handshake, DISCONNECT. */
			t.true(await daemon.sandbox.waitFor(async () => (await lines()).length === 4 * COUNT));
			const timeouts = (await lines()).filter(line =>
				/^warning: ciphertext read\/write timeout for \[192\.0\.2\.\d\]:\d+$/.test(line),
			);
			t.is(timeouts.length, COUNT);
			await completeSession(t, await door.visit(wellBehaved));
			return;
		}

		t.fail(`${COUNT} clients were never connected at once`);
	},
	title(_, what) {
		return `${COUNT} remote clients that ${what} are disconnected at their time limit, and others are served meanwhile`;
	},
});

test.serial(served, 'stay silent', async () => undefined);

test.serial(served, 'send one byte per second', async clients => {
	using client = new RawTls(TLS1_3_VERSION);
	client.handshake();
	const hello = client.take();
	for (let at = 0; clients.some(({local}) => !local.ended); at++) {
		for (const {remote} of clients) {
			remote.write(hello.subarray(at, at + 1));
		}

		await delay(1000);
	}
});
