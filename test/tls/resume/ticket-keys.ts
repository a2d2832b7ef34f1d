import test from 'ava';
import type {Seconds} from '../../../src/base/units.ts';
import {TicketKeys} from '../../../src/tls/resume/ticket-keys.ts';
import type {TicketKey} from '../../../src/wire/ticket-key.ts';

const timeout = 100 as Seconds;

function key(name: string, expires: number): TicketKey {
	return {
		name: Buffer.alloc(16, name),
		cipherKey: Buffer.alloc(32, name),
		macKey: Buffer.alloc(32, name),
		expires,
	};
}

const [a, b, c] = [key('a', 1000), key('b', 1050), key('c', 1100)];

test('a key encrypts tickets until it expires, and decrypts them for the session timeout after that', t => {
	const keys = new TicketKeys();
	t.is(keys.find(undefined, 900, timeout), undefined);
	t.is(keys.find(a.name, 900, timeout), undefined);
	keys.add(a);
	t.is(keys.find(undefined, 999, timeout), a);
	t.is(keys.find(undefined, 1000, timeout), undefined);
	t.is(keys.find(a.name, 1000, timeout), a);
	t.is(keys.find(a.name, 1099, timeout), a);
	t.is(keys.find(a.name, 1100, timeout), undefined);
});

test('the key that expires last encrypts tickets, in any order of addition', t => {
	for (const order of [
		[a, b],
		[b, a],
	]) {
		const keys = new TicketKeys();
		for (const one of order) {
			keys.add(one);
		}

		t.is(keys.find(undefined, 900, timeout), b);
		t.is(keys.find(a.name, 900, timeout), a);
		t.is(keys.find(b.name, 900, timeout), b);
	}
});

test('a third key replaces the previous key', t => {
	const keys = new TicketKeys();
	keys.add(a);
	keys.add(b);
	keys.add(c);
	t.is(keys.find(undefined, 900, timeout), c);
	t.is(keys.find(b.name, 900, timeout), b);
	t.is(keys.find(a.name, 900, timeout), undefined);
	keys.add(a);
	t.is(keys.find(undefined, 900, timeout), c, 'an older key that was looked up does not encrypt tickets');
	t.is(keys.find(a.name, 900, timeout), a);
	t.is(keys.find(b.name, 900, timeout), undefined);
});
