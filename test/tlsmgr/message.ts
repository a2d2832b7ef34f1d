/* Messages between stock programs and tlsmgr(8), recorded from nine releases. They are the same in all of them. */
import test from 'ava';
import fc from 'fast-check';
import {PeerError} from '../../src/base/errors.ts';
import {
	isGreeting,
	parseDone,
	parseLookup,
	parsePolicy,
	parseTicketKey,
	printDelete,
	printLookup,
	printPolicy,
	printTicketKey,
	printUpdate,
	SESSION_LIMIT,
} from '../../src/tlsmgr/message.ts';
import {AttributeFramer, type AttributeList} from '../../src/wire/attribute-list.ts';

/** A message, with `·` for NUL. */
function wire(text: string): Buffer {
	return Buffer.from(text.replaceAll('·', '\0'), 'latin1');
}

function listOf(text: string): AttributeList {
	const framed = new AttributeFramer().push(wire(text));
	if (framed?.taken !== wire(text).length) {
		throw new Error('not one list');
	}

	return framed.list;
}

const prints = test.macro({
	exec(t, printed: Uint8Array, expected: string) {
		t.deepEqual(Buffer.from(printed), wire(expected));
	},
	title(what = '') {
		return `${what} equals the request of stock`;
	},
});
const keyName = Buffer.from('zclZkg+p7CUTkzMv0aSNAg==', 'base64');
test('printLookup', prints, printLookup('smtp', 'v&1'), 'request·lookup·cache_type·smtp·cache_id·v&1··');
test(
	'printUpdate',
	prints,
	printUpdate('smtpd', 'A1&s=20125&l=810549392', Buffer.from([0, 1, 2, 0xfb, 0xff, 0xfe, 7])),
	'request·update·cache_type·smtpd·cache_id·A1&s=20125&l=810549392·session·AAEC+//+Bw==··',
);
test(
	'printUpdate of a part of a larger buffer',
	prints,
	printUpdate('lmtp', 'v', Buffer.from('..x..').subarray(2, 3)),
	'request·update·cache_type·lmtp·cache_id·v·session·eA==··',
);
test('printDelete', prints, printDelete('smtp', 'v&1'), 'request·delete·cache_type·smtp·cache_id·v&1··');
test('printPolicy', prints, printPolicy('smtpd'), 'request·policy·cache_type·smtpd··');
test('printTicketKey without a name', prints, printTicketKey(Buffer.alloc(0)), 'request·tktkey·keyname···');
test(
	'printTicketKey with a name',
	prints,
	printTicketKey(keyName),
	'request·tktkey·keyname·zclZkg+p7CUTkzMv0aSNAg==··',
);

test('isGreeting accepts the greeting of tlsmgr, and no other list', t => {
	t.true(isGreeting(listOf('protocol·tlsmgr_protocol··')));
	for (const other of [
		'·',
		'protocol·anvil_protocol··',
		'status·0··',
		'protocol·tlsmgr_protocol·status·0··',
	]) {
		t.false(isGreeting(listOf(other)), other);
	}
});

const parses = test.macro<[parse: (list: AttributeList) => unknown, reply: string, expected: unknown]>({
	exec(t, parse, reply, expected) {
		t.deepEqual(parse(listOf(reply)), expected);
	},
	title(what = '') {
		return what;
	},
});
const session = Buffer.from([0, 1, 2, 0xfb, 0xff, 0xfe, 7]);
test('parseLookup: found', parses, parseLookup, 'status·0·session·AAEC+//+Bw==··', session);
test('parseLookup: not found', parses, parseLookup, 'status·4294967295·session···', undefined);
test('parseLookup: no such cache', parses, parseLookup, 'status·4294967294·session···', undefined);
test(
	'parseLookup: an empty session counts as not found',
	parses,
	parseLookup,
	'status·0·session···',
	undefined,
);
test(
	'parseLookup ignores a session after a failure status',
	parses,
	parseLookup,
	'status·4294967295·session·AAEC+//+Bw==··',
	undefined,
);
test('parseDone: success', parses, parseDone, 'status·0··', true);
test('parseDone: not found', parses, parseDone, 'status·4294967295··', undefined);
test('parseDone: failure', parses, parseDone, 'status·4294967294··', undefined);
test('parsePolicy: on', parses, parsePolicy, 'status·0·cachable·1·timeout·3600··', {
	cachable: true,
	timeout: 3600,
});
test('parsePolicy: off', parses, parsePolicy, 'status·0·cachable·0·timeout·3600··', {
	cachable: false,
	timeout: 3600,
});
for (const timeout of ['0', '4294967295']) {
	test(
		`parsePolicy: no session is cachable with timeout ${timeout}`,
		parses,
		parsePolicy,
		`status·0·cachable·1·timeout·${timeout}··`,
		{cachable: false, timeout: Number(timeout) | 0},
	);
}

test('parsePolicy: unknown type', parses, parsePolicy, 'status·4294967294·cachable·0·timeout·0··', undefined);
test(
	'parsePolicy skips unknown attributes',
	parses,
	parsePolicy,
	'status·0·more·x·cachable·1·timeout·60·most·y··',
	{cachable: true, timeout: 60},
);
test(
	'parseTicketKey: a C structure, recorded from 3.10.13',
	parses,
	parseTicketKey,
	'status·0·keybuf·zclZkg+p7CUTkzMv0aSNAugkWTH8c1+MANJMN47I3/IolH/RqSQBTtMINZnIkyzhl6EpJDf2bx/vu5uQUS7g260yYKph2/1geiJvLO4e9KpIRgRrAAAAAA==··',
	{
		name: keyName,
		cipherKey: Buffer.from('e8245931fc735f8c00d24c378ec8dff228947fd1a924014ed3083599c8932ce1', 'hex'),
		macKey: Buffer.from('97a1292437f66f1fefbb9b90512ee0dbad3260aa61dbfd607a226f2cee1ef4aa', 'hex'),
		expires: 0x6b_04_46_48,
	},
);
test(
	'parseTicketKey: not found; the reply repeats the name',
	parses,
	parseTicketKey,
	'status·4294967295·keybuf·AAAAAAAAAAAAAAAAAAAAAA==··',
	undefined,
);

const refuses = test.macro<[parse: (list: AttributeList) => unknown, reply: string, message: string]>({
	exec(t, parse, reply, message) {
		t.throws(() => parse(listOf(reply)), {instanceOf: PeerError, message: `tlsmgr reply: ${message}`});
	},
	title(_, parse, reply) {
		return `${parse.name} rejects ${reply}`;
	},
});
test(refuses, parseDone, '·', 'no status');
test(refuses, parseDone, 'status···', 'status: "" is not a number');
test(refuses, parseDone, 'status·-1··', 'status: "-1" is not a number');
test(refuses, parseDone, 'status·0x0··', 'status: "0x0" is not a number');
test(refuses, parseDone, 'status·10000000000··', 'status: "10000000000" is not a number');
test(refuses, parseLookup, 'status·0··', 'no session');
test(refuses, parseLookup, 'status·0·session·abc··', 'session is not base64');
test(refuses, parseLookup, 'status·0·session·ab-_··', 'session is not base64');
test(refuses, parseLookup, 'status·0·session·a===··', 'session is not base64');
test(refuses, parsePolicy, 'status·0·cachable·1··', 'no timeout');
test(refuses, parsePolicy, 'status·0·timeout·60··', 'no cachable');
test(
	refuses,
	parseTicketKey,
	'status·0·keybuf·AAAAAAAAAAAAAAAAAAAAAA==··',
	'keybuf has 16 bytes instead of 88',
);

test('an error message does not contain the session', t => {
	const error = t.throws(() => parseLookup(listOf('status·0·session·c2VjcmV0!··')));
	t.false(error.message.includes('c2VjcmV0'));
});

test('a reply can be split anywhere', t => {
	fc.assert(
		fc.property(fc.uint8Array({maxLength: 300}), fc.array(fc.nat(500)), (bytes, cuts) => {
			const reply = wire(`status·0·session·${Buffer.from(bytes).toString('base64')}··`);
			const framer = new AttributeFramer();
			const ends = [...cuts.filter(cut => cut < reply.length), reply.length].toSorted((a, b) => a - b);
			const lists = ends.flatMap((end, index) => {
				const framed = framer.push(reply.subarray(ends[index - 1] ?? 0, end));
				return framed === undefined ? [] : [framed.list];
			});
			t.deepEqual(lists.map(parseLookup), [bytes.length === 0 ? undefined : Buffer.from(bytes)]);
		}),
	);
});

function lookupReply(size: number): AttributeList {
	return listOf(`status·0·session·${Buffer.alloc(size).toString('base64')}··`);
}

test('a session of the maximum size can be looked up, and a larger one cannot', t => {
	t.is(parseLookup(lookupReply(SESSION_LIMIT))?.length, SESSION_LIMIT);
	t.throws(() => lookupReply(SESSION_LIMIT + 1), {instanceOf: PeerError});
});
