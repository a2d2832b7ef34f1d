/* The real tlsmgr(8), and servers that are slow, dead or talk nonsense. */
import type {Socket} from 'node:net';
import {join} from 'node:path';
import test from 'ava';
import {Sandbox} from '../../postfix/lib/sandbox.ts';
import {SESSION_LIMIT} from '../../src/tlsmgr/message.ts';
import type {TlsmgrClient} from '../../src/tlsmgr/tlsmgr-client.ts';
import {printList} from '../../src/wire/attribute-list.ts';
import type {TicketKey} from '../../src/wire/ticket-key.ts';
import {collectLog} from '../helpers/openssl.ts';
import {answer, answering, found, greeting, lookup, managerAt, movableClock, scripted} from './_server.ts';

async function update(tlsmgr: TlsmgrClient, id: string, session: string | Buffer): Promise<boolean> {
	return await answer(done => tlsmgr.update('smtp', id, Buffer.from(session), done));
}

test.serial('the real tlsmgr is understood, whatever it is asked', async t => {
	const log = collectLog();
	movableClock(t);
	await using sandbox = await Sandbox.create({
		tlsproxy: 'none',
		main: {
			smtp_tls_session_cache_database: 'btree:${data_directory}/smtp_scache',
			smtp_tls_session_cache_timeout: '1234s',
		},
	});
	await sandbox.start();
	const tlsmgr = managerAt(t, join(sandbox.queueDirectory, 'private', 'tlsmgr'));
	t.deepEqual(await answer(done => tlsmgr.policy('smtp', done)), {cachable: true, timeout: 1234});
	t.like(await answer(done => tlsmgr.policy('lmtp', done)), {cachable: false});
	t.is(await answer(done => tlsmgr.policy('none', done)), undefined);

	t.is(await lookup(tlsmgr, 'a'), undefined);
	t.true(await update(tlsmgr, 'a', 'session of a'));
	t.is(await lookup(tlsmgr, 'a'), 'session of a');
	t.is(await lookup(tlsmgr, 'b'), undefined);
	t.false(await answer(done => tlsmgr.update('lmtp', 'a', Buffer.from('x'), done)));
	t.true(await answer(done => tlsmgr.delete('smtp', 'a', done)));
	t.false(await answer(done => tlsmgr.delete('smtp', 'a', done)));
	t.is(await lookup(tlsmgr, 'a'), undefined);

	const key = await answer<TicketKey | undefined>(done => tlsmgr.ticketKey(undefined, done));
	t.true((key?.expires ?? 0) > Date.now() / 1000);
	t.deepEqual(await answer(done => tlsmgr.ticketKey(key?.name, done)), key);
	t.is(await answer(done => tlsmgr.ticketKey(Buffer.alloc(16), done)), undefined);

	/* Many at once: more than there are connections. */
	const names = Array.from({length: 200}, (_, index) => `name ${index}`);
	const stored = await Promise.all(names.map(async name => await update(tlsmgr, name, `of ${name}`)));
	t.true(stored.every(Boolean));
	t.deepEqual(
		await Promise.all(names.map(async name => await lookup(tlsmgr, name))),
		names.map(name => `of ${name}`),
	);

	/* One that could not be read back costs the connection when it is looked up. */
	t.true(await update(tlsmgr, 'largest', Buffer.alloc(SESSION_LIMIT, 'x')));
	t.is((await lookup(tlsmgr, 'largest'))?.length, SESSION_LIMIT);
	t.false(await update(tlsmgr, 'larger', Buffer.alloc(SESSION_LIMIT + 1, 'x')));
	t.is(await lookup(tlsmgr, 'larger'), undefined);

	await sandbox.reload();
	t.true(await update(tlsmgr, 'a', 'after a reload'));
	t.is(await lookup(tlsmgr, 'a'), 'after a reload');
	t.deepEqual(log, []);
});

/* Whatever goes wrong: nothing is found, in time, and one line says why. It is left alone for a while then. */
const fails = test.macro<[what: string, run: (socket: Socket) => void, why: string]>({
	async exec(t, _, run, why) {
		const log = collectLog();
		const path = await scripted(t, run);
		const tlsmgr = managerAt(t, path);
		const ids = ['a', 'b', 'c'];
		t.deepEqual(
			await Promise.all(ids.map(async id => await lookup(tlsmgr, id))),
			ids.map(() => undefined),
		);
		t.is(await lookup(tlsmgr, 'd'), undefined);
		t.deepEqual(log, [`warning: problem talking to server ${path}: ${why}`]);
	},
	title(_, what) {
		return `a server that ${what}: nothing is found`;
	},
});
const close = 'Connection closed by server';
test.serial(fails, 'closes at once', socket => socket.end(), close);
test.serial(
	fails,
	'closes when it is asked',
	socket => {
		socket.write(greeting);
		socket.once('data', () => socket.end());
	},
	close,
);
test.serial(fails, 'closes within a reply', socket => socket.end(greeting.subarray(0, 9)), close);
test.serial(fails, 'never says a word', () => undefined, 'Connection timed out');
test.serial(fails, 'never answers', socket => socket.write(greeting), 'Connection timed out');
const other = printList([['protocol', 'anvil_protocol']]);
test.serial(fails, 'is somebody else', socket => socket.write(other), 'no greeting of tlsmgr');
test.serial(fails, 'answers twice', answering(Buffer.concat([found, found])), 'more than was asked for');
const endless = answering(Buffer.alloc(100_000, 'x'));
test.serial(fails, 'answers without end', endless, 'attribute name or value exceeds 65536 bytes');
const bare = answering(printList([['session', 'QQ==']]));
test.serial(fails, 'answers without a status', bare, 'tlsmgr reply: no status');
test.serial(fails, 'is slower than a hand-off can wait', answering(found, 1600), 'Connection timed out');

test.serial('an answer that is there counts, however busy this process was meanwhile', async t => {
	const log = collectLog();
	const path = await scripted(t, socket => {
		socket.write(greeting);
		socket.on('data', () => {
			socket.write(found);
			for (const end = performance.now() + 1500; performance.now() < end; );
		});
	});
	t.is(await lookup(managerAt(t, path), 'a'), 'kept');
	t.deepEqual(log, []);
});

test.serial('what no hand-off waits for has more time than a lookup', async t => {
	const log = collectLog();
	const reply = printList([
		['status', '0'],
		['cachable', '1'],
		['timeout', '60'],
	]);
	const tlsmgr = managerAt(t, await scripted(t, answering(reply, 1600)));
	t.deepEqual(await answer(done => tlsmgr.policy('smtp', done)), {cachable: true, timeout: 60});
	t.deepEqual(log, []);
});

test.serial('but it has not more than five seconds', async t => {
	const log = collectLog();
	const move = movableClock(t);
	const path = await scripted(t, socket => socket.write(greeting));
	const answered = update(managerAt(t, path), 'a', 'x');
	move(5000);
	t.false(await answered);
	t.deepEqual(log, [`warning: problem talking to server ${path}: Connection timed out`]);
});

test.serial('a server that says that there is none is not left alone', async t => {
	const log = collectLog();
	const none = printList([
		['status', '4294967295'],
		['session', 'QQ=='],
	]);
	const tlsmgr = managerAt(
		t,
		await scripted(t, socket => {
			socket.write(greeting);
			socket.once('data', () => {
				socket.write(none);
				socket.on('data', () => socket.write(found));
			});
		}),
	);
	t.is(await lookup(tlsmgr, 'a'), undefined);
	t.is(await lookup(tlsmgr, 'b'), 'kept');
	t.deepEqual(log, []);
});

test.serial('after each failure the server is left alone for longer, up to a minute', t => {
	const log = collectLog();
	const move = movableClock(t);
	const tlsmgr = managerAt(t, '/nowhere/tlsmgr');
	const tries = (): boolean => {
		const before = log.length;
		let given: boolean | undefined;
		tlsmgr.update('smtp', 'a', Buffer.from('x'), stored => {
			given = stored;
		});
		t.false(given, 'at once');
		return log.length > before;
	};
	t.true(tries());
	t.deepEqual(log, [
		'warning: connect to /nowhere/tlsmgr: No such file or directory',
		'warning: problem talking to server /nowhere/tlsmgr: No such file or directory',
	]);
	for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
		move(seconds * 1000 - 500);
		t.false(tries(), `${seconds} s are not over`);
		move(500);
		t.true(tries(), `${seconds} s are over`);
	}
});

test.serial('a server that comes back is found, and forgiven', async t => {
	const log = collectLog();
	const move = movableClock(t);
	let good = false;
	const path = await scripted(t, socket => {
		if (good) {
			socket.write(greeting);
			socket.on('data', () => (good ? socket.write(found) : socket.end()));
		} else {
			socket.end();
		}
	});
	const tlsmgr = managerAt(t, path);
	const failure = async (pause: number): Promise<void> => {
		good = false;
		t.is(await lookup(tlsmgr, 'a'), undefined);
		move(pause);
		good = true;
	};
	await failure(1000);
	await failure(2000);
	t.is(await lookup(tlsmgr, 'a'), 'kept');
	/* As short as after the first. */
	await failure(1000);
	t.is(await lookup(tlsmgr, 'a'), 'kept');
	t.is(log.length, 3);
});

test.serial('what is too much is dropped, with one warning per minute', async t => {
	const log = collectLog();
	const move = movableClock(t);
	const path = await scripted(t, () => undefined);
	const tlsmgr = managerAt(t, path);
	let answered = 0;
	const ask = (count: number): void => {
		for (let index = 0; index < count; index++) {
			tlsmgr.update('smtp', 'a', Buffer.from('x'), () => answered++);
		}
	};
	ask(1000);
	t.is(answered, 0);
	ask(5);
	t.is(answered, 5);
	const line = `warning: problem talking to server ${path}: 1000 requests are waiting: sessions are not stored`;
	t.deepEqual(log, [line]);
	move(60_000);
	ask(5);
	t.deepEqual(log, [line, line]);
	tlsmgr[Symbol.dispose]();
	t.is(answered, 1010);
});

test.serial('an answer is given once', async t => {
	collectLog();
	const move = movableClock(t);
	let good = false;
	const path = await scripted(t, socket => (good ? answering(found)(socket) : socket.end()));
	const tlsmgr = managerAt(t, path);
	let answered = 0;
	for (let index = 0; index < 5; index++) {
		tlsmgr.lookup('smtp', 'a', () => answered++);
	}

	t.is(await lookup(tlsmgr, 'a'), undefined);
	t.is(answered, 5);
	good = true;
	move(1000);
	t.is(await lookup(tlsmgr, 'a'), 'kept');
	t.is(await lookup(tlsmgr, 'a'), 'kept');
	t.is(answered, 5);
});

async function lookupTwice(tlsmgr: TlsmgrClient): Promise<Uint8Array | undefined> {
	return await answer(done => tlsmgr.lookup('smtp', 'a', () => tlsmgr.lookup('smtp', 'b', done)));
}

test.serial('whoever gets an answer may ask again, also when it is a failure', async t => {
	collectLog();
	let requests = '';
	const path = await scripted(t, socket => {
		answering(found)(socket);
		socket.on('data', bytes => {
			requests += String(bytes);
		});
	});
	const good = managerAt(t, path);
	const bad = managerAt(t, await scripted(t, socket => socket.end()));
	t.deepEqual(await lookupTwice(good), Buffer.from('kept'));
	t.is(requests.split('request').length, 3);
	t.is(await lookupTwice(bad), undefined);
});

test.serial('disposal answers what is open, closes all, and is final', async t => {
	const log = collectLog();
	let connections = 0;
	let closings = 0;
	const {promise: closed, resolve} = Promise.withResolvers<void>();
	const path = await scripted(t, socket => {
		connections++;
		socket.write(greeting);
		socket.on('close', () => ++closings === 2 && resolve());
		socket.resume();
	});
	const tlsmgr = managerAt(t, path);
	const answers = Promise.all(['a', 'b', 'c'].map(async id => await lookup(tlsmgr, id)));
	tlsmgr[Symbol.dispose]();
	t.deepEqual(await answers, [undefined, undefined, undefined]);
	await closed;
	t.is(await lookup(tlsmgr, 'd'), undefined);
	t.is(connections, 2);
	t.deepEqual(log, []);
});

test.serial('disposal by whoever gets an answer makes no further connection', async t => {
	let connections = 0;
	const path = await scripted(t, socket => {
		connections++;
		answering(found)(socket);
	});
	const tlsmgr = managerAt(t, path);
	await answer(done =>
		tlsmgr.lookup('smtp', 'a', session => {
			tlsmgr[Symbol.dispose]();
			done(session);
		}),
	);
	/* The server accepts in order: what comes after this one would be seen. */
	t.is(await lookup(managerAt(t, path), 'a'), 'kept');
	t.is(connections, 2);
});
