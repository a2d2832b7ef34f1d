/* Connections to tlsmgr(8): start, requests and end. */
import type {Socket} from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import {Panic} from '../../src/base/errors.ts';
import type {Milliseconds} from '../../src/base/units.ts';
import {DeadlineClock} from '../../src/event/deadline.ts';
import type {Reactor} from '../../src/event/reactor.ts';
import {TlsmgrClient} from '../../src/tlsmgr/tlsmgr-client.ts';
import {printList} from '../../src/wire/attribute-list.ts';
import {openDescriptors} from '../helpers/descriptors.ts';
import {collectLog} from '../helpers/openssl.ts';
import {found, greeting, lookup, replying, result, scriptedServer, tlsmgrClient} from './_server.ts';

/** The reply to an update. */
const done = printList([['status', '0']]);

test.serial('the greeting and replies can be split anywhere', async t => {
	const log = collectLog();
	let cuts: readonly number[] = [];
	const trickle = async (socket: Socket, bytes: Uint8Array): Promise<void> => {
		const ends = [...cuts.filter(cut => cut < bytes.length), bytes.length].toSorted((a, b) => a - b);
		for (const [index, end] of ends.entries()) {
			socket.write(bytes.subarray(ends[index - 1] ?? 0, end));
			await new Promise(resolve => {
				setImmediate(resolve);
			});
		}
	};
	const path = await scriptedServer(t, socket => {
		void trickle(socket, greeting);
		socket.on('data', () => void trickle(socket, found));
	});
	await fc.assert(
		fc.asyncProperty(fc.array(fc.nat(40)), async positions => {
			cuts = positions;
			const tlsmgr = tlsmgrClient(t, path);
			t.is(await lookup(tlsmgr, 'a'), 'stored');
			t.is(await lookup(tlsmgr, 'b'), 'stored');
			tlsmgr[Symbol.dispose]();
		}),
		{numRuns: 50},
	);
	t.deepEqual(log, []);
});

test.serial('releases before 3.6 send no greeting', async t => {
	const log = collectLog();
	const path = await scriptedServer(t, socket => socket.on('data', () => socket.write(found)));
	t.is(await lookup(tlsmgrClient(t, path, {release: '3.5.25'}), 'a'), 'stored');
	t.deepEqual(log, []);
});

test.serial('each of two connections has one request at a time', async t => {
	let overlapping = 0;
	let connections = 0;
	const path = await scriptedServer(t, socket => {
		connections++;
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
	const tlsmgr = tlsmgrClient(t, path);
	const all = await Promise.all(
		Array.from({length: 50}, async (_, index) => await lookup(tlsmgr, String(index))),
	);
	t.deepEqual(new Set(all), new Set(['stored']));
	t.is(overlapping, 0);
	t.is(connections, 2);
});

test.serial('a request that is larger than the socket buffer is sent in parts', async t => {
	const id = 'x'.repeat(1_000_000);
	const path = await scriptedServer(t, socket => {
		let size = 0;
		socket.write(greeting);
		socket.on('data', bytes => {
			size += bytes.length;
			if (size > id.length && bytes.at(-1) === 0 && bytes.at(-2) === 0) {
				socket.write(found);
			}
		});
	});
	t.is(await lookup(tlsmgrClient(t, path), id), 'stored');
});

test.serial('a reply to an incomplete request is a failure', async t => {
	const log = collectLog();
	const path = await scriptedServer(t, socket => {
		socket.write(greeting);
		socket.once('data', () => socket.pause().write(found));
	});
	t.is(await lookup(tlsmgrClient(t, path), 'x'.repeat(1_000_000)), undefined);
	t.deepEqual(log, [`warning: problem talking to server ${path}: reply without a request`]);
});

for (const replies of [0, 1]) {
	test.serial(`a connection that ends after ${replies} replies is replaced without a warning`, async t => {
		const log = collectLog();
		let connections = 0;
		const path = await scriptedServer(t, (socket, index) => {
			connections++;
			socket.write(greeting);
			let requests = 0;
			socket.on('data', () => {
				if (index === 0 && requests++ === replies) {
					socket.end();
				} else {
					socket.write(found);
				}
			});
		});
		const tlsmgr = tlsmgrClient(t, path);
		t.is(await lookup(tlsmgr, 'a'), 'stored');
		t.is(await lookup(tlsmgr, 'b'), 'stored');
		t.is(connections, 2);
		t.deepEqual(log, []);
	});
}

test.serial('a reply without a request is a failure', async t => {
	const log = collectLog();
	const {promise: closed, resolve} = Promise.withResolvers<void>();
	const path = await scriptedServer(t, socket => {
		replying(found)(socket);
		socket.once('data', () => setTimeout(() => socket.write(found), 100)).on('close', () => resolve());
	});
	t.is(await lookup(tlsmgrClient(t, path), 'a'), 'stored');
	await closed;
	t.deepEqual(log, [`warning: problem talking to server ${path}: reply without a request`]);
});

test.serial('a connection is closed after the idle timeout, and established again on demand', async t => {
	const log = collectLog();
	let connections = 0;
	const {promise: closed, resolve} = Promise.withResolvers<void>();
	const path = await scriptedServer(t, socket => {
		connections++;
		replying(found)(socket);
		socket.on('close', () => resolve());
	});
	const tlsmgr = tlsmgrClient(t, path, {idle: 10});
	t.is(await lookup(tlsmgr, 'a'), 'stored');
	await closed;
	t.is(await lookup(tlsmgr, 'b'), 'stored');
	t.is(connections, 2);
	t.deepEqual(log, []);
});

/* With an update, because its timeout is longer: the timeout of a lookup could expire on a busy machine. */
test.serial('the idle timeout does not apply while a reply is pending', async t => {
	const log = collectLog();
	const tlsmgr = tlsmgrClient(t, await scriptedServer(t, replying(done, 600)), {idle: 10});
	t.true(await result(stored => tlsmgr.update('smtp', 'a', Buffer.from('x'), stored)));
	t.deepEqual(log, []);
});

test.serial('the idle timeout does not apply while a request waits for the greeting', async t => {
	const log = collectLog();
	let connections = 0;
	const path = await scriptedServer(t, socket => {
		connections++;
		socket.on('data', () => socket.write(done));
		setTimeout(() => socket.write(greeting), 600);
	});
	const tlsmgr = tlsmgrClient(t, path, {idle: 10});
	t.true(await result(stored => tlsmgr.update('smtp', 'a', Buffer.from('x'), stored)));
	t.is(connections, 1);
	t.deepEqual(log, []);
});

test.serial('a connection without a pending request is not replaced', async t => {
	const log = collectLog();
	const sockets: Socket[] = [];
	const path = await scriptedServer(t, (socket, index) => {
		sockets.push(socket);
		if (index === 0) {
			replying(found)(socket);
		}
	});
	const tlsmgr = tlsmgrClient(t, path);
	const both = await Promise.all([lookup(tlsmgr, 'a'), lookup(tlsmgr, 'b')]);
	t.deepEqual(both, ['stored', 'stored']);
	sockets[1]?.end();
	t.is(await lookup(tlsmgr, 'c'), 'stored');
	t.is(sockets.length, 2);
	t.deepEqual(log, []);
});

/* All processes of the mail owner share the limit fs.epoll.max_user_watches: see epoll(7). */
test.serial('a failure to watch a connection is handled like other failures', async t => {
	const log = collectLog();
	const path = await scriptedServer(t, replying(found));
	const reactor = {
		watch() {
			throw new Panic('epoll_ctl: No space left on device');
		},
	} as unknown as Reactor;
	const before = openDescriptors();
	const options = {path, greeting: true, idle: 5000 as Milliseconds};
	using tlsmgr = new TlsmgrClient(reactor, new DeadlineClock(), options);
	t.is(await lookup(tlsmgr, 'a'), undefined);
	t.deepEqual(openDescriptors(), before);
	t.deepEqual(log, [`warning: problem talking to server ${path}: epoll_ctl: No space left on device`]);
});
