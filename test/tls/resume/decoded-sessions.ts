import test from 'ava';
import {DecodedSessionCache} from '../../../src/tls/resume/decoded-sessions.ts';
import {FakeSession} from '../../helpers/fake-session.ts';

/** A cache with two keys that records its decoded sessions; empty bytes are not a session. */
function newCache() {
	const decoded: FakeSession[] = [];
	const cache = new DecodedSessionCache<FakeSession>(2, ([value]) => {
		if (value === undefined) {
			return undefined;
		}

		const session = new FakeSession(value, true);
		decoded.push(session);
		return session;
	});
	return {
		decoded,
		decode: (key: string, ...bytes: number[]) => cache.decode(key, Buffer.from(bytes)),
		cache,
	};
}

test('the same bytes are decoded once, and each caller owns a copy', t => {
	const {decoded, decode, cache} = newCache();
	const got = [decode('a', 1), decode('a', 1), decode('a', 1)];
	t.deepEqual(
		got.map(session => session?.value),
		[1, 1, 1],
	);
	t.is(decoded.length, 1);
	t.is(new Set([...got, ...decoded]).size, 4);
	cache[Symbol.dispose]();
	t.is(decoded[0]?.disposals, 1);
	t.true(got.every(session => session?.disposals === 0));
});

test('other bytes are decoded and replace the previous session of the key', t => {
	const {decoded, decode, cache} = newCache();
	decode('a', 1);
	t.is(decode('a', 2)?.value, 2);
	t.is(decode('a', 2, 0)?.value, 2);
	t.is(decoded.length, 3);
	t.deepEqual(
		decoded.map(({disposals}) => disposals),
		[1, 1, 0],
	);
	cache[Symbol.dispose]();
	cache[Symbol.dispose]();
	t.true(decoded.every(({disposals}) => disposals === 1));
});

test('keys are independent', t => {
	const {decoded, decode} = newCache();
	decode('a', 1);
	decode('b', 1);
	t.is(decoded.length, 2);
});

test('the least recently used key is dropped first', t => {
	const {decoded, decode} = newCache();
	decode('a', 1);
	decode('b', 2);
	decode('a', 1);
	decode('c', 3);
	t.deepEqual(
		decoded.map(({disposals}) => disposals),
		[0, 1, 0],
	);
	t.is(decode('a', 1)?.value, 1);
	t.is(decoded.length, 3);
});

test('bytes that are not a session give no session and drop the previous session of the key', t => {
	const {decoded, decode} = newCache();
	decode('a', 1);
	t.is(decode('a'), undefined);
	t.is(decode('a'), undefined);
	t.is(decoded[0]?.disposals, 1);
});
