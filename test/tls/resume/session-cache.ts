import test from 'ava';
import fc from 'fast-check';
import type {Milliseconds} from '../../../src/base/units.ts';
import {SessionCache} from '../../../src/tls/resume/session-cache.ts';
import {FakeSession as Fake} from '../../helpers/fake-session.ts';

const LIFETIME = 1000 as Milliseconds;

const ticket = (value: number) => new Fake(value, true);
const session = (value: number) => new Fake(value, false);

/** A cache whose clock stands at `clock.now`. */
function cacheOf(limit = 10) {
	const clock = {now: 0};
	return {clock, cache: new SessionCache<Fake>(limit, LIFETIME, () => clock.now)};
}

test('take gives nothing under a name that was never used', t => {
	t.is(cacheOf().cache.take('a'), undefined);
});

test('take gives each ticket once, the newest first', t => {
	const {cache} = cacheOf();
	cache.put('a', ticket(1));
	cache.put('a', ticket(2));
	t.deepEqual([cache.take('a')?.value, cache.take('a')?.value, cache.take('a')], [2, 1, undefined]);
	t.is(cache.size, 0);
});

test('take gives a session of TLS 1.2 as often as it is asked', t => {
	const {cache} = cacheOf();
	cache.put('a', session(1));
	t.deepEqual([cache.take('a')?.value, cache.take('a')?.value], [1, 1]);
	cache.put('a', session(2));
	t.is(cache.take('a')?.value, 2);
});

test('drop forgets all sessions of a name, and no others', t => {
	const {cache} = cacheOf();
	cache.put('a', ticket(1));
	cache.put('a', ticket(2));
	cache.put('b', session(3));
	cache.drop('a');
	t.is(cache.take('a'), undefined);
	t.is(cache.take('b')?.value, 3);
	t.notThrows(() => cache.drop('c'));
});

test('names have nothing to do with each other', t => {
	const {cache} = cacheOf();
	cache.put('a', ticket(1));
	t.is(cache.take('b'), undefined);
	t.is(cache.take('a')?.value, 1);
});

test('what is too old is gone', t => {
	const {cache, clock} = cacheOf();
	cache.put('a', session(1));
	clock.now = LIFETIME - 1;
	t.is(cache.take('a')?.value, 1);
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
	t.is(cache.take('a')?.value, 1);
	t.is(cache.take('c')?.value, 3);
});

test('what was taken belongs to who has taken it; of a session that stays it is a copy', t => {
	const {cache} = cacheOf();
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

/* Each of them once, however it goes. */
const goes = test.macro<[how: string, run: (cache: SessionCache<Fake>, clock: {now: number}) => void]>({
	exec(t, _, run) {
		const {cache, clock} = cacheOf(2);
		const gone = ticket(1);
		cache.put('a', gone);
		t.is(gone.disposals, 0);
		run(cache, clock);
		t.is(gone.disposals, 1);
		cache[Symbol.dispose]();
		cache.drop('a');
		t.is(gone.disposals, 1);
	},
	title: (_, how) => `a session that ${how} is disposed once`,
});
test(goes, 'is dropped', cache => cache.drop('a'));
test(goes, 'is replaced by one for all times', cache => cache.put('a', session(2)));
test(goes, 'is too old when others are asked for', (cache, clock) => {
	clock.now = LIFETIME;
	cache.take('a');
});
test(goes, 'is one of too many', cache => {
	for (const value of [2, 3, 4, 5]) {
		cache.put('a', ticket(value));
	}
});
test(goes, 'has the name that was not used for longest', cache => {
	cache.put('b', ticket(2));
	cache.put('c', ticket(3));
});
test(goes, 'is there at the end', cache => cache[Symbol.dispose]());

test('whatever is put and taken: never more names than the limit, never a ticket twice, never that of another name, and each session has an owner', t => {
	const name = fc.constantFrom('a', 'b', 'c', 'd');
	const step = fc.oneof(
		fc.record({put: name, singleUse: fc.boolean()}),
		fc.record({take: name}),
		fc.record({drop: name}),
		fc.record({wait: fc.integer({min: 1, max: 600})}),
	);
	fc.assert(
		fc.property(fc.array(step, {maxLength: 100}), steps => {
			const {cache, clock} = cacheOf(3);
			const made = new Map<number, {readonly name: string; readonly fake: Fake; readonly at: number}>();
			const taken = new Set<Fake>();
			for (const [index, one] of steps.entries()) {
				if ('put' in one) {
					const fake = new Fake(index, one.singleUse);
					made.set(index, {name: one.put, fake, at: clock.now});
					cache.put(one.put, fake);
				} else if ('take' in one) {
					const got = cache.take(one.take);
					const origin = got === undefined ? undefined : made.get(got.value);
					if (got !== undefined && origin !== undefined) {
						t.is(origin.name, one.take);
						t.true(clock.now < origin.at + LIFETIME);
						t.false(taken.has(got));
						t.is(got.disposals, 0);
						taken.add(got);
					}
				} else if ('drop' in one) {
					cache.drop(one.drop);
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
