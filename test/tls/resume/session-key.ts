import test from 'ava';
import fc from 'fast-check';
import {SSL_OP_NO_SSLv3} from '../../../src/ffi/openssl/ssl-ctx.ts';
import {type SessionKeyParts, sessionKey} from '../../../src/tls/resume/session-key.ts';
import type {ClientStart} from '../../../src/wire/client-settings.ts';
import {defaultStart} from '../../helpers/openssl.ts';

const bytes = (from: number): Buffer => Buffer.from(Array.from({length: 32}, (_, index) => from + index));
const colons = (from: number): string =>
	bytes(from).toString('hex').toUpperCase().match(/../g)?.join(':') ?? '';

const {enable_rpk: _, ...withoutRpk} = defaultStart;
const start: ClientStart = {
	...withoutRpk,
	serverid: 'smtp&mx',
	helo: 'mx.example.com',
	host: 'mx.example.com',
	protocols: '>=TLSv1',
};
const parts: SessionKeyParts = {
	ciphers: 'aNULL:-aNULL:HIGH:@STRENGTH',
	disabled: 0,
	level: 1,
	mustFail: false,
	sni: '',
	library: 0x30500090,
	digestLists: false,
	scope: '',
};
const records = [
	{usage: 3, selector: 1, mtype: 1, data: bytes(0)},
	{usage: 2, selector: 0, mtype: 1, data: bytes(0x20)},
];
const dane = {domain: 'mx.example.com', tlsa: records};

const makes = test.macro<[start: Partial<ClientStart>, parts: Partial<SessionKeyParts>, digest: string]>({
	exec(t, request, more, digest) {
		t.is(sessionKey({...start, ...request}, {...parts, ...more}), `smtp&mx&${digest}`);
	},
	title(condition = '') {
		return `sessionKey equals the key of stock ${condition}`;
	},
});

/* Recorded from stock daemons. */
const atDane = {level: 5, sni: 'mx.example.com'};
test(
	'from 3.9 on, with records',
	makes,
	{enable_rpk: 0, dane},
	atDane,
	'9D93231B421FC52B40152EDF3A8E189711282BCD371CF5E67D041FA4494F9E4E',
);
test(
	'from 3.9 on, without verification',
	makes,
	{enable_rpk: 1},
	{},
	'46DD34E7037ABB70C42F295EE3475C1D516FE0179AB69C5D8F5D1A20898D61D4',
);
test(
	'from 3.9 on, with a policy that could not be applied',
	makes,
	{enable_rpk: 0, dane},
	{...atDane, level: 6, mustFail: true},
	'154FBC14A58B93F815B882909CC1CBB81D9A87973086A33C077F13776BA35478',
);
test(
	'before 3.9',
	makes,
	{dane},
	{...atDane, library: 0x30000140},
	'0365ED4BB32C1C9F35E7AFC82D48D250FDF88247346384F123587366FDC645A8',
);
const legacy = {digestLists: true, library: 0x1010117f, disabled: SSL_OP_NO_SSLv3};
test(
	'before 3.6, with trust anchors',
	makes,
	{dane: {domain: '', ta: [{mdalg: 'sha256', pkeys: [colons(0)], certs: [colons(0x20)]}]}},
	{...legacy, level: 5},
	'87A2F31FF68544FAD493FCD99A1B710C38D3A19F790A140AD112278BC51405A7',
);
test(
	'before 3.6, without trust anchors',
	makes,
	{},
	legacy,
	'AA42B3FD87C34A7FD1D4391252A69A9607990C2A415937CEBAB7DD5E27C629AE',
);

test('the order of TLSA records has no effect', t => {
	fc.assert(
		fc.property(
			fc.array(
				fc.record({
					usage: fc.integer({min: 0, max: 3}),
					selector: fc.integer({min: 0, max: 1}),
					mtype: fc.integer({min: 0, max: 2}),
					data: fc.uint8Array({maxLength: 300}),
				}),
			),
			tlsa => {
				const key = (list: typeof tlsa): string =>
					sessionKey({...start, dane: {domain: '', tlsa: list}}, {...parts, ...atDane});
				t.is(key(tlsa.toReversed()), key(tlsa));
			},
		),
	);
});

/* The verification result of the first handshake depends on each of these. */
const different = test.macro<[request: Partial<ClientStart>, more: Partial<SessionKeyParts>]>({
	exec(t, request, more) {
		const base = {...start, dane};
		const one = sessionKey(base, {...parts, ...atDane});
		t.not(sessionKey({...base, ...request}, {...parts, ...atDane, ...more}), one);
	},
	title(condition = '') {
		return `sessionKey depends on ${condition}`;
	},
});
test('the server', different, {serverid: 'smtp&other'}, {});
test('the client name (helo)', different, {helo: 'other.example.com'}, {});
test('protocols', different, {protocols: '>=TLSv1.2'}, {});
test('ciphers', different, {}, {ciphers: 'HIGH'});
test('records', different, {dane: {domain: '', tlsa: records.slice(1)}}, {});
test(
	'one byte of a record',
	different,
	{dane: {domain: '', tlsa: [{...records[0], data: bytes(1)}, records[1] ?? {}]}},
	{},
);
test('the server name', different, {}, {sni: 'other.example.com'});
test('whether the policy could be applied', different, {}, {mustFail: true});
test('the class of the level', different, {}, {level: 2});
test('the OpenSSL release', different, {}, {library: 0x30000141});
test('the scope: client certificate and trusted certificates', different, {}, {scope: '/etc/cert.pem'});
