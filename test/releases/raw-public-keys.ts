/*
 * Raw public keys instead of certificates, RFC 7250, as with stock. They need Postfix 3.9 and
 * OpenSSL 3.2.
 */
import test from 'ava';
import {OpenSSL_version_num} from '../../src/ffi/openssl/libcrypto.ts';
import {BothPrograms} from '../helpers/both-programs.ts';
import {type ClientRoleCase, runCase} from '../helpers/client-role-cases.ts';
import {minorRelease} from '../helpers/release.ts';

const hasRawKeys = minorRelease() >= 9 && OpenSSL_version_num() >= 0x30_20_00_00;

const both = new BothPrograms();
const {lab, peers} = both;
test.before(async () => await both.start({smtp_tls_CAfile: lab.path('root.cert')}));
test.after.always(async () => await both[Symbol.asyncDispose]());

const RPK = 32;
const raw = {
	arguments: '-enable_server_rpk',
	start: {enable_rpk: 1},
	init: {log_level: 'summary,untrusted,peercert,certmatch'},
} as const;
const identity = {cert_file: 'client.cert', key_file: 'client.key'};
const cases: ReadonlyArray<ClientRoleCase & {readonly status: number}> = [
	{...raw, id: 'R-01', level: 'may', server: 'good', status: RPK},
	{...raw, id: 'R-02', level: 'may', server: 'good', start: {enable_rpk: 0}, status: 5},
	{...raw, id: 'R-03', level: 'encrypt', server: 'good', status: RPK},
	{...raw, id: 'R-04', level: 'encrypt', server: 'good', start: {enable_rpk: 0}, status: 5},
	{
		...raw,
		id: 'R-05',
		level: 'dane',
		match: ['hostname'],
		server: 'good',
		start: {enable_rpk: 0},
		tlsa: ['3 1 1 sha256(spki good)'],
		status: 60,
	},
	{
		...raw,
		id: 'R-06',
		level: 'dane',
		match: ['hostname'],
		server: 'good',
		tlsa: ['3 1 1 sha256(spki goodec)'],
		status: RPK,
	},
	{
		...raw,
		id: 'R-07',
		level: 'dane',
		match: ['hostname'],
		server: 'good',
		tlsa: ['3 1 1 sha256(spki good)', '3 0 1 sha256(cert good)'],
		status: 29,
	},
	{
		...raw,
		id: 'R-08',
		level: 'dane',
		server: 'good',
		match: ['hostname'],
		tlsa: ['3 1 1 sha256(spki good)', '2 1 1 sha256(spki int)'],
		status: 29,
	},
	{
		...raw,
		id: 'R-09',
		level: 'dane',
		match: ['hostname'],
		server: 'good',
		tlsa: ['3 1 9 hex(aabb)'],
		status: RPK,
	},
	{
		...raw,
		id: 'R-10',
		level: 'dane',
		match: ['hostname'],
		server: 'goodec',
		tlsa: ['3 1 1 sha256(spki goodec)'],
		status: 60,
	},
	{
		...raw,
		id: 'R-11',
		level: 'dane',
		match: ['hostname'],
		server: 'ed',
		tlsa: ['3 1 1 sha256(spki ed)'],
		status: 60,
	},
	{
		...raw,
		id: 'R-12',
		level: 'fingerprint',
		server: 'good',
		tlsa: ['3 0 2 sha512(spki good)', '3 1 2 sha512(spki good)'],
		status: 60,
	},
	{
		...raw,
		id: 'R-13',
		level: 'fingerprint',
		server: 'good',
		start: {enable_rpk: 0},
		tlsa: ['3 0 2 sha512(spki good)', '3 1 2 sha512(spki good)'],
		status: 29,
	},
	{
		...raw,
		id: 'R-14',
		level: 'fingerprint',
		server: 'good',
		tlsa: ['3 0 2 sha512(cert good)', '3 1 2 sha512(cert good)'],
		status: RPK,
	},
	{...raw, id: 'R-15', level: 'verify', server: 'good', match: ['hostname'], status: 29},
	{
		...raw,
		id: 'R-16',
		level: 'dane',
		match: ['hostname'],
		server: 'good',
		arguments: '-enable_server_rpk -tls1_2',
		tlsa: ['3 1 1 sha256(spki good)'],
		status: 60,
	},
	{
		...raw,
		id: 'R-17',
		level: 'may',
		server: 'good',
		arguments: '-verify 1 -enable_client_rpk',
		start: {enable_rpk: 0},
		init: {...raw.init, ...identity},
		status: 5,
	},
	{
		...raw,
		id: 'R-18',
		level: 'may',
		server: 'good',
		arguments: '-verify 1 -enable_client_rpk -enable_server_rpk',
		init: {...raw.init, ...identity},
		status: RPK,
	},
	{
		...raw,
		id: 'R-verbose',
		level: 'dane',
		match: ['hostname'],
		server: 'good',
		tlsa: ['3 1 1 sha256(spki good)'],
		init: {log_level: '2'},
		status: 60,
	},
];

if (hasRawKeys) {
	for (const {status, ...item} of cases) {
		test.serial(`${item.id}: ${item.level}, server ${item.server}`, async t => {
			const expected = await runCase(t, both.stock, peers, lab, item);
			t.deepEqual(await runCase(t, both.ours, peers, lab, item), expected);
			t.is(expected.report?.peer_status, status);
		});
	}
} else {
	test.serial('without raw public keys the ClientHello does not contain their extension', async t => {
		const item: ClientRoleCase = {id: 'plain', level: 'may', server: 'good', start: {enable_rpk: 1}};
		const CLIENT_CERT_TYPE = '19 ';
		const SERVER_CERT_TYPE = '20 ';
		const expected = await runCase(t, both.stock, peers, lab, item);
		t.deepEqual(await runCase(t, both.ours, peers, lab, item), expected);
		t.false(
			expected.hello?.extensions.some(
				text => text.startsWith(CLIENT_CERT_TYPE) || text.startsWith(SERVER_CERT_TYPE),
			),
		);
	});
}
