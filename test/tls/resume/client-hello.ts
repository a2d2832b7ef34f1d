import test from 'ava';
import fc from 'fast-check';
import {
	type ClientHello,
	offeredResumption,
	type ServerCapabilities,
} from '../../../src/tls/resume/client-hello.ts';

const all: ServerCapabilities = {tls13: true, tickets: true, sessionIds: true};
const id = Buffer.alloc(32, 'i');
const ticket = Buffer.concat([Buffer.alloc(16, 'n'), Buffer.alloc(100, 't')]);
const name = Buffer.alloc(16, 'n');
const tls13 = Buffer.from([4, 0x03, 0x04, 0x03, 0x03]);
const tls12 = Buffer.from([2, 0x03, 0x03]);

function hello(
	extensions: Readonly<Record<number, Uint8Array>> = {},
	sessionId: Uint8Array = id,
): ClientHello {
	return {sessionId, extension: type => extensions[type]};
}

function uint16(value: number): Buffer {
	return Buffer.from([value >> 8, value & 0xff]);
}

/* The pre_shared_key extension; its binder is not examined. */
function preSharedKeys(...list: readonly Uint8Array[]): Buffer {
	const joined = Buffer.concat(
		list.flatMap(identity => [uint16(identity.length), identity, Buffer.from([0, 0, 0, 9])]),
	);
	return Buffer.concat([uint16(joined.length), joined, uint16(33), Buffer.alloc(33, 32)]);
}

const noOffer = {keyNames: [], sessionIds: []};

test('a ClientHello without a session id and without a ticket offers no session', t => {
	t.deepEqual(offeredResumption(hello({}, Buffer.alloc(0)), all), noOffer);
	t.deepEqual(offeredResumption(hello({35: Buffer.alloc(0)}, Buffer.alloc(0)), all), noOffer);
});

test('with TLS 1.3 the session id is ignored', t => {
	t.deepEqual(offeredResumption(hello({43: tls13, 35: Buffer.alloc(0)}), all), noOffer);
	t.deepEqual(offeredResumption(hello({43: tls12}), all), {keyNames: [], sessionIds: [id]});
	t.deepEqual(offeredResumption(hello({43: tls13}), {...all, tls13: false}), {
		keyNames: [],
		sessionIds: [id],
	});
});

test('the key name is taken from the start of a ticket', t => {
	t.deepEqual(offeredResumption(hello({35: ticket}), all), {keyNames: [name], sessionIds: []});
	t.deepEqual(offeredResumption(hello({35: ticket}), {...all, tickets: false}), {
		keyNames: [],
		sessionIds: [id],
	});
	t.deepEqual(offeredResumption(hello({35: ticket.subarray(0, 15)}), all), noOffer);
});

test('with TLS 1.3 tickets are taken from the pre_shared_key extension', t => {
	const other = Buffer.concat([Buffer.alloc(16, 'm'), Buffer.alloc(60)]);
	const offer = hello({43: tls13, 41: preSharedKeys(ticket, other)});
	t.deepEqual(offeredResumption(offer, all), {keyNames: [name, Buffer.alloc(16, 'm')], sessionIds: []});
	t.deepEqual(offeredResumption(offer, {...all, tickets: false}), noOffer);
	t.deepEqual(offeredResumption(hello({43: tls13, 41: preSharedKeys(id)}), {...all, tickets: false}), {
		keyNames: [],
		sessionIds: [id],
	});
});

test('at most four identities are examined', t => {
	const offer = hello({43: tls13, 41: preSharedKeys(...Array.from({length: 50}, () => ticket))});
	t.is(offeredResumption(offer, all).keyNames.length, 4);
});

test('for any input, key names have 16 bytes and session ids 1 to 32', t => {
	const bytes = fc.uint8Array({maxLength: 200});
	fc.assert(
		fc.property(bytes, bytes, bytes, bytes, fc.boolean(), fc.boolean(), (a, b, c, d, tickets, cached) => {
			const {keyNames, sessionIds} = offeredResumption(hello({35: a, 41: b, 43: c}, d), {
				tls13: true,
				tickets,
				sessionIds: cached,
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
