import test from 'ava';
import {DecodedSessionCache} from '../../../src/tls/resume/decoded-sessions.ts';
import {FakeSession} from '../../helpers/fake-session.ts';

/** A memory for two names that counts what it reads; no bytes are no session. */
function memory() {
	const read: FakeSession[] = [];
	const sessions = new DecodedSessionCache<FakeSession>(2, ([value]) => {
		if (value === undefined) {
			return undefined;
		}

		const session = new FakeSession(value, true);
		read.push(session);
		return session;
	});
	return {
		read,
		parse: (name: string, ...bytes: number[]) => sessions.parse(name, Buffer.from(bytes)),
		sessions,
	};
}

test('the same bytes are read once, and each caller owns a copy', t => {
	const {read, parse, sessions} = memory();
	const got = [parse('a', 1), parse('a', 1), parse('a', 1)];
	t.deepEqual(
		got.map(session => session?.value),
		[1, 1, 1],
	);
	t.is(read.length, 1);
	t.is(new Set([...got, ...read]).size, 4);
	sessions[Symbol.dispose]();
	t.is(read[0]?.disposals, 1);
	t.true(got.every(session => session?.disposals === 0));
});

test('other bytes are read, and take the place of those before', t => {
	const {read, parse, sessions} = memory();
	parse('a', 1);
	t.is(parse('a', 2)?.value, 2);
	t.is(parse('a', 2, 0)?.value, 2);
	t.is(read.length, 3);
	t.deepEqual(
		read.map(({disposals}) => disposals),
		[1, 1, 0],
	);
	sessions[Symbol.dispose]();
	sessions[Symbol.dispose]();
	t.true(read.every(({disposals}) => disposals === 1));
});

test('names have nothing to do with each other', t => {
	const {read, parse} = memory();
	parse('a', 1);
	parse('b', 1);
	t.is(read.length, 2);
});

test('the name that was not used for longest goes first', t => {
	const {read, parse} = memory();
	parse('a', 1);
	parse('b', 2);
	parse('a', 1);
	parse('c', 3);
	t.deepEqual(
		read.map(({disposals}) => disposals),
		[0, 1, 0],
	);
	t.is(parse('a', 1)?.value, 1);
	t.is(read.length, 3);
});

test('bytes that are no session are none each time, and leave nothing of what was before', t => {
	const {read, parse} = memory();
	parse('a', 1);
	t.is(parse('a'), undefined);
	t.is(parse('a'), undefined);
	t.is(read[0]?.disposals, 1);
});
