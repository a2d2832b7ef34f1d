import test from 'ava';
import fc from 'fast-check';
import type {Milliseconds} from '../../../src/base/units.ts';
import {SessionCache} from '../../../src/tls/resume/session-cache.ts';
import {FakeSession as Fake} from '../../helpers/fake-session.ts';

const LIFETIME = 1000 as Milliseconds;

const ticket = (value: number) => new Fake(value, true);
const session = (value: number) => new Fake(value, false);

/** A cache whose clock shows `clock.now`. */
function newCache(limit = 10) {
	const clock = {now: 0};
	return {clock, cache: new SessionCache<Fake>(limit, LIFETIME, () => clock.now)};
}

test('take returns nothing for an unknown key', t => {
	t.is(newCache().cache.take('a'), undefined);
});

test('take returns each ticket once, the newest first', t => {
	const {cache} = newCache();
	cache.put('a', ticket(1));
	cache.put('a', ticket(2));
	t.deepEqual([cache.take('a')?.value, cache.take('a')?.value, cache.take('a')], [2, 1, undefined]);
	t.is(cache.size, 0);
});

test('take returns a TLS 1.2 session any number of times', t => {
	const {cache} = newCache();
	cache.put('a', session(1));
	t.deepEqual([cache.take('a')?.value, cache.take('a')?.value], [1, 1]);
	cache.put('a', session(2));
	t.is(cache.take('a')?.value, 2);
});

test('delete drops all sessions of a key, and no others', t => {
	const {cache} = newCache();
	cache.put('a', ticket(1));
	cache.put('a', ticket(2));
	cache.put('b', session(3));
	cache.delete('a');
	t.is(cache.take('a'), undefined);
	t.is(cache.take('b')?.value, 3);
	t.notThrows(() => cache.delete('c'));
});

test('keys are independent', t => {
	const {cache} = newCache();
	cache.put('a', ticket(1));
	t.is(cache.take('b'), undefined);
	t.is(cache.take('a')?.value, 1);
});

test('an expired session is dropped', t => {
	const {cache, clock} = newCache();
	cache.put('a', session(1));
	clock.now = LIFETIME - 1;
	t.is(cache.take('a')?.value, 1);
	clock.now = LIFETIME;
	t.is(cache.take('a'), undefined);
	t.is(cache.size, 0);
});

test('the least recently used key is dropped first', t => {
	const {cache} = newCache(2);
	cache.put('a', session(1));
	cache.put('b', session(2));
	cache.take('a');
	cache.put('c', session(3));
	t.is(cache.take('b'), undefined);
	t.is(cache.take('a')?.value, 1);
	t.is(cache.take('c')?.value, 3);
});

test('the caller owns a taken session, which is a copy if the session stays in the cache', t => {
	const {cache} = newCache();
	const [once, often] = [ticket(1), session(2)];
	cache.put('a', once);
	cache.put('b', often);
	t.is(cache.take('a'), once);
	const copy = cache.take('b');
	t.is(copy, often.copies[0]);
	t.not(copy, often);
	cache[Symbol.dispose]();
	t.is(cache.size, 0);
	t.deepEqual([once.disposals, copy?.disposals, often.disposals], [0, 0, 1]);
});

/* Each session is disposed exactly once. */
const disposesOnce = test.macro<
	[how: string, run: (cache: SessionCache<Fake>, clock: {now: number}) => void]
>({
	exec(t, _, run) {
		const {cache, clock} = newCache(2);
		const dropped = ticket(1);
		cache.put('a', dropped);
		t.is(dropped.disposals, 0);
		run(cache, clock);
		t.is(dropped.disposals, 1);
		cache[Symbol.dispose]();
		cache.delete('a');
		t.is(dropped.disposals, 1);
	},
	title: (_, how) => `a session is disposed once when ${how}`,
});
test(disposesOnce, 'its key is deleted', cache => cache.delete('a'));
test(disposesOnce, 'a TLS 1.2 session replaces it', cache => cache.put('a', session(2)));
test(disposesOnce, 'it has expired at the next take', (cache, clock) => {
	clock.now = LIFETIME;
	cache.take('a');
});
test(disposesOnce, 'its key has too many sessions', cache => {
	for (const value of [2, 3, 4, 5]) {
		cache.put('a', ticket(value));
	}
});
test(disposesOnce, 'its key is the least recently used one', cache => {
	cache.put('b', ticket(2));
	cache.put('c', ticket(3));
});
test(disposesOnce, 'the cache is disposed', cache => cache[Symbol.dispose]());

test('for any sequence of calls: the key limit holds, no ticket is returned twice or for another key, and each session is disposed once', t => {
	const key = fc.constantFrom('a', 'b', 'c', 'd');
	const step = fc.oneof(
		fc.record({put: key, singleUse: fc.boolean()}),
		fc.record({take: key}),
		fc.record({delete: key}),
		fc.record({wait: fc.integer({min: 1, max: 600})}),
	);
	fc.assert(
		fc.property(fc.array(step, {maxLength: 100}), steps => {
			const {cache, clock} = newCache(3);
			const made = new Map<number, {readonly key: string; readonly fake: Fake; readonly at: number}>();
			const taken = new Set<Fake>();
			for (const [index, one] of steps.entries()) {
				if ('put' in one) {
					const fake = new Fake(index, one.singleUse);
					made.set(index, {key: one.put, fake, at: clock.now});
					cache.put(one.put, fake);
				} else if ('take' in one) {
					const got = cache.take(one.take);
					const origin = got === undefined ? undefined : made.get(got.value);
					if (got !== undefined && origin !== undefined) {
						t.is(origin.key, one.take);
						t.true(clock.now < origin.at + LIFETIME);
						t.false(taken.has(got));
						t.is(got.disposals, 0);
						taken.add(got);
					}
				} else if ('delete' in one) {
					cache.delete(one.delete);
				} else {
					clock.now += one.wait;
				}

				t.true(cache.size <= 3);
			}

			cache[Symbol.dispose]();
			for (const {fake} of made.values()) {
				t.is(fake.disposals, taken.has(fake) ? 0 : 1);
				t.true(fake.copies.every(copy => taken.has(copy) && copy.disposals === 0));
			}
		}),
	);
});
