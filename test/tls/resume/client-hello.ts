import test from 'ava';
import fc from 'fast-check';
import {
	type ClientHello,
	offeredResumption,
	type ServerCapabilities,
} from '../../../src/tls/resume/client-hello.ts';

const all: ServerCapabilities = {modern: true, tickets: true, sessions: true};
const id = Buffer.alloc(32, 'i');
const ticket = Buffer.concat([Buffer.alloc(16, 'n'), Buffer.alloc(100, 't')]);
const name = Buffer.alloc(16, 'n');
const modern = Buffer.from([4, 0x03, 0x04, 0x03, 0x03]);
const old = Buffer.from([2, 0x03, 0x03]);

function hello(
	extensions: Readonly<Record<number, Uint8Array>> = {},
	sessionId: Uint8Array = id,
): ClientHello {
	return {sessionId, extension: type => extensions[type]};
}

function word(value: number): Buffer {
	return Buffer.from([value >> 8, value & 0xff]);
}

/* pre_shared_key, with a binder that nobody looks at. */
function identities(...list: readonly Uint8Array[]): Buffer {
	const joined = Buffer.concat(
		list.flatMap(identity => [word(identity.length), identity, Buffer.from([0, 0, 0, 9])]),
	);
	return Buffer.concat([word(joined.length), joined, word(33), Buffer.alloc(33, 32)]);
}

const nothing = {keyNames: [], sessionIds: []};

test('a client without a session offers nothing', t => {
	t.deepEqual(offeredResumption(hello({}, Buffer.alloc(0)), all), nothing);
	t.deepEqual(offeredResumption(hello({35: Buffer.alloc(0)}, Buffer.alloc(0)), all), nothing);
});

test('the session id of TLS 1.3 is random, and no offer', t => {
	t.deepEqual(offeredResumption(hello({43: modern, 35: Buffer.alloc(0)}), all), nothing);
	t.deepEqual(offeredResumption(hello({43: old}), all), {keyNames: [], sessionIds: [id]});
	t.deepEqual(offeredResumption(hello({43: modern}), {...all, modern: false}), {
		keyNames: [],
		sessionIds: [id],
	});
});

test('a ticket has the name of its key in front', t => {
	t.deepEqual(offeredResumption(hello({35: ticket}), all), {keyNames: [name], sessionIds: []});
	t.deepEqual(offeredResumption(hello({35: ticket}), {...all, tickets: false}), {
		keyNames: [],
		sessionIds: [id],
	});
	t.deepEqual(offeredResumption(hello({35: ticket.subarray(0, 15)}), all), nothing);
});

test('with TLS 1.3 tickets are pre-shared keys', t => {
	const other = Buffer.concat([Buffer.alloc(16, 'm'), Buffer.alloc(60)]);
	const offer = hello({43: modern, 41: identities(ticket, other)});
	t.deepEqual(offeredResumption(offer, all), {keyNames: [name, Buffer.alloc(16, 'm')], sessionIds: []});
	t.deepEqual(offeredResumption(offer, {...all, tickets: false}), nothing);
	t.deepEqual(offeredResumption(hello({43: modern, 41: identities(id)}), {...all, tickets: false}), {
		keyNames: [],
		sessionIds: [id],
	});
});

test('no more than four offers are looked at', t => {
	const offer = hello({43: modern, 41: identities(...Array.from({length: 50}, () => ticket))});
	t.is(offeredResumption(offer, all).keyNames.length, 4);
});

test('whatever a stranger sends, names have 16 bytes and ids at most 32', t => {
	const bytes = fc.uint8Array({maxLength: 200});
	fc.assert(
		fc.property(bytes, bytes, bytes, bytes, fc.boolean(), fc.boolean(), (a, b, c, d, tickets, sessions) => {
			const {keyNames, sessionIds} = offeredResumption(hello({35: a, 41: b, 43: c}, d), {
				modern: true,
				tickets,
				sessions,
			});
			return (
				keyNames.length + sessionIds.length <= 4 &&
				keyNames.every(({length}) => length === 16) &&
				sessionIds.every(({length}) => length > 0 && length <= 32)
			);
		}),
	);
	t.pass();
});
