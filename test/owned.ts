import test from 'ava';
import fc from 'fast-check';
import {Panic} from '../src/errors.ts';
import {Owned} from '../src/owned.ts';

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
