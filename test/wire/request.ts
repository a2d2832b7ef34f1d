import test from 'ava';
import type {Seconds} from '../../src/base/units.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import type {AttributeList} from '../../src/wire/attribute-list.ts';
import {FormatError} from '../../src/wire/field.ts';
import {BadFlagsError, parseRequest} from '../../src/wire/request.ts';

const features = releaseFeatures('3.12');

function requestList(flags: number): AttributeList {
	return [
		['remote_endpoint', '[192.0.2.1]:25'],
		['flags', String(flags)],
		['timeout', '30'],
		['timeout', '300'],
		['serverid', 'smtp'],
	];
}

test('a request has the two time limits in the order of the wire', t => {
	t.deepEqual(parseRequest(requestList(0x2 | 0x4), features), {
		remoteEndpoint: '[192.0.2.1]:25',
		role: 'client',
		sendContext: true,
		probeOnly: false,
		handshakeTimeout: 30 as Seconds,
		sessionTimeout: 300 as Seconds,
		serverId: 'smtp',
	});
});

test('a request in the server role can ask for a status only, since 3.12', t => {
	const list = requestList(0x1 | 0x8);
	t.like(parseRequest(list, features), {role: 'server', sendContext: false, probeOnly: true});
	t.false(parseRequest(list, releaseFeatures('3.11.0')).probeOnly);
});

for (const [flags, bogusDirection] of [
	[0, true],
	[0x4, true],
	[0x3, false],
] as const) {
	test(`flags ${flags} name no role or both; the error contains the values of the log line`, t => {
		const error = t.throws(() => parseRequest(requestList(flags), features), {
			instanceOf: BadFlagsError,
			message: `bad request flags: 0x${flags}`,
		});
		t.is(error?.bogusDirection, bogusDirection);
		t.is(error?.remoteEndpoint, '[192.0.2.1]:25');
		t.is(error?.serverId, 'smtp');
	});
}

test('a list that is shorter or longer than a request is rejected', t => {
	const list = requestList(0x2);
	t.throws(() => parseRequest(list.slice(0, -1), features), {
		instanceOf: FormatError,
		message: 'request: wanted "serverid", got the end of the list (format 3.12)',
	});
	t.throws(() => parseRequest([...list, ['serverid', '']], features), {
		instanceOf: FormatError,
		message: 'request: wanted the end of the list, got "serverid" (format 3.12)',
	});
});
