/* Which requests are sent to tlsmgr(8), and when. A list replaces tlsmgr(8), and the tests advance the clock. */
import test, {type ExecutionContext} from 'ava';
import fc from 'fast-check';
import {DeadlineClock} from '../../src/event/deadline.ts';
import {type Storable, UpdateQueue} from '../../src/tlsmgr/update-queue.ts';
import {movableClock, scriptedServer, tlsmgrClient} from './_server.ts';

/** A session that counts its disposals. */
class FakeSession implements Storable {
	readonly #text: string | undefined;
	disposals = 0;

	constructor(text: string | undefined) {
		this.#text = text;
	}

	bytes(): Uint8Array | undefined {
		return this.#text === undefined ? undefined : Buffer.from(this.#text);
	}

	[Symbol.dispose](): void {
		this.disposals++;
	}
}

/** An update queue, and a tlsmgr(8) that completes its oldest request when `reply` is called. */
function setUp(t: ExecutionContext) {
	const move = movableClock(t);
	const requests: string[] = [];
	const pending: Array<() => void> = [];
	const made: FakeSession[] = [];
	const updates = new UpdateQueue(
		{
			update(_type, id, session, done = () => undefined) {
				requests.push(`${id} = ${String(session)}`);
				pending.push(() => done(true));
			},
			delete(_type, id, done = () => undefined) {
				requests.push(`${id} removed`);
				pending.push(() => done(true));
			},
		},
		new DeadlineClock(),
	);
	t.teardown(() => updates[Symbol.dispose]());
	return {
		updates,
		move,
		pending,
		made,
		reply: () => {
			pending.shift()?.();
		},
		update: (id: string, text?: string) => {
			const fake = new FakeSession(text);
			made.push(fake);
			updates.update('smtp', id, fake);
		},
		remove: (id: string) => {
			updates.delete('smtp', id);
		},
		/** The requests since the last call. */
		taken: () => requests.splice(0),
		/** Waits for the next request. */
		nextRequests: async (): Promise<readonly string[]> => {
			for (const limit = Date.now() + 60_000; requests.length === 0 && Date.now() < limit; ) {
				await new Promise(resolve => {
					setTimeout(resolve, 10);
				});
			}

			return requests.splice(0);
		},
		/** Waits until the deadline clock has run at least once. */
		clockTick: async (): Promise<void> => {
			await new Promise(resolve => {
				setTimeout(resolve, 600);
			});
		},
	};
}

test.serial('the first session of a key is stored immediately', t => {
	const {update, taken, made} = setUp(t);
	update('a', '1');
	update('b', '2');
	t.deepEqual(taken(), ['a = 1', 'b = 2']);
	t.deepEqual(
		made.map(({disposals}) => disposals),
		[1, 1],
	);
});

test.serial('of later sessions the newest is stored, after a second', async t => {
	const {update, taken, reply, nextRequests, clockTick, move, made} = setUp(t);
	for (const text of ['1', '2', '3', '4']) {
		update('a', text);
	}

	reply();
	t.deepEqual(taken(), ['a = 1']);
	t.deepEqual(
		made.map(({disposals}) => disposals),
		[1, 1, 1, 0],
	);
	move(999);
	await clockTick();
	t.deepEqual(taken(), []);
	move(1);
	t.deepEqual(await nextRequests(), ['a = 4']);
	reply();
	t.is(made[3]?.disposals, 1);

	/* Then a second passes again. A session after a second without updates is stored immediately. */
	update('a', '5');
	t.deepEqual(taken(), []);
	move(1000);
	t.deepEqual(await nextRequests(), ['a = 5']);
	reply();
	move(1000);
	await clockTick();
	update('a', '6');
	t.deepEqual(taken(), ['a = 6']);
});

test.serial('there is one pending request per key', async t => {
	const {update, taken, reply, clockTick, move} = setUp(t);
	update('a', '1');
	update('a', '2');
	move(5000);
	await clockTick();
	update('b', '3');
	t.deepEqual(taken(), ['a = 1', 'b = 3']);
	reply();
	t.deepEqual(taken(), ['a = 2']);
});

test.serial('a removal is sent immediately, and drops the waiting session', async t => {
	const {update, remove, taken, reply, clockTick, move, made} = setUp(t);
	update('a', '1');
	reply();
	update('a', '2');
	remove('a');
	t.deepEqual(taken(), ['a = 1', 'a removed']);
	t.is(made[1]?.disposals, 1);
	reply();
	move(5000);
	await clockTick();
	t.deepEqual(taken(), []);
});

test.serial('updates and removals of a key are sent in order', t => {
	const {update, remove, taken, reply} = setUp(t);
	update('a', '1');
	remove('a');
	t.deepEqual(taken(), ['a = 1']);
	reply();
	t.deepEqual(taken(), ['a removed']);
	update('a', '2');
	t.deepEqual(taken(), []);
	reply();
	t.deepEqual(taken(), ['a = 2'], 'the first session after a removal is stored immediately');
});

test.serial('a session that replaces a waiting removal is stored immediately', t => {
	const {update, remove, taken, reply} = setUp(t);
	update('a', '1');
	remove('a');
	update('a', '2');
	t.deepEqual(taken(), ['a = 1']);
	reply();
	t.deepEqual(taken(), ['a = 2']);
});

test.serial('a session that cannot be encoded is disposed, and no request is sent', t => {
	const {update, taken, made} = setUp(t);
	update('a');
	t.deepEqual(taken(), []);
	t.is(made[0]?.disposals, 1);
});

test.serial('beyond the key limit sessions are stored immediately', t => {
	const {update, taken, reply} = setUp(t);
	for (let index = 0; index <= 500; index++) {
		update(`name ${index}`, '1');
		reply();
	}

	taken();
	update('name 0', '2');
	update('name 500', '2');
	t.deepEqual(taken(), ['name 0 = 2', 'name 500 = 2']);
});

test.serial('flush stores the waiting sessions, and completes with the last reply', t => {
	const {updates, update, taken, reply, pending} = setUp(t);
	update('a', '1');
	reply();
	update('a', '2');
	update('b', '3');
	update('b', '4');
	reply();
	update('c', '5');
	update('c', '6');
	taken();
	let flushed = 0;
	updates.flush(() => flushed++);
	t.deepEqual(taken(), ['a = 2', 'b = 4']);
	while (pending.length > 0) {
		t.is(flushed, 0);
		reply();
	}

	t.deepEqual(taken(), ['c = 6']);
	t.is(flushed, 1);
});

test.serial('flush completes during the call if nothing waits', t => {
	let flushed = 0;
	setUp(t).updates.flush(() => flushed++);
	t.is(flushed, 1);
});

test.serial('flush sends all requests, even if one completes during the call', t => {
	const move = movableClock(t);
	const requests: string[] = [];
	const updates = new UpdateQueue(
		{
			update(_type, id, session, done = () => undefined) {
				requests.push(`${id} = ${String(session)}`);
				done(false);
			},
			delete() {
				t.fail();
			},
		},
		new DeadlineClock(),
	);
	for (const text of ['1', '2']) {
		for (const id of ['a', 'b']) {
			updates.update('smtp', id, new FakeSession(text));
		}
	}

	move(1);
	let flushed = 0;
	updates.flush(() => flushed++);
	t.deepEqual(requests, ['a = 1', 'b = 1', 'a = 2', 'b = 2']);
	t.is(flushed, 1);
	updates[Symbol.dispose]();
});

test.serial('flush completes after a time limit if tlsmgr does not reply', async t => {
	const {updates, update, reply, move, pending} = setUp(t);
	update('a', '1');
	const flushed = new Promise<void>(resolve => {
		updates.flush(resolve);
	});
	move(1000);
	await flushed;
	t.is(pending.length, 1);
	reply();
	t.pass('a late reply is ignored');
});

test.serial('flush completes if tlsmgr is not running', async t => {
	const path = await scriptedServer(t, socket => socket.destroy());
	const updates = new UpdateQueue(tlsmgrClient(t, path), new DeadlineClock());
	updates.update('smtp', 'a', new FakeSession('1'));
	updates.update('smtp', 'a', new FakeSession('2'));
	await new Promise<void>(resolve => {
		updates.flush(() => setImmediate(resolve));
	});
	updates[Symbol.dispose]();
	t.pass();
});

test.serial(
	'for any sequence of calls: each session is disposed once, and the last call determines the result',
	t => {
		const id = fc.constantFrom('a', 'b');
		const step = fc.oneof(fc.record({update: id}), fc.record({remove: id}), fc.constant('reply' as const));
		fc.assert(
			fc.property(fc.array(step, {maxLength: 60}), steps => {
				const stored = new Map<string, string>();
				const pending: Array<() => void> = [];
				const busy = new Set<string>();
				const send = (name: string, done: (() => void) | undefined, run: () => void): void => {
					t.false(busy.has(name), 'one request at a time');
					busy.add(name);
					pending.push(() => {
						run();
						busy.delete(name);
						done?.();
					});
				};
				const updates = new UpdateQueue(
					{
						update(_type, name, session, done) {
							send(
								name,
								() => done?.(true),
								() => stored.set(name, String(session)),
							);
						},
						delete(_type, name, done) {
							send(
								name,
								() => done?.(true),
								() => stored.delete(name),
							);
						},
					},
					new DeadlineClock(),
				);
				const last = new Map<string, string>();
				const made: FakeSession[] = [];
				for (const [index, one] of steps.entries()) {
					if (one === 'reply') {
						pending.shift()?.();
					} else if ('update' in one) {
						const fake = new FakeSession(String(index));
						made.push(fake);
						last.set(one.update, String(index));
						updates.update('smtp', one.update, fake);
					} else {
						last.delete(one.remove);
						updates.delete('smtp', one.remove);
					}
				}

				let flushed = 0;
				updates.flush(() => flushed++);
				while (pending.length > 0) {
					pending.shift()?.();
				}

				t.is(flushed, 1);
				t.deepEqual(Object.fromEntries(stored), Object.fromEntries(last));
				updates[Symbol.dispose]();
				t.true(made.every(({disposals}) => disposals === 1));
			}),
		);
	},
);

test('a cache type and an id that join to the same text are different sessions', t => {
	movableClock(t);
	const asked: string[] = [];
	const updates = new UpdateQueue(
		{
			update(type, id) {
				asked.push(`${type}|${id}`);
			},
			delete(type, id) {
				asked.push(`${type}|${id} removed`);
			},
		},
		new DeadlineClock(),
	);
	t.teardown(() => updates[Symbol.dispose]());
	/* An update waits while an earlier one with the same key is being stored. */
	const expected: string[] = [];
	for (const separator of [' ', '\n', '&', '\0', ':']) {
		for (const [type, id] of [
			[`smtp${separator}a`, 'b'],
			['smtp', `a${separator}b`],
		] as const) {
			updates.update(type, id, new FakeSession('x'));
			expected.push(`${type}|${id}`);
		}
	}

	t.deepEqual(asked, expected);
});
