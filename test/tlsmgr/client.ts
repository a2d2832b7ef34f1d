/* The real tlsmgr(8), and servers that are slow, dead or talk nonsense. */
import {once} from 'node:events';
import {mkdtempSync, rmSync} from 'node:fs';
import {createServer, type Socket} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {Sandbox} from '../../postfix/lib/sandbox.ts';
import {DeadlineClock} from '../../src/event/deadline.ts';
import {Reactor} from '../../src/event/reactor.ts';
import {close as closeDescriptor} from '../../src/ffi/libc.ts';
import {TlsManager} from '../../src/tlsmgr/client.ts';
import type {CachePolicy} from '../../src/tlsmgr/message.ts';
import type {Milliseconds} from '../../src/units.ts';
import {printList} from '../../src/wire/attr.ts';
import {collectLog} from '../helpers/openssl.ts';

const reactor = new Reactor(closeDescriptor);
const clock = new DeadlineClock();
test.after.always(() => reactor[Symbol.dispose]());

function managerAt(t: ExecutionContext, path: string, idle = 5000): TlsManager {
	const manager = new TlsManager(reactor, clock, {path, greeting: true, idle: idle as Milliseconds});
	t.teardown(() => manager[Symbol.dispose]());
	return manager;
}

async function lookup(manager: TlsManager, id: string): Promise<string | undefined> {
	return await new Promise(resolve => {
		manager.lookup('smtp', id, session => resolve(session === undefined ? undefined : String(session)));
	});
}

async function update(manager: TlsManager, id: string, session: string): Promise<boolean> {
	return await new Promise(resolve => {
		manager.update('smtp', id, Buffer.from(session), resolve);
	});
}

async function policy(manager: TlsManager, type: string): Promise<CachePolicy | undefined> {
	return await new Promise(resolve => {
		manager.policy(type, resolve);
	});
}

test.serial('the real tlsmgr keeps what it is given, and says for how long', async t => {
	const log = collectLog();
	await using sandbox = await Sandbox.create({
		tlsproxy: 'none',
		main: {
			smtp_tls_session_cache_database: 'btree:${data_directory}/smtp_scache',
			smtp_tls_session_cache_timeout: '1234s',
		},
	});
	await sandbox.start();
	const manager = managerAt(t, join(sandbox.queueDirectory, 'private', 'tlsmgr'));
	t.deepEqual(await policy(manager, 'smtp'), {cachable: true, timeout: 1234});
	t.is((await policy(manager, 'lmtp'))?.cachable, false);
	t.is(await policy(manager, 'none'), undefined);

	t.is(await lookup(manager, 'a'), undefined);
	t.true(await update(manager, 'a', 'session of a'));
	t.is(await lookup(manager, 'a'), 'session of a');
	t.is(await lookup(manager, 'b'), undefined);

	/* Many at once: more than there are connections. */
	const names = Array.from({length: 200}, (_, index) => `name ${index}`);
	const stored = await Promise.all(names.map(async name => await update(manager, name, `of ${name}`)));
	t.true(stored.every(Boolean));
	const found = await Promise.all(names.map(async name => await lookup(manager, name)));
	t.deepEqual(
		found,
		names.map(name => `of ${name}`),
	);
	t.deepEqual(log, []);
});

const greeting = printList([['protocol', 'tlsmgr_protocol']]);
const found = printList([
	['status', '0'],
	['session', Buffer.from('kept').toString('base64')],
]);

/** A server that does something of its own with each connection. Returns its path. */
async function scripted(t: ExecutionContext, run: (socket: Socket) => void): Promise<string> {
	const directory = mkdtempSync(join(tmpdir(), 'tlsmgr-'));
	const sockets = new Set<Socket>();
	const server = createServer(socket => {
		sockets.add(socket);
		socket.on('error', () => undefined);
		run(socket);
	}).listen(join(directory, 'socket'));
	t.teardown(() => {
		server.close();
		for (const socket of sockets) {
			socket.destroy();
		}

		rmSync(directory, {recursive: true});
	});
	await once(server, 'listening');
	return join(directory, 'socket');
}

/** What answers each request with the same bytes. */
function answering(bytes: Uint8Array): (socket: Socket) => void {
	return socket => {
		socket.write(greeting);
		socket.on('data', () => socket.write(bytes));
	};
}

test.serial('replies can be cut anywhere', async t => {
	const log = collectLog();
	const path = await scripted(t, socket => {
		socket.setNoDelay();
		const trickle = async (bytes: Uint8Array): Promise<void> => {
			for (const byte of bytes) {
				await new Promise(resolve => {
					socket.write(Uint8Array.of(byte), resolve);
				});
			}
		};
		void trickle(greeting);
		socket.on('data', () => void trickle(found));
	});
	const manager = managerAt(t, path);
	t.is(await lookup(manager, 'a'), 'kept');
	t.is(await lookup(manager, 'b'), 'kept');
	t.deepEqual(log, []);
});

test.serial('one request at a time is sent on a connection', async t => {
	let overlapping = 0;
	const path = await scripted(t, socket => {
		socket.write(greeting);
		let busy = false;
		socket.on('data', bytes => {
			overlapping += busy || String(bytes).split('request').length !== 2 ? 1 : 0;
			busy = true;
			setTimeout(() => {
				busy = false;
				socket.write(found);
			}, 2);
		});
	});
	const manager = managerAt(t, path);
	const all = await Promise.all(
		Array.from({length: 50}, async (_, index) => await lookup(manager, String(index))),
	);
	t.deepEqual(new Set(all), new Set(['kept']));
	t.is(overlapping, 0);
});

/* Whatever goes wrong: nothing is found, in time, and one line says why. */
const fails = test.macro<[what: string, run: (socket: Socket) => void, why: string | undefined]>({
	async exec(t, _, run, why) {
		const log = collectLog();
		const path = await scripted(t, run);
		const manager = managerAt(t, path);
		const answers = await Promise.all([lookup(manager, 'a'), lookup(manager, 'b'), lookup(manager, 'c')]);
		t.deepEqual(answers, [undefined, undefined, undefined]);
		t.true(log.length > 0 || why === undefined);
		t.true(
			log.every(line => line === `warning: problem talking to server ${path}: ${why}`),
			log.join('\n'),
		);
		/* It is left alone for a while then. */
		const before = log.length;
		if (why !== undefined && why !== 'no status') {
			t.is(await lookup(manager, 'd'), undefined);
			t.is(log.length, before);
		}
	},
	title(_, what) {
		return `a server that ${what}: nothing is found`;
	},
});
test.serial(fails, 'closes at once', socket => socket.end(), 'Connection closed by server');
test.serial(
	fails,
	'closes when it is asked',
	socket => {
		socket.write(greeting);
		socket.once('data', () => socket.end());
	},
	'Connection closed by server',
);
test.serial(fails, 'never says a word', () => undefined, 'Connection timed out');
test.serial(fails, 'never answers', socket => socket.write(greeting), 'Connection timed out');
test.serial(
	fails,
	'is somebody else',
	socket => socket.write(printList([['protocol', 'anvil_protocol']])),
	'no greeting of tlsmgr',
);
test.serial(fails, 'answers twice', answering(Buffer.concat([found, found])), 'more than was asked for');
test.serial(
	fails,
	'answers without end',
	answering(Buffer.alloc(100_000, 'x')),
	'attribute name or value exceeds 65536 bytes',
);
test.serial(
	fails,
	'says that there is none',
	answering(
		printList([
			['status', '4294967295'],
			['session', 'QQ=='],
		]),
	),
	undefined,
);

test.serial('a reply that is none is a warning, and nothing more', async t => {
	const log = collectLog();
	const path = await scripted(t, answering(printList([['session', 'QQ==']])));
	const manager = managerAt(t, path);
	t.is(await lookup(manager, 'a'), undefined);
	t.deepEqual(log, [`warning: problem talking to server ${path}: tlsmgr reply: no status`]);
});

test.serial('without a server nothing is found, at once', async t => {
	const log = collectLog();
	const manager = managerAt(t, '/nowhere/tlsmgr');
	t.deepEqual(await Promise.all([lookup(manager, 'a'), lookup(manager, 'b')]), [undefined, undefined]);
	t.false(await update(manager, 'a', 'x'));
	t.deepEqual(log, ['warning: problem talking to server /nowhere/tlsmgr: No such file or directory']);
});

test.serial('a connection is closed when there was nothing to ask for a while, and made again', async t => {
	const log = collectLog();
	let connections = 0;
	const {promise: closed, resolve: close} = Promise.withResolvers<void>();
	const path = await scripted(t, socket => {
		connections++;
		answering(found)(socket);
		socket.on('close', () => close());
	});
	const manager = managerAt(t, path, 10);
	t.is(await lookup(manager, 'a'), 'kept');
	await closed;
	t.is(await lookup(manager, 'b'), 'kept');
	t.is(connections, 2);
	t.deepEqual(log, []);
});

test.serial('disposal answers what is open', async t => {
	collectLog();
	const manager = managerAt(t, await scripted(t, socket => socket.write(greeting)));
	const answers = Promise.all([lookup(manager, 'a'), lookup(manager, 'b'), lookup(manager, 'c')]);
	manager[Symbol.dispose]();
	t.deepEqual(await answers, [undefined, undefined, undefined]);
});
