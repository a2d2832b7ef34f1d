import test from 'ava';
import fc from 'fast-check';
import {SessionCache} from '../../src/tls/session-cache.ts';
import type {Milliseconds} from '../../src/units.ts';

const LIFETIME = 1000 as Milliseconds;
const ticket = (value: number) => ({bytes: Uint8Array.of(value), singleUse: true});
const session = (value: number) => ({bytes: Uint8Array.of(value), singleUse: false});

/** A cache whose clock stands at `clock.now`. */
function cacheOf(limit = 10) {
	const clock = {now: 0};
	return {clock, cache: new SessionCache(limit, LIFETIME, () => clock.now)};
}

test('take gives nothing under a name that was never used', t => {
	t.is(cacheOf().cache.take('a'), undefined);
});

test('take gives each ticket once, the newest first', t => {
	const {cache} = cacheOf();
	cache.put('a', ticket(1));
	cache.put('a', ticket(2));
	t.deepEqual([cache.take('a')?.[0], cache.take('a')?.[0], cache.take('a')], [2, 1, undefined]);
	t.is(cache.size, 0);
});

test('take gives a session of TLS 1.2 as often as it is asked', t => {
	const {cache} = cacheOf();
	cache.put('a', session(1));
	t.deepEqual([cache.take('a')?.[0], cache.take('a')?.[0]], [1, 1]);
	cache.put('a', session(2));
	t.is(cache.take('a')?.[0], 2);
});

test('drop forgets all sessions of a name, and no others', t => {
	const {cache} = cacheOf();
	cache.put('a', ticket(1));
	cache.put('a', ticket(2));
	cache.put('b', session(3));
	cache.drop('a');
	t.is(cache.take('a'), undefined);
	t.is(cache.take('b')?.[0], 3);
	t.notThrows(() => cache.drop('c'));
});

test('names have nothing to do with each other', t => {
	const {cache} = cacheOf();
	cache.put('a', ticket(1));
	t.is(cache.take('b'), undefined);
	t.is(cache.take('a')?.[0], 1);
});

test('what is too old is gone', t => {
	const {cache, clock} = cacheOf();
	cache.put('a', session(1));
	clock.now = LIFETIME - 1;
	t.is(cache.take('a')?.[0], 1);
	clock.now = LIFETIME;
	t.is(cache.take('a'), undefined);
	t.is(cache.size, 0);
});

test('the name that was not used for longest goes first', t => {
	const {cache} = cacheOf(2);
	cache.put('a', session(1));
	cache.put('b', session(2));
	cache.take('a');
	cache.put('c', session(3));
	t.is(cache.take('b'), undefined);
	t.is(cache.take('a')?.[0], 1);
	t.is(cache.take('c')?.[0], 3);
});

test('whatever is put and taken: never more names than the limit, never a ticket twice, never that of another name', t => {
	const name = fc.constantFrom('a', 'b', 'c', 'd');
	const step = fc.oneof(
		fc.record({put: name, singleUse: fc.boolean()}),
		fc.record({take: name}),
		fc.record({wait: fc.integer({min: 1, max: 600})}),
	);
	fc.assert(
		fc.property(fc.array(step, {maxLength: 100}), steps => {
			const {cache, clock} = cacheOf(3);
			const made = new Map<
				number,
				{readonly name: string; readonly singleUse: boolean; readonly at: number}
			>();
			const taken = new Set<number>();
			for (const [index, one] of steps.entries()) {
				if ('put' in one) {
					made.set(index, {name: one.put, singleUse: one.singleUse, at: clock.now});
					cache.put(one.put, {bytes: Uint8Array.of(index), singleUse: one.singleUse});
				} else if ('take' in one) {
					const value = cache.take(one.take)?.[0];
					const origin = value === undefined ? undefined : made.get(value);
					if (value !== undefined && origin !== undefined) {
						t.is(origin.name, one.take);
						t.true(clock.now < origin.at + LIFETIME);
						t.false(origin.singleUse && taken.has(value));
						taken.add(value);
					}
				} else {
					clock.now += one.wait;
				}

				t.true(cache.size <= 3);
			}
		}),
	);
});
