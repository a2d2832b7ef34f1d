import test from 'ava';
import fc from 'fast-check';
import {Panic} from '../../src/base/errors.ts';
import {Owned, Resources} from '../../src/base/owned.ts';

const released = {instanceOf: Panic, message: 'use of a released handle'};

test('Owned lends its value until it is disposed', t => {
	const owned = new Owned('handle', () => undefined);
	t.is(owned.value, 'handle');
	t.is(owned.value, 'handle');
	owned[Symbol.dispose]();
	t.throws(() => owned.value, released);
});

test('Owned releases its value once, however often it is disposed', t => {
	const log: number[] = [];
	const owned = new Owned(7, value => log.push(value));
	owned[Symbol.dispose]();
	owned[Symbol.dispose]();
	t.deepEqual(log, [7]);
});

test('Owned holds values that look like nothing', t => {
	const log: unknown[] = [];
	for (const value of [0, '', undefined, null, false]) {
		const owned = new Owned<unknown>(value, gone => log.push(gone));
		t.is(owned.value, value);
		owned[Symbol.dispose]();
	}

	t.deepEqual(log, [0, '', undefined, null, false]);
});

test('move leaves nothing to use, to move or to release', t => {
	const log: string[] = [];
	const first = new Owned('handle', value => log.push(value));
	const second = first.move();
	first[Symbol.dispose]();
	t.deepEqual(log, []);
	t.throws(() => first.value, released);
	t.throws(() => first.move(), released);
	t.is(second.value, 'handle');
	second[Symbol.dispose]();
	t.deepEqual(log, ['handle']);
});

test('Owned is released at the end of its scope, newest first', t => {
	const log: string[] = [];
	{
		using older = new Owned('older', value => log.push(value));
		using newer = new Owned('newer', value => log.push(value));
		log.push(`${older.value} ${newer.value}`);
	}

	t.deepEqual(log, ['older newer', 'newer', 'older']);
});

test('Owned is unusable while it is being released', t => {
	const owned: Owned<string> = new Owned('handle', () => t.throws(() => owned.value, released));
	t.plan(1);
	owned[Symbol.dispose]();
});

test('Owned releases exactly once in any order of moves and disposals', t => {
	fc.assert(
		fc.property(fc.array(fc.tuple(fc.constantFrom('move', 'dispose'), fc.nat(5))), steps => {
			let count = 0;
			const holders = [new Owned(1, () => count++)];
			for (const [step, at] of steps) {
				const holder = holders[at % holders.length];
				try {
					if (step === 'dispose') {
						holder?.[Symbol.dispose]();
					} else if (holder !== undefined) {
						holders.push(holder.move());
					}
				} catch (reason) {
					t.true(reason instanceof Panic);
				}
			}

			t.true(count <= 1);
			for (const holder of holders) {
				holder[Symbol.dispose]();
			}

			t.is(count, 1);
		}),
	);
});

/** Something that says in a log that it is released, and what it throws then. */
function thing(log: string[], name: string, reason?: unknown): Disposable {
	return {
		[Symbol.dispose]() {
			log.push(name);
			if (reason !== undefined) {
				throw reason;
			}
		},
	};
}

const gone = {instanceOf: Panic, message: 'use of released resources'};

test('Resources are released once, the last one first', t => {
	const log: string[] = [];
	const resources = new Resources();
	const first = thing(log, 'first');
	t.is(resources.use(first), first);
	resources.use(thing(log, 'second'));
	resources.use(thing(log, 'third'));
	resources[Symbol.dispose]();
	resources[Symbol.dispose]();
	t.deepEqual(log, ['third', 'second', 'first']);
});

test('Resources take nothing more when they are released, nor while they are', t => {
	const log: string[] = [];
	const resources = new Resources();
	resources.use({
		[Symbol.dispose]: () => void t.throws(() => resources.use(thing(log, 'while')), gone),
	});
	resources[Symbol.dispose]();
	t.throws(() => resources.use(thing(log, 'after')), gone);
	t.throws(() => resources.move(), gone);
	resources.release(thing(log, 'other'));
	t.deepEqual(log, []);
	t.plan(4);
});

test('Resources release one of them before the others, once, and none that is not theirs', t => {
	const log: string[] = [];
	const resources = new Resources();
	resources.use(thing(log, 'first'));
	const second = resources.use(thing(log, 'second'));
	resources.use(thing(log, 'third'));
	resources.release(second);
	resources.release(second);
	resources.release(thing(log, 'other'));
	t.deepEqual(log, ['second']);
	resources[Symbol.dispose]();
	t.deepEqual(log, ['second', 'third', 'first']);
});

test('Resources are empty before anything is there and when nothing is left', t => {
	const resources = new Resources();
	t.true(resources.empty);
	const one = resources.use(thing([], 'one'));
	const other = resources.use(thing([], 'other'));
	resources.release(one);
	t.false(resources.empty);
	resources.release(other);
	t.true(resources.empty);
	resources.use(one);
	resources[Symbol.dispose]();
	t.true(resources.empty);
});

test('Resources forget what throws when it is released before the others', t => {
	const log: string[] = [];
	const resources = new Resources();
	const one = resources.use(thing(log, 'one', new Error('one')));
	t.throws(() => resources.release(one), {message: 'one'});
	resources[Symbol.dispose]();
	t.deepEqual(log, ['one']);
});

test('Resources that are moved belong to their new owner', t => {
	const log: string[] = [];
	const second = (() => {
		using first = new Resources();
		first.use(thing(log, 'one'));
		first.use(thing(log, 'two'));
		const moved = first.move();
		t.throws(() => first.use(thing(log, 'three')), gone);
		return moved;
	})();
	t.deepEqual(log, []);
	second.use(thing(log, 'four'));
	second[Symbol.dispose]();
	t.deepEqual(log, ['four', 'two', 'one']);
});

test('Resources are released as a DisposableStack releases them, whatever any of them throws', t => {
	fc.assert(
		fc.property(
			fc.array(fc.option(fc.constantFrom<unknown>('text', null, 0, new Error('error')))),
			reasons => {
				const stacks: readonly Stack[] = [new Resources(), new DisposableStack()];
				const outcomes = stacks.map(stack => {
					const log: string[] = [];
					for (const [index, reason] of reasons.entries()) {
						stack.use(thing(log, String(index), reason ?? undefined));
					}

					try {
						stack[Symbol.dispose]();
						return {log, thrown: 'nothing'};
					} catch (reason) {
						return {log, thrown: chain(reason)};
					}
				});
				t.deepEqual(outcomes[0], outcomes[1]);
				t.is(outcomes[0]?.log.length, reasons.length);
			},
		),
	);
});

/** What both have. */
interface Stack extends Disposable {
	use(resource: Disposable): unknown;
}

/** What was thrown, and what that has suppressed. */
function chain(reason: unknown): readonly unknown[] {
	return reason instanceof SuppressedError ? [reason.error, ...chain(reason.suppressed)] : [reason];
}
