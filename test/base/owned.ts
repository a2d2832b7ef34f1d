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

test('Owned holds falsy values', t => {
	const log: unknown[] = [];
	for (const value of [0, '', undefined, null, false]) {
		const owned = new Owned<unknown>(value, gone => log.push(gone));
		t.is(owned.value, value);
		owned[Symbol.dispose]();
	}

	t.deepEqual(log, [0, '', undefined, null, false]);
});

test('move makes the old Owned unusable', t => {
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

test('Owned is released at the end of its scope, in reverse order', t => {
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

/** A disposable that records its release, and may throw then. */
function disposable(log: string[], name: string, reason?: unknown): Disposable {
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

test('Resources release each entry once, in reverse order', t => {
	const log: string[] = [];
	const resources = new Resources();
	const first = disposable(log, 'first');
	t.is(resources.use(first), first);
	resources.use(disposable(log, 'second'));
	resources.use(disposable(log, 'third'));
	resources[Symbol.dispose]();
	resources[Symbol.dispose]();
	t.deepEqual(log, ['third', 'second', 'first']);
});

test('Resources accept no entry after or during their release', t => {
	const log: string[] = [];
	const resources = new Resources();
	resources.use({
		[Symbol.dispose]: () => void t.throws(() => resources.use(disposable(log, 'while')), gone),
	});
	resources[Symbol.dispose]();
	t.throws(() => resources.use(disposable(log, 'after')), gone);
	t.throws(() => resources.move(), gone);
	resources.release(disposable(log, 'other'));
	t.deepEqual(log, []);
	t.plan(4);
});

test('release disposes of one entry, once, and ignores other objects', t => {
	const log: string[] = [];
	const resources = new Resources();
	resources.use(disposable(log, 'first'));
	const second = resources.use(disposable(log, 'second'));
	resources.use(disposable(log, 'third'));
	resources.release(second);
	resources.release(second);
	resources.release(disposable(log, 'other'));
	t.deepEqual(log, ['second']);
	resources[Symbol.dispose]();
	t.deepEqual(log, ['second', 'third', 'first']);
});

test('Resources are empty before the first entry and after the last release', t => {
	const resources = new Resources();
	t.true(resources.empty);
	const one = resources.use(disposable([], 'one'));
	const other = resources.use(disposable([], 'other'));
	resources.release(one);
	t.false(resources.empty);
	resources.release(other);
	t.true(resources.empty);
	resources.use(one);
	resources[Symbol.dispose]();
	t.true(resources.empty);
});

test('release removes an entry that throws', t => {
	const log: string[] = [];
	const resources = new Resources();
	const one = resources.use(disposable(log, 'one', new Error('one')));
	t.throws(() => resources.release(one), {message: 'one'});
	resources[Symbol.dispose]();
	t.deepEqual(log, ['one']);
});

test('move passes all entries to the new owner', t => {
	const log: string[] = [];
	const second = (() => {
		using first = new Resources();
		first.use(disposable(log, 'one'));
		first.use(disposable(log, 'two'));
		const moved = first.move();
		t.throws(() => first.use(disposable(log, 'three')), gone);
		return moved;
	})();
	t.deepEqual(log, []);
	second.use(disposable(log, 'four'));
	second[Symbol.dispose]();
	t.deepEqual(log, ['four', 'two', 'one']);
});

test('Resources behave like a DisposableStack, whichever entries throw', t => {
	fc.assert(
		fc.property(
			fc.array(fc.option(fc.constantFrom<unknown>('text', null, 0, new Error('error')))),
			reasons => {
				const stacks: readonly Stack[] = [new Resources(), new DisposableStack()];
				const outcomes = stacks.map(stack => {
					const log: string[] = [];
					for (const [index, reason] of reasons.entries()) {
						stack.use(disposable(log, String(index), reason ?? undefined));
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

interface Stack extends Disposable {
	use(resource: Disposable): unknown;
}

/** A thrown value and the values that it suppressed. */
function chain(reason: unknown): readonly unknown[] {
	return reason instanceof SuppressedError ? [reason.error, ...chain(reason.suppressed)] : [reason];
}
