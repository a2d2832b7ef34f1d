/* Connections to tlsmgr(8): how they begin, what is sent over them, and how they end. */
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
import {answer, answering, found, greeting, lookup, managerAt, scripted} from './_server.ts';

/** The reply to an update. */
const done = printList([['status', '0']]);

test.serial('greeting and replies can be cut anywhere', async t => {
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
	const path = await scripted(t, socket => {
		void trickle(socket, greeting);
		socket.on('data', () => void trickle(socket, found));
	});
	await fc.assert(
		fc.asyncProperty(fc.array(fc.nat(40)), async positions => {
			cuts = positions;
			const tlsmgr = managerAt(t, path);
			t.is(await lookup(tlsmgr, 'a'), 'kept');
			t.is(await lookup(tlsmgr, 'b'), 'kept');
			tlsmgr[Symbol.dispose]();
		}),
		{numRuns: 50},
	);
	t.deepEqual(log, []);
});

test.serial('releases before 3.6 do not greet', async t => {
	const log = collectLog();
	const path = await scripted(t, socket => socket.on('data', () => socket.write(found)));
	t.is(await lookup(managerAt(t, path, {release: '3.5.25'}), 'a'), 'kept');
	t.deepEqual(log, []);
});

test.serial('one request at a time is sent on a connection, of which there are two', async t => {
	let overlapping = 0;
	let connections = 0;
	const path = await scripted(t, socket => {
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
	const tlsmgr = managerAt(t, path);
	const all = await Promise.all(
		Array.from({length: 50}, async (_, index) => await lookup(tlsmgr, String(index))),
	);
	t.deepEqual(new Set(all), new Set(['kept']));
	t.is(overlapping, 0);
	t.is(connections, 2);
});

test.serial('a request that does not fit into the socket is sent in pieces', async t => {
	const id = 'x'.repeat(1_000_000);
	const path = await scripted(t, socket => {
		let size = 0;
		socket.write(greeting);
		socket.on('data', bytes => {
			size += bytes.length;
			if (size > id.length && bytes.at(-1) === 0 && bytes.at(-2) === 0) {
				socket.write(found);
			}
		});
	});
	t.is(await lookup(managerAt(t, path), id), 'kept');
});

test.serial('a reply to half a request is a failure', async t => {
	const log = collectLog();
	const path = await scripted(t, socket => {
		socket.write(greeting);
		socket.once('data', () => socket.pause().write(found));
	});
	t.is(await lookup(managerAt(t, path), 'x'.repeat(1_000_000)), undefined);
	t.deepEqual(log, [`warning: problem talking to server ${path}: a reply that nobody asked for`]);
});

for (const answers of [0, 1]) {
	test.serial(`a connection that ends after ${answers} answers is replaced without a word`, async t => {
		const log = collectLog();
		let connections = 0;
		const path = await scripted(t, (socket, index) => {
			connections++;
			socket.write(greeting);
			let asked = 0;
			socket.on('data', () => {
				if (index === 0 && asked++ === answers) {
					socket.end();
				} else {
					socket.write(found);
				}
			});
		});
		const tlsmgr = managerAt(t, path);
		t.is(await lookup(tlsmgr, 'a'), 'kept');
		t.is(await lookup(tlsmgr, 'b'), 'kept');
		t.is(connections, 2);
		t.deepEqual(log, []);
	});
}

test.serial('a reply that nobody asked for is a failure', async t => {
	const log = collectLog();
	const {promise: closed, resolve} = Promise.withResolvers<void>();
	const path = await scripted(t, socket => {
		answering(found)(socket);
		socket.once('data', () => setTimeout(() => socket.write(found), 100)).on('close', () => resolve());
	});
	t.is(await lookup(managerAt(t, path), 'a'), 'kept');
	await closed;
	t.deepEqual(log, [`warning: problem talking to server ${path}: a reply that nobody asked for`]);
});

test.serial('a connection is closed when there was nothing to ask for a while, and made again', async t => {
	const log = collectLog();
	let connections = 0;
	const {promise: closed, resolve} = Promise.withResolvers<void>();
	const path = await scripted(t, socket => {
		connections++;
		answering(found)(socket);
		socket.on('close', () => resolve());
	});
	const tlsmgr = managerAt(t, path, {idle: 10});
	t.is(await lookup(tlsmgr, 'a'), 'kept');
	await closed;
	t.is(await lookup(tlsmgr, 'b'), 'kept');
	t.is(connections, 2);
	t.deepEqual(log, []);
});

/* A lookup has not much more time than that, and on a busy machine less. An update has more. */
test.serial('a connection is not closed while a reply is waited for', async t => {
	const log = collectLog();
	const tlsmgr = managerAt(t, await scripted(t, answering(done, 600)), {idle: 10});
	t.true(await answer(told => tlsmgr.update('smtp', 'a', Buffer.from('x'), told)));
	t.deepEqual(log, []);
});

test.serial('a connection is not closed while a greeting is waited for', async t => {
	const log = collectLog();
	let connections = 0;
	const path = await scripted(t, socket => {
		connections++;
		socket.on('data', () => socket.write(done));
		setTimeout(() => socket.write(greeting), 600);
	});
	const tlsmgr = managerAt(t, path, {idle: 10});
	t.true(await answer(told => tlsmgr.update('smtp', 'a', Buffer.from('x'), told)));
	t.is(connections, 1);
	t.deepEqual(log, []);
});

test.serial('a connection that nobody needs any more is not replaced', async t => {
	const log = collectLog();
	const sockets: Socket[] = [];
	const path = await scripted(t, (socket, index) => {
		sockets.push(socket);
		if (index === 0) {
			answering(found)(socket);
		}
	});
	const tlsmgr = managerAt(t, path);
	const both = await Promise.all([lookup(tlsmgr, 'a'), lookup(tlsmgr, 'b')]);
	t.deepEqual(both, ['kept', 'kept']);
	sockets[1]?.end();
	t.is(await lookup(tlsmgr, 'c'), 'kept');
	t.is(sockets.length, 2);
	t.deepEqual(log, []);
});

/* epoll(7) has a limit, fs.epoll.max_user_watches, that all programs of the mail owner share. */
test.serial('a connection that cannot be watched is a failure like others', async t => {
	const log = collectLog();
	const path = await scripted(t, answering(found));
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
