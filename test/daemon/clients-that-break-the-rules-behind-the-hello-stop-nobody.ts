/*
 * Remote clients that renegotiate, and clients that send records larger than there
 * may be: each ends its own session, or is gone at its time limit, with the lines of
 * stock; and whoever means it is served meanwhile.
 */
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import type {Seconds} from '../../src/base/units.ts';
import {Daemon} from '../helpers/daemon.ts';
import {converse, FrontDoor, many, serverRole, type Visitor} from '../helpers/front-door.ts';
import {CertificateStore, ecdsa} from '../helpers/openssl.ts';
import {RawTls, TLS1_2_VERSION, TLS1_3_VERSION} from '../helpers/raw-tls.ts';

const COUNT = 200;
/** To the session time limit stock adds ten seconds, and so do we. */
const SESSION = {handshakeTimeout: 40 as Seconds, sessionTimeout: 1 as Seconds};

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {key: ecdsa});

let daemons: {readonly ours: Daemon; readonly stock: Daemon};
test.before(async () => {
	const main = serverRole(store.path('server.key'), store.path('server.cert'));
	const [ours, stock] = await Promise.all([Daemon.start('ours', {main}), Daemon.start('stock', {main})]);
	daemons = {ours, stock};
});
test.after.always(async () => {
	await Promise.all([daemons.ours[Symbol.asyncDispose](), daemons.stock[Symbol.asyncDispose]()]);
});

/** Completes a handshake; what comes behind it stays where it is. */
async function shakeHands(t: ExecutionContext, {remote}: Visitor, version: number): Promise<RawTls> {
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

/** Head of a record of that many bytes. */
const head = (type: number, size: number): Buffer => Buffer.from([type, 3, 3, size >> 8, size & 0xff]);

/** What a client does. It does not hang up. */
type Behaviour = (t: ExecutionContext, visitor: Visitor) => Promise<void>;

const behaviours: ReadonlyArray<readonly [what: string, behave: Behaviour]> = [
	[
		'renegotiates',
		async (t, visitor) => {
			const tls = await shakeHands(t, visitor, TLS1_2_VERSION);
			tls.renegotiate();
			visitor.remote.write(tls.take());
		},
	],
	[
		'updates its key a thousand times and wants as many answers',
		async (t, visitor) => {
			const tls = await shakeHands(t, visitor, TLS1_3_VERSION);
			for (let count = 0; count < 1000; count++) {
				tls.keyUpdate(true);
			}

			visitor.remote.write(tls.take());
		},
	],
	[
		'begins with a record of 65535 bytes',
		async (_, {remote}) => {
			remote.write(Buffer.concat([head(0x16, 0xffff), Buffer.alloc(0xffff, 1)]));
		},
	],
	[
		'sends a record of 65535 bytes behind its handshake',
		async (t, visitor) => {
			await shakeHands(t, visitor, TLS1_3_VERSION);
			visitor.remote.write(Buffer.concat([head(0x17, 0xffff), Buffer.alloc(0xffff, 1)]));
		},
	],
	[
		'sends a record that is one byte too long',
		async (t, visitor) => {
			await shakeHands(t, visitor, TLS1_2_VERSION);
			visitor.remote.write(Buffer.concat([head(0x17, 0x4801), Buffer.alloc(0x4801, 1)]));
		},
	],
];

/* Each of them with both programs. Nothing comes out of it for the local client. */
async function outcome(t: ExecutionContext, daemon: Daemon, behave: Behaviour): Promise<readonly string[]> {
	const endpoint = '[192.0.2.1]:25';
	const linesBefore = (await daemon.lines()).length;
	const door = await FrontDoor.open(t, daemon);
	const visitor = await door.visit(endpoint, SESSION);
	await behave(t, visitor);
	/* Either it is refused by then, or it has to hang up itself. */
	await delay(500);
	visitor.remote.end();
	t.is(String(await visitor.local.rest()), '');
	return await daemon.linesOf({endpoint, linesBefore});
}

for (const [what, behave] of behaviours) {
	test.serial(`a remote client that ${what} is logged as with stock`, async t => {
		const [ours, stock] = await Promise.all([
			outcome(t, daemons.ours, behave),
			outcome(t, daemons.stock, behave),
		]);
		t.true(stock.length >= 3);
		t.deepEqual(ours, stock);
	});
}

test.serial(
	`${COUNT} remote clients that do such things are gone in time, and others are served`,
	async t => {
		const daemon = daemons.ours;
		const door = await FrontDoor.open(t, daemon);
		await converse(t, await door.visit('[198.51.100.1]:25'));
		const {pid} = daemon;
		const descriptors = await daemon.descriptorsUpTo(39);
		const memory = daemon.memory();
		const crowd = many(COUNT, async index => {
			const visitor = await door.visit(`[192.0.2.${index % 4}]:${index}`, SESSION);
			await behaviours[index % behaviours.length]?.[1](t, visitor);
			return visitor;
		});
		for (let round = 0; round < 20; round++) {
			await converse(t, await door.visit('[198.51.100.1]:25'));
			await delay(20);
		}

		const growth = daemon.memory() - memory;
		t.log(`${Math.round(growth / COUNT / 1024)} kB each`);
		t.true(growth < COUNT * 128 * 1024);
		for (const {local} of await crowd) {
			t.is(String(await local.rest()), '');
		}

		t.true((await daemon.descriptorsUpTo(descriptors)) <= descriptors, 'descriptors are left over');
		t.is(daemon.pid, pid);
		await converse(t, await door.visit('[198.51.100.1]:25'));
	},
);
