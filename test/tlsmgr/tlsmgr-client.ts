/* Tests with the real tlsmgr(8), and with servers that are slow, not running or send invalid replies. */
import type {Socket} from 'node:net';
import {join} from 'node:path';
import test from 'ava';
import {Sandbox} from '../../postfix/lib/sandbox.ts';
import {SESSION_LIMIT} from '../../src/tlsmgr/message.ts';
import type {TlsmgrClient} from '../../src/tlsmgr/tlsmgr-client.ts';
import {printList} from '../../src/wire/attribute-list.ts';
import type {TicketKey} from '../../src/wire/ticket-key.ts';
import {collectLog} from '../helpers/openssl.ts';
import {
	found,
	greeting,
	lookup,
	movableClock,
	replying,
	result,
	scriptedServer,
	tlsmgrClient,
} from './_server.ts';

async function update(tlsmgr: TlsmgrClient, id: string, session: string | Buffer): Promise<boolean> {
	return await result(done => tlsmgr.update('smtp', id, Buffer.from(session), done));
}

test.serial('all requests work with the real tlsmgr', async t => {
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
	const tlsmgr = tlsmgrClient(t, join(sandbox.queueDirectory, 'private', 'tlsmgr'));
	t.deepEqual(await result(done => tlsmgr.policy('smtp', done)), {cachable: true, timeout: 1234});
	t.like(await result(done => tlsmgr.policy('lmtp', done)), {cachable: false});
	t.is(await result(done => tlsmgr.policy('none', done)), undefined);

	t.is(await lookup(tlsmgr, 'a'), undefined);
	t.true(await update(tlsmgr, 'a', 'session of a'));
	t.is(await lookup(tlsmgr, 'a'), 'session of a');
	t.is(await lookup(tlsmgr, 'b'), undefined);
	t.false(await result(done => tlsmgr.update('lmtp', 'a', Buffer.from('x'), done)));
	t.true(await result(done => tlsmgr.delete('smtp', 'a', done)));
	t.false(await result(done => tlsmgr.delete('smtp', 'a', done)));
	t.is(await lookup(tlsmgr, 'a'), undefined);

	const key = await result<TicketKey | undefined>(done => tlsmgr.ticketKey(undefined, done));
	t.true((key?.expires ?? 0) > Date.now() / 1000);
	t.deepEqual(await result(done => tlsmgr.ticketKey(key?.name, done)), key);
	t.is(await result(done => tlsmgr.ticketKey(Buffer.alloc(16), done)), undefined);

	/* More requests at a time than there are connections. */
	const names = Array.from({length: 200}, (_, index) => `name ${index}`);
	const stored = await Promise.all(names.map(async name => await update(tlsmgr, name, `of ${name}`)));
	t.true(stored.every(Boolean));
	t.deepEqual(
		await Promise.all(names.map(async name => await lookup(tlsmgr, name))),
		names.map(name => `of ${name}`),
	);

	/* A lookup of a session that is too large for a reply would fail, so such a session is not stored. */
	t.true(await update(tlsmgr, 'largest', Buffer.alloc(SESSION_LIMIT, 'x')));
	t.is((await lookup(tlsmgr, 'largest'))?.length, SESSION_LIMIT);
	t.false(await update(tlsmgr, 'larger', Buffer.alloc(SESSION_LIMIT + 1, 'x')));
	t.is(await lookup(tlsmgr, 'larger'), undefined);

	await sandbox.reload();
	t.true(await update(tlsmgr, 'a', 'after a reload'));
	t.is(await lookup(tlsmgr, 'a'), 'after a reload');
	t.deepEqual(log, []);
});

/* After any failure: all lookups complete without a result, one line is logged, and no requests are sent for a while. */
const fails = test.macro<[behavior: string, run: (socket: Socket) => void, reason: string]>({
	async exec(t, _, run, reason) {
		const log = collectLog();
		const path = await scriptedServer(t, run);
		const tlsmgr = tlsmgrClient(t, path);
		const ids = ['a', 'b', 'c'];
		t.deepEqual(
			await Promise.all(ids.map(async id => await lookup(tlsmgr, id))),
			ids.map(() => undefined),
		);
		t.is(await lookup(tlsmgr, 'd'), undefined);
		t.deepEqual(log, [`warning: problem talking to server ${path}: ${reason}`]);
	},
	title(_, behavior) {
		return `a server that ${behavior}: lookups complete without a result`;
	},
});
const close = 'Connection closed by server';
test.serial(fails, 'closes immediately', socket => socket.end(), close);
test.serial(
	fails,
	'closes after a request',
	socket => {
		socket.write(greeting);
		socket.once('data', () => socket.end());
	},
	close,
);
test.serial(fails, 'closes within a reply', socket => socket.end(greeting.subarray(0, 9)), close);
test.serial(fails, 'sends nothing', () => undefined, 'Connection timed out');
test.serial(fails, 'sends only the greeting', socket => socket.write(greeting), 'Connection timed out');
const other = printList([['protocol', 'anvil_protocol']]);
test.serial(
	fails,
	'sends the greeting of another service',
	socket => socket.write(other),
	'unexpected greeting',
);
test.serial(fails, 'replies twice', replying(Buffer.concat([found, found])), 'unexpected data after a reply');
const endless = replying(Buffer.alloc(100_000, 'x'));
test.serial(fails, 'sends a reply without end', endless, 'attribute name or value exceeds 65536 bytes');
const bare = replying(printList([['session', 'QQ==']]));
test.serial(fails, 'sends a reply without a status', bare, 'tlsmgr reply: no status');
test.serial(fails, 'is slower than the lookup timeout', replying(found, 1600), 'Connection timed out');

test.serial(
	'a reply that has arrived is used, even if this process was busy until after the timeout',
	async t => {
		const log = collectLog();
		const path = await scriptedServer(t, socket => {
			socket.write(greeting);
			socket.on('data', () => {
				socket.write(found);
				for (const end = performance.now() + 1500; performance.now() < end; );
			});
		});
		t.is(await lookup(tlsmgrClient(t, path), 'a'), 'stored');
		t.deepEqual(log, []);
	},
);

test.serial('a request that no hand-off waits for has a longer timeout than a lookup', async t => {
	const log = collectLog();
	const reply = printList([
		['status', '0'],
		['cachable', '1'],
		['timeout', '60'],
	]);
	const tlsmgr = tlsmgrClient(t, await scriptedServer(t, replying(reply, 1600)));
	t.deepEqual(await result(done => tlsmgr.policy('smtp', done)), {cachable: true, timeout: 60});
	t.deepEqual(log, []);
});

test.serial('the longer timeout is five seconds', async t => {
	const log = collectLog();
	const move = movableClock(t);
	const path = await scriptedServer(t, socket => socket.write(greeting));
	const answered = update(tlsmgrClient(t, path), 'a', 'x');
	move(5000);
	t.false(await answered);
	t.deepEqual(log, [`warning: problem talking to server ${path}: Connection timed out`]);
});

test.serial('a not-found reply does not start a pause', async t => {
	const log = collectLog();
	const none = printList([
		['status', '4294967295'],
		['session', 'QQ=='],
	]);
	const tlsmgr = tlsmgrClient(
		t,
		await scriptedServer(t, socket => {
			socket.write(greeting);
			socket.once('data', () => {
				socket.write(none);
				socket.on('data', () => socket.write(found));
			});
		}),
	);
	t.is(await lookup(tlsmgr, 'a'), undefined);
	t.is(await lookup(tlsmgr, 'b'), 'stored');
	t.deepEqual(log, []);
});

test.serial('the pause doubles with each failure, up to a minute', t => {
	const log = collectLog();
	const move = movableClock(t);
	const tlsmgr = tlsmgrClient(t, '/nowhere/tlsmgr');
	const tries = (): boolean => {
		const before = log.length;
		let completed: boolean | undefined;
		tlsmgr.update('smtp', 'a', Buffer.from('x'), stored => {
			completed = stored;
		});
		t.false(completed, 'completes during the call');
		return log.length > before;
	};
	t.true(tries());
	t.deepEqual(log, [
		'warning: connect to /nowhere/tlsmgr: No such file or directory',
		'warning: problem talking to server /nowhere/tlsmgr: No such file or directory',
	]);
	for (const seconds of [1, 2, 4, 8, 16, 32, 60, 60]) {
		move(seconds * 1000 - 500);
		t.false(tries(), `${seconds} s have not passed`);
		move(500);
		t.true(tries(), `${seconds} s have passed`);
	}
});

test.serial('requests are sent again after the pause, and a valid reply resets the pause', async t => {
	const log = collectLog();
	const move = movableClock(t);
	let replies = false;
	const path = await scriptedServer(t, socket => {
		if (replies) {
			socket.write(greeting);
			socket.on('data', () => (replies ? socket.write(found) : socket.end()));
		} else {
			socket.end();
		}
	});
	const tlsmgr = tlsmgrClient(t, path);
	const failure = async (pause: number): Promise<void> => {
		replies = false;
		t.is(await lookup(tlsmgr, 'a'), undefined);
		move(pause);
		replies = true;
	};
	await failure(1000);
	await failure(2000);
	t.is(await lookup(tlsmgr, 'a'), 'stored');
	/* As after the first failure. */
	await failure(1000);
	t.is(await lookup(tlsmgr, 'a'), 'stored');
	t.is(log.length, 3);
});

test.serial(
	'requests beyond the queue limit complete without a result, with one warning per minute',
	async t => {
		const log = collectLog();
		const move = movableClock(t);
		const path = await scriptedServer(t, () => undefined);
		const tlsmgr = tlsmgrClient(t, path);
		let completed = 0;
		const request = (count: number): void => {
			for (let index = 0; index < count; index++) {
				tlsmgr.update('smtp', 'a', Buffer.from('x'), () => completed++);
			}
		};
		request(1000);
		t.is(completed, 0);
		request(5);
		t.is(completed, 5);
		const line = `warning: problem talking to server ${path}: 1000 requests are waiting: sessions are not stored`;
		t.deepEqual(log, [line]);
		move(60_000);
		request(5);
		t.deepEqual(log, [line, line]);
		tlsmgr[Symbol.dispose]();
		t.is(completed, 1010);
	},
);

test.serial('a request completes exactly once', async t => {
	collectLog();
	const move = movableClock(t);
	let replies = false;
	const path = await scriptedServer(t, socket => (replies ? replying(found)(socket) : socket.end()));
	const tlsmgr = tlsmgrClient(t, path);
	let completed = 0;
	for (let index = 0; index < 5; index++) {
		tlsmgr.lookup('smtp', 'a', () => completed++);
	}

	t.is(await lookup(tlsmgr, 'a'), undefined);
	t.is(completed, 5);
	replies = true;
	move(1000);
	t.is(await lookup(tlsmgr, 'a'), 'stored');
	t.is(await lookup(tlsmgr, 'a'), 'stored');
	t.is(completed, 5);
});

async function lookupTwice(tlsmgr: TlsmgrClient): Promise<Uint8Array | undefined> {
	return await result(done => tlsmgr.lookup('smtp', 'a', () => tlsmgr.lookup('smtp', 'b', done)));
}

test.serial('a callback may make another request, also after a failure', async t => {
	collectLog();
	let requests = '';
	const path = await scriptedServer(t, socket => {
		replying(found)(socket);
		socket.on('data', bytes => {
			requests += String(bytes);
		});
	});
	const working = tlsmgrClient(t, path);
	const failing = tlsmgrClient(t, await scriptedServer(t, socket => socket.end()));
	t.deepEqual(await lookupTwice(working), Buffer.from('stored'));
	t.is(requests.split('request').length, 3);
	t.is(await lookupTwice(failing), undefined);
});

test.serial('after disposal pending and later requests complete, and the connections are closed', async t => {
	const log = collectLog();
	let connections = 0;
	let closings = 0;
	const {promise: closed, resolve} = Promise.withResolvers<void>();
	const path = await scriptedServer(t, socket => {
		connections++;
		socket.write(greeting);
		socket.on('close', () => ++closings === 2 && resolve());
		socket.resume();
	});
	const tlsmgr = tlsmgrClient(t, path);
	const answers = Promise.all(['a', 'b', 'c'].map(async id => await lookup(tlsmgr, id)));
	tlsmgr[Symbol.dispose]();
	t.deepEqual(await answers, [undefined, undefined, undefined]);
	await closed;
	t.is(await lookup(tlsmgr, 'd'), undefined);
	t.is(connections, 2);
	t.deepEqual(log, []);
});

test.serial('disposal in a callback makes no further connection', async t => {
	let connections = 0;
	const path = await scriptedServer(t, socket => {
		connections++;
		replying(found)(socket);
	});
	const tlsmgr = tlsmgrClient(t, path);
	await result(done =>
		tlsmgr.lookup('smtp', 'a', session => {
			tlsmgr[Symbol.dispose]();
			done(session);
		}),
	);
	/* The server accepts connections in order, so an earlier one would have been counted. */
	t.is(await lookup(tlsmgrClient(t, path), 'a'), 'stored');
	t.is(connections, 2);
});

test.serial('an exception in a callback is logged, and other requests are completed', async t => {
	const log = collectLog();
	const path = await scriptedServer(t, replying(found));
	const tlsmgr = tlsmgrClient(t, path);
	for (let count = 0; count < 3; count++) {
		tlsmgr.lookup('smtp', 'a', () => {
			throw new Error('trouble');
		});
	}

	t.is(await lookup(tlsmgr, 'b'), 'stored');
	t.is(await lookup(tlsmgr, 'c'), 'stored');
	t.deepEqual(
		log.map(line => line.replace(/\?.*/s, '')),
		Array.from({length: 3}, () => 'error: unexpected exception: Error: trouble'),
	);
});
