/*
 * Raw public keys between two Postfix services: all combinations of this program and stock must
 * have the same results.
 */
import test from 'ava';
import {OpenSSL_version_num} from '../../src/ffi/openssl/libcrypto.ts';
import type {ClientRoleCase} from '../helpers/client-role-cases.ts';
import {connectServices} from '../helpers/connected-services.ts';
import {Daemon, type Program} from '../helpers/daemon.ts';
import {makeLab} from '../helpers/lab.ts';
import {minorRelease} from '../helpers/release.ts';
import {runServerCase, visitService} from '../helpers/server-role-cases.ts';

const hasRawKeys = minorRelease() >= 9 && OpenSSL_version_num() >= 0x30_20_00_00;

const lab = makeLab();

/* The use of client keys by a server. Every server offers its raw public key. */
const services: Readonly<Record<string, Readonly<Record<string, string>>>> = hasRawKeys
	? {
			asks: {smtpd_tls_ask_ccert: 'yes', smtpd_tls_enable_rpk: 'yes'},
			'asks-certificates': {smtpd_tls_ask_ccert: 'yes'},
			requires: {
				smtpd_tls_security_level: 'encrypt',
				smtpd_tls_req_ccert: 'yes',
				smtpd_tls_enable_rpk: 'yes',
			},
		}
	: {};

async function start(which: Program): Promise<Daemon> {
	return await Daemon.start(which, {
		main: {
			max_use: '100000',
			smtp_tls_CAfile: lab.path('root.cert'),
			smtpd_tls_security_level: 'may',
			smtpd_tls_chain_files: `${lab.path('good.pem')} ${lab.path('goodec.pem')}`,
			smtpd_tls_CAfile: lab.path('root.cert'),
			smtpd_tls_loglevel: 'summary,untrusted,peercert,certmatch',
			smtpd_tls_session_cache_database: 'btree:${data_directory}/smtpd_scache',
			smtp_tls_session_cache_database: 'btree:${data_directory}/smtp_scache',
		},
		copies: services,
	});
}

interface Pair {
	readonly client: Daemon;
	readonly server: Daemon;
}
let ours: Pair;
let stock: Pair;
test.before(async () => {
	/* Each service has a separate log. */
	ours = {client: await start('ours'), server: await start('ours')};
	stock = {client: await start('stock'), server: await start('stock')};
});
test.after.always(async () => {
	const daemons = [ours.client, ours.server, stock.client, stock.server];
	await Promise.all(daemons.map(async daemon => await daemon[Symbol.asyncDispose]()));
	lab[Symbol.dispose]();
});

const CERTIFICATE = 1;
const TRUSTED = 4;
const MATCHED = 8 + 16;
const RAW = 32;

interface Meeting extends Omit<ClientRoleCase, 'server'> {
	readonly service?: string;
	/** peer_status of the client and of the server. */
	readonly statuses: readonly [client: number, server: number];
}

const init = {log_level: 'summary,untrusted,peercert,certmatch'};
const withKey = {...init, cert_file: 'client.pem', key_file: 'client.key'};
const willing = {start: {enable_rpk: 1}, init};
const keyOf = (name: string) => [`3 1 1 sha256(spki ${name})`];
const dane = {level: 'dane', match: ['hostname'], start: {enable_rpk: 0}, init} as const;
const meetings: readonly Meeting[] = [
	{id: 'may', level: 'may', ...willing, statuses: [RAW, 0]},
	{
		id: 'may, unwilling',
		level: 'may',
		...willing,
		start: {enable_rpk: 0},
		statuses: [CERTIFICATE | TRUSTED, 0],
	},
	{id: 'encrypt', level: 'encrypt', ...willing, statuses: [RAW, 0]},
	{id: 'dane, right key', ...dane, tlsa: keyOf('goodec'), statuses: [RAW | TRUSTED | MATCHED, 0]},
	{id: 'dane, wrong key', ...dane, tlsa: keyOf('ed'), statuses: [RAW, 0]},
	{
		id: 'dane, key and certificate',
		...dane,
		tlsa: [...keyOf('goodec'), '3 0 1 sha256(cert goodec)'],
		statuses: [CERTIFICATE | TRUSTED | MATCHED, 0],
	},
	{
		id: 'fingerprint',
		level: 'fingerprint',
		...willing,
		tlsa: ['3 0 2 sha512(spki goodec)', '3 1 2 sha512(spki goodec)'],
		statuses: [RAW | TRUSTED | MATCHED, 0],
	},
	{
		id: 'verify',
		level: 'verify',
		match: ['hostname'],
		...willing,
		statuses: [CERTIFICATE | TRUSTED | MATCHED, 0],
	},
	{
		id: 'TLSv1.2',
		...dane,
		protocols: '<=TLSv1.2',
		tlsa: keyOf('goodec'),
		statuses: [RAW | TRUSTED | MATCHED, 0],
	},
	{id: 'both keys', level: 'may', ...willing, init: withKey, service: 'asks', statuses: [RAW, RAW]},
	{
		id: 'the key of the client only',
		level: 'may',
		start: {enable_rpk: 0},
		init: withKey,
		service: 'asks',
		statuses: [CERTIFICATE | TRUSTED, RAW],
	},
	{
		id: 'the key of the server only',
		level: 'may',
		...willing,
		init: withKey,
		service: 'asks-certificates',
		statuses: [RAW, CERTIFICATE | TRUSTED],
	},
	{id: 'no key to send', level: 'may', ...willing, service: 'asks', statuses: [RAW, 0]},
	{id: 'required', level: 'encrypt', ...willing, init: withKey, service: 'requires', statuses: [RAW, RAW]},
	{
		id: 'required, TLSv1.2',
		level: 'encrypt',
		...willing,
		init: withKey,
		protocols: '<=TLSv1.2',
		service: 'requires',
		statuses: [RAW, RAW],
	},
	{
		id: 'verbose',
		...dane,
		init: {...withKey, log_level: '2'},
		tlsa: keyOf('goodec'),
		service: 'asks',
		statuses: [RAW | TRUSTED | MATCHED, RAW],
	},
];

if (hasRawKeys) {
	for (const {statuses, service = 'tlsproxy', ...item} of meetings) {
		test.serial(`${item.id}: ours and ours, ours and stock's, stock's and ours`, async t => {
			/* The second connection may resume the session. */
			for (const time of ['first', 'second']) {
				const met = async (client: Daemon, server: Daemon, who: string) =>
					await connectServices(t, client, server, lab, {
						...item,
						service,
						settings: services[service] ?? {},
						/* The servers do not share sessions. */
						start: {...item.start, serverid: `smtp&${item.id.replaceAll(' ', '_')}&${who}`},
					});
				const expected = await met(stock.client, stock.server, '0');
				for (const [client, server, who] of [
					[ours.client, ours.server, '1'],
					[ours.client, stock.server, '2'],
					[stock.client, ours.server, '3'],
				] as const) {
					const seen = await met(client, server, who);
					t.deepEqual(seen, expected, `${who}, ${time} time`);
				}

				t.deepEqual([expected.client.report?.peer_status, expected.server.report?.peer_status], statuses);
			}
		});
	}

	for (const [id, client] of Object.entries({
		'a client that takes keys': '-enable_server_rpk',
		'a client that takes keys, TLSv1.2': '-enable_server_rpk -tls1_2',
		'a client that takes none': '',
	})) {
		test.serial(`${id}: as with stock`, async t => {
			const visits = await runServerCase(t, stock.server, lab, {id, client});
			t.deepEqual(await runServerCase(t, ours.server, lab, {id, client}), visits);
		});
	}

	for (const [id, client] of Object.entries({
		'a client with a key': '-enable_client_rpk -cert %client.cert -cert_chain %client.chain -key %client.key',
		'a client with a key, TLSv1.2':
			'-enable_client_rpk -tls1_2 -cert %client.cert -cert_chain %client.chain -key %client.key',
		'a client with either':
			'-enable_client_rpk -enable_server_rpk -cert %client.cert -cert_chain %client.chain -key %client.key',
		'a client with a certificate': '-cert %client.cert -cert_chain %client.chain -key %client.key',
	})) {
		for (const service of Object.keys(services)) {
			test.serial(`${id}, a server that ${service}: as with stock`, async t => {
				const item = {id: service, client, settings: services[service] ?? {}};
				const {report, ...outcome} = await visitService(t, stock.server, lab, item, service);
				t.deepEqual(await visitService(t, ours.server, lab, item, service), {report, ...outcome});
				const raw = client.startsWith('-enable') && service !== 'asks-certificates';
				t.is(report?.peer_status, raw ? RAW : CERTIFICATE | TRUSTED);
			});
		}
	}
} else {
	test.serial('without raw public keys a client that accepts them gets a certificate', async t => {
		const item = {id: 'plain', level: 'may', service: 'tlsproxy', ...willing} as const;
		const expected = await connectServices(t, stock.client, stock.server, lab, item);
		t.deepEqual(await connectServices(t, ours.client, ours.server, lab, item), expected);
		const status = expected.client.report?.peer_status ?? 0;
		t.is(status & (RAW | CERTIFICATE | TRUSTED), CERTIFICATE | TRUSTED);
	});
}
