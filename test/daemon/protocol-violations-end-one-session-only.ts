/*
 * Remote clients that renegotiate, and clients that send records larger than the limit.
 * Each of them ends its session, at once or at the time limit, the log has the lines of
 * stock, and other clients are served meanwhile.
 */
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import type {Seconds} from '../../src/base/units.ts';
import {Daemon} from '../helpers/daemon.ts';
import {CertificateStore, ecdsa} from '../helpers/openssl.ts';
import {RawTls, TLS1_2_VERSION, TLS1_3_VERSION} from '../helpers/raw-tls.ts';
import {
	completeSession,
	type RemoteClient,
	RemoteListener,
	runConcurrently,
	serverRoleParameters,
} from '../helpers/remote-clients.ts';

const COUNT = 200;
/** Like stock, tlsproxy(8) adds ten seconds to the session time limit. */
const SESSION = {handshakeTimeout: 100 as Seconds, sessionTimeout: 1 as Seconds};

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {key: ecdsa});

let daemons: {readonly ours: Daemon; readonly stock: Daemon};
test.before(async () => {
	const main = serverRoleParameters(store.path('server.key'), store.path('server.cert'));
	const [ours, stock] = await Promise.all([Daemon.start('ours', {main}), Daemon.start('stock', {main})]);
	daemons = {ours, stock};
});
test.after.always(async () => {
	await Promise.all([daemons.ours[Symbol.asyncDispose](), daemons.stock[Symbol.asyncDispose]()]);
});

/** Completes a handshake, and leaves later bytes unread. */
async function completeHandshake(
	t: ExecutionContext,
	{remote}: RemoteClient,
	version: number,
): Promise<RawTls> {
	const tls = new RawTls(version);
	t.teardown(() => tls[Symbol.dispose]());
	const done = new Promise<void>(resolve => {
		remote.on('data', (bytes: Buffer) => {
			tls.feed(bytes);
			const complete = tls.handshake();
			remote.write(tls.take());
			if (complete) {
				remote.removeAllListeners('data').pause();
				resolve();
			}
		});
	});
	tls.handshake();
	remote.write(tls.take());
	await done;
	return tls;
}

/** The header of a record with that many bytes. */
const head = (type: number, size: number): Buffer => Buffer.from([type, 3, 3, size >> 8, size & 0xff]);

/** The behavior of a client. It does not close the connection. */
type Behavior = (t: ExecutionContext, client: RemoteClient) => Promise<void>;

const behaviors: ReadonlyArray<readonly [what: string, behave: Behavior]> = [
	[
		'renegotiates',
		async (t, client) => {
			const tls = await completeHandshake(t, client, TLS1_2_VERSION);
			tls.renegotiate();
			client.remote.write(tls.take());
		},
	],
	[
		'sends a thousand key updates that request an answer',
		async (t, client) => {
			const tls = await completeHandshake(t, client, TLS1_3_VERSION);
			for (let count = 0; count < 1000; count++) {
				tls.keyUpdate(true);
			}

			client.remote.write(tls.take());
		},
	],
	[
		'begins with a record of 65535 bytes',
		async (_, {remote}) => {
			remote.write(Buffer.concat([head(0x16, 0xffff), Buffer.alloc(0xffff, 1)]));
		},
	],
	[
		'sends a record of 65535 bytes after its handshake',
		async (t, client) => {
			await completeHandshake(t, client, TLS1_3_VERSION);
			client.remote.write(Buffer.concat([head(0x17, 0xffff), Buffer.alloc(0xffff, 1)]));
		},
	],
	[
		'sends a record that is one byte too long',
		async (t, client) => {
			await completeHandshake(t, client, TLS1_2_VERSION);
			client.remote.write(Buffer.concat([head(0x17, 0x4801), Buffer.alloc(0x4801, 1)]));
		},
	],
];

/* The lines about one client. The local client receives no data. */
async function outcome(t: ExecutionContext, daemon: Daemon, behave: Behavior): Promise<readonly string[]> {
	const endpoint = '[192.0.2.1]:25';
	const linesBefore = (await daemon.lines()).length;
	const door = await RemoteListener.open(t, daemon);
	const client = await door.visit(endpoint, SESSION);
	await behave(t, client);
	/* A client that is answered, and not disconnected, has to close the connection itself. */
	const {remote, local} = client;
	let answered = false;
	remote.once('data', () => {
		answered = true;
	});
	remote.resume();
	t.true(await daemon.sandbox.waitFor(() => answered || local.ended), 'no answer');
	remote.end();
	t.is(String(await local.rest()), '');
	return await daemon.linesOf({endpoint, linesBefore});
}

for (const [what, behave] of behaviors) {
	test.serial(`a remote client that ${what} is logged as by stock`, async t => {
		const [ours, stock] = await Promise.all([
			outcome(t, daemons.ours, behave),
			outcome(t, daemons.stock, behave),
		]);
		t.true(stock.length >= 3);
		t.deepEqual(ours, stock);
	});
}

test.serial(`${COUNT} remote clients that do so are disconnected in time, and others are served`, async t => {
	const daemon = daemons.ours;
	const door = await RemoteListener.open(t, daemon);
	await completeSession(t, await door.visit('[198.51.100.1]:25'));
	const {pid} = daemon;
	const descriptors = await daemon.descriptorsUpTo(39);
	const memory = daemon.memory();
	const clients = runConcurrently(COUNT, async index => {
		const client = await door.visit(`[192.0.2.${index % 4}]:${index}`, SESSION);
		await behaviors[index % behaviors.length]?.[1](t, client);
		return client;
	});
	for (let round = 0; round < 20; round++) {
		await completeSession(t, await door.visit('[198.51.100.1]:25'));
		await delay(20);
	}

	const growth = daemon.memory() - memory;
	t.log(`${Math.round(growth / COUNT / 1024)} kB each`);
	t.true(growth < COUNT * 128 * 1024);
	for (const {local} of await clients) {
		t.is(String(await local.rest()), '');
	}

	t.true((await daemon.descriptorsUpTo(descriptors)) <= descriptors, 'descriptors leak');
	t.is(daemon.pid, pid);
	await completeSession(t, await door.visit('[198.51.100.1]:25'));
});
