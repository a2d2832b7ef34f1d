/* What tlsmgr(8) is asked, and when. Its place is taken by a list; the clock goes forward by hand. */
import test, {type ExecutionContext} from 'ava';
import fc from 'fast-check';
import {DeadlineClock} from '../../src/event/deadline.ts';
import {type Storable, UpdateQueue} from '../../src/tlsmgr/update-queue.ts';
import {managerAt, movableClock, scripted} from './_server.ts';

/** A session that knows how many times it was disposed. */
class Fake implements Storable {
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

/** A tlsmgr(8) that answers when it is told to, the oldest request first. */
function scene(t: ExecutionContext) {
	const move = movableClock(t);
	const asked: string[] = [];
	const open: Array<() => void> = [];
	const made: Fake[] = [];
	const updates = new UpdateQueue(
		{
			update(_type, id, session, done = () => undefined) {
				asked.push(`${id} = ${String(session)}`);
				open.push(() => done(true));
			},
			delete(_type, id, done = () => undefined) {
				asked.push(`${id} removed`);
				open.push(() => done(true));
			},
		},
		new DeadlineClock(),
	);
	t.teardown(() => updates[Symbol.dispose]());
	return {
		updates,
		move,
		open,
		made,
		answer: () => {
			open.shift()?.();
		},
		update: (id: string, text?: string) => {
			const fake = new Fake(text);
			made.push(fake);
			updates.update('smtp', id, fake);
		},
		forget: (id: string) => {
			updates.delete('smtp', id);
		},
		/** What was asked since the last time. */
		asked: () => asked.splice(0),
		/** What has been asked when the clock of limits has looked. */
		later: async (): Promise<readonly string[]> => {
			for (const limit = Date.now() + 60_000; asked.length === 0 && Date.now() < limit; ) {
				await new Promise(resolve => {
					setTimeout(resolve, 10);
				});
			}

			return asked.splice(0);
		},
		/** The clock of limits looks again, at least once. */
		looked: async (): Promise<void> => {
			await new Promise(resolve => {
				setTimeout(resolve, 600);
			});
		},
	};
}

test.serial('the first session of a name is stored at once', t => {
	const {update, asked, made} = scene(t);
	update('a', '1');
	update('b', '2');
	t.deepEqual(asked(), ['a = 1', 'b = 2']);
	t.deepEqual(
		made.map(({disposals}) => disposals),
		[1, 1],
	);
});

test.serial('of those that follow the newest is stored, after a second', async t => {
	const {update, asked, answer, later, looked, move, made} = scene(t);
	for (const text of ['1', '2', '3', '4']) {
		update('a', text);
	}

	answer();
	t.deepEqual(asked(), ['a = 1']);
	t.deepEqual(
		made.map(({disposals}) => disposals),
		[1, 1, 1, 0],
	);
	move(999);
	await looked();
	t.deepEqual(asked(), []);
	move(1);
	t.deepEqual(await later(), ['a = 4']);
	answer();
	t.is(made[3]?.disposals, 1);

	/* From there a second again; and when there was none for a second, the next is a first one. */
	update('a', '5');
	t.deepEqual(asked(), []);
	move(1000);
	t.deepEqual(await later(), ['a = 5']);
	answer();
	move(1000);
	await looked();
	update('a', '6');
	t.deepEqual(asked(), ['a = 6']);
});

test.serial('while tlsmgr is silent it is not asked again about the same name', async t => {
	const {update, asked, answer, looked, move} = scene(t);
	update('a', '1');
	update('a', '2');
	move(5000);
	await looked();
	update('b', '3');
	t.deepEqual(asked(), ['a = 1', 'b = 3']);
	answer();
	t.deepEqual(asked(), ['a = 2']);
});

test.serial('what is forgotten is removed at once, and what waits is not stored', async t => {
	const {update, forget, asked, answer, looked, move, made} = scene(t);
	update('a', '1');
	answer();
	update('a', '2');
	forget('a');
	t.deepEqual(asked(), ['a = 1', 'a removed']);
	t.is(made[1]?.disposals, 1);
	answer();
	move(5000);
	await looked();
	t.deepEqual(asked(), []);
});

test.serial('a removal does not overtake what is being stored, nor is it overtaken', t => {
	const {update, forget, asked, answer} = scene(t);
	update('a', '1');
	forget('a');
	t.deepEqual(asked(), ['a = 1']);
	answer();
	t.deepEqual(asked(), ['a removed']);
	update('a', '2');
	t.deepEqual(asked(), []);
	answer();
	t.deepEqual(asked(), ['a = 2'], 'the first after a removal does not wait for a second to pass');
});

test.serial('a session that comes before a removal has begun takes its place, and is as urgent', t => {
	const {update, forget, asked, answer} = scene(t);
	update('a', '1');
	forget('a');
	update('a', '2');
	t.deepEqual(asked(), ['a = 1']);
	answer();
	t.deepEqual(asked(), ['a = 2']);
});

test.serial('a session that cannot be written down is disposed, and nobody is asked', t => {
	const {update, asked, made} = scene(t);
	update('a');
	t.deepEqual(asked(), []);
	t.is(made[0]?.disposals, 1);
});

test.serial('of more names than can wait sessions are stored at once', t => {
	const {update, asked, answer} = scene(t);
	for (let index = 0; index <= 500; index++) {
		update(`name ${index}`, '1');
		answer();
	}

	asked();
	update('name 0', '2');
	update('name 500', '2');
	t.deepEqual(asked(), ['name 0 = 2', 'name 500 = 2']);
});

test.serial('flush stores what waits, and is through with the last answer', t => {
	const {updates, update, asked, answer, open} = scene(t);
	update('a', '1');
	answer();
	update('a', '2');
	update('b', '3');
	update('b', '4');
	answer();
	update('c', '5');
	update('c', '6');
	asked();
	let flushed = 0;
	updates.flush(() => flushed++);
	t.deepEqual(asked(), ['a = 2', 'b = 4']);
	while (open.length > 0) {
		t.is(flushed, 0);
		answer();
	}

	t.deepEqual(asked(), ['c = 6']);
	t.is(flushed, 1);
});

test.serial('flush is through at once when nothing waits', t => {
	let flushed = 0;
	scene(t).updates.flush(() => flushed++);
	t.is(flushed, 1);
});

test.serial('flush asks about all names, whatever is answered at once', t => {
	const move = movableClock(t);
	const asked: string[] = [];
	const updates = new UpdateQueue(
		{
			update(_type, id, session, done = () => undefined) {
				asked.push(`${id} = ${String(session)}`);
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
			updates.update('smtp', id, new Fake(text));
		}
	}

	move(1);
	let flushed = 0;
	updates.flush(() => flushed++);
	t.deepEqual(asked, ['a = 1', 'b = 1', 'a = 2', 'b = 2']);
	t.is(flushed, 1);
	updates[Symbol.dispose]();
});

test.serial('flush does not wait for a tlsmgr that is silent', async t => {
	const {updates, update, answer, move, open} = scene(t);
	update('a', '1');
	const flushed = new Promise<void>(resolve => {
		updates.flush(resolve);
	});
	move(1000);
	await flushed;
	t.is(open.length, 1);
	answer();
	t.pass('an answer that comes too late does no harm');
});

test.serial('flush does not wait for a tlsmgr that is not there', async t => {
	const path = await scripted(t, socket => socket.destroy());
	const updates = new UpdateQueue(managerAt(t, path), new DeadlineClock());
	updates.update('smtp', 'a', new Fake('1'));
	updates.update('smtp', 'a', new Fake('2'));
	await new Promise<void>(resolve => {
		updates.flush(() => setImmediate(resolve));
	});
	updates[Symbol.dispose]();
	t.pass();
});

test.serial(
	'whatever comes in whatever order: each session is disposed once, and the last word counts',
	t => {
		const id = fc.constantFrom('a', 'b');
		const step = fc.oneof(fc.record({update: id}), fc.record({remove: id}), fc.constant('answer' as const));
		fc.assert(
			fc.property(fc.array(step, {maxLength: 60}), steps => {
				const stored = new Map<string, string>();
				const open: Array<() => void> = [];
				const busy = new Set<string>();
				const ask = (name: string, done: (() => void) | undefined, run: () => void): void => {
					t.false(busy.has(name), 'one request at a time');
					busy.add(name);
					open.push(() => {
						run();
						busy.delete(name);
						done?.();
					});
				};
				const updates = new UpdateQueue(
					{
						update(_type, name, session, done) {
							ask(
								name,
								() => done?.(true),
								() => stored.set(name, String(session)),
							);
						},
						delete(_type, name, done) {
							ask(
								name,
								() => done?.(true),
								() => stored.delete(name),
							);
						},
					},
					new DeadlineClock(),
				);
				const last = new Map<string, string>();
				const made: Fake[] = [];
				for (const [index, one] of steps.entries()) {
					if (one === 'answer') {
						open.shift()?.();
					} else if ('update' in one) {
						const fake = new Fake(String(index));
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
				while (open.length > 0) {
					open.shift()?.();
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
	/* What has the same key as the one before waits until that is stored. */
	const expected: string[] = [];
	for (const separator of [' ', '\n', '&', '\0', ':']) {
		for (const [type, id] of [
			[`smtp${separator}a`, 'b'],
			['smtp', `a${separator}b`],
		] as const) {
			updates.update(type, id, new Fake('x'));
			expected.push(`${type}|${id}`);
		}
	}

	t.deepEqual(asked, expected);
});
