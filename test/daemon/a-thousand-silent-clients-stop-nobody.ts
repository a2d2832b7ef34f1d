/*
 * Remote clients that connect, ask for TLS and then say nothing, or next to nothing:
 * each costs its time limit and no more, whatever it does; and whoever means it is
 * served meanwhile.
 */
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import type {Seconds} from '../../src/base/units.ts';
import {Daemon} from '../helpers/daemon.ts';
import {converse, FrontDoor, many, serverRole, type Visitor} from '../helpers/front-door.ts';
import {CertificateStore, ecdsa} from '../helpers/openssl.ts';
import {RawTls, TLS1_3_VERSION} from '../helpers/raw-tls.ts';

const COUNT = 1000;
/** Long enough for all of them to be there at once. */
const LIMIT = 20 as Seconds;
/** Memory for one that is waiting. */
const PER_SESSION = 64 * 1024;

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {key: ecdsa});

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('ours', {
		main: serverRole(store.path('server.key'), store.path('server.cert')),
	});
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

const endpoint = (index: number): string => `[192.0.2.${index % 4}]:${10_000 + index}`;
const honest = '[198.51.100.1]:25';

/** What the crowd does, until it is gone. */
type Behaviour = (crowd: readonly Visitor[]) => Promise<void>;

const served = test.macro<[what: string, behave: Behaviour]>({
	async exec(t: ExecutionContext, _, behave) {
		const door = await FrontDoor.open(t, daemon);
		await converse(t, await door.visit(honest));
		const {pid} = daemon;
		const descriptors = await daemon.descriptorsUpTo(59);
		const memory = daemon.memory();
		const known = (await daemon.lines()).length;

		const started = performance.now();
		const crowd = await many(
			COUNT,
			async index => await door.visit(endpoint(index), {handshakeTimeout: LIMIT}),
		);
		const ended = Promise.all(crowd.map(async ({local}) => await local.rest()));
		const behaviour = behave(crowd);
		t.true(
			await daemon.sandbox.waitFor(() => daemon.descriptors() >= descriptors + 2 * COUNT, LIMIT * 1000),
			'not all of them are there',
		);
		for (let round = 0; round < 20; round++) {
			await converse(t, await door.visit(honest));
		}

		t.is(crowd.filter(({local}) => local.ended).length, 0, 'some of them are gone already');
		const growth = daemon.memory() - memory;
		t.log(`${Math.round(growth / COUNT / 1024)} kB each, ${Math.round(performance.now() - started)} ms`);
		t.true(growth < COUNT * PER_SESSION);

		await ended;
		await behaviour;
		t.true((await daemon.descriptorsUpTo(descriptors)) <= descriptors, 'descriptors are left over');
		t.is(daemon.pid, pid);
		const lines = async (): Promise<readonly string[]> =>
			(await daemon.lines()).slice(known).filter(line => line.includes('192.0.2.'));
		/* For each of them: CONNECT, the timeout, that the handshake has failed, DISCONNECT. */
		t.true(await daemon.sandbox.waitFor(async () => (await lines()).length === 4 * COUNT));
		const timeouts = (await lines()).filter(line =>
			/^warning: ciphertext read\/write timeout for \[192\.0\.2\.\d\]:\d+$/.test(line),
		);
		t.is(timeouts.length, COUNT);
		await converse(t, await door.visit(honest));
	},
	title(_, what) {
		return `${COUNT} remote clients that ${what} are gone at their time limit, and others are served meanwhile`;
	},
});

test.serial(served, 'stay silent', async () => undefined);

test.serial(served, 'send one byte a second', async crowd => {
	using client = new RawTls(TLS1_3_VERSION);
	client.handshake();
	const hello = client.take();
	for (let at = 0; crowd.some(({local}) => !local.ended); at++) {
		for (const {remote} of crowd) {
			remote.write(hello.subarray(at, at + 1));
		}

		await delay(1000);
	}
});
