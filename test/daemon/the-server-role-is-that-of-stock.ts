/*
 * The differential suite of the server role: status, report, log lines, and the output of the
 * client must be those of stock.
 */
import {execFileSync} from 'node:child_process';
import {chmodSync, mkdirSync, symlinkSync} from 'node:fs';
import test from 'ava';
import {mailVersion} from '../../postfix/lib/instance.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {Daemon, type Program} from '../helpers/daemon.ts';
import {makeLab} from '../helpers/lab.ts';
import {openssl} from '../helpers/openssl.ts';
import {minorRelease} from '../helpers/release.ts';
import {casesOf, runServerCase, serviceOf, withFiles} from '../helpers/server-role-cases.ts';

const lab = makeLab();
const library = /^OpenSSL (\d+\.\d+)/.exec(openssl('version'))?.[1] ?? '';
/* Before 3.0, openssl(1) does not support finite-field groups. */
const cases = casesOf('server-role.json').filter(
	({client = ''}) => library !== '1.1' || !client.includes('ffdhe'),
);

/* Files of cases, in addition to certificates. */
lab.write('garbage', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
lab.write('empty', '\n');
lab.write('broken.pem', lab.read('good.key'), lab.read('goodec.cert'));
lab.write('öther.cert', lab.read('other.cert'));
lab.write('nomap', 'nobody.example.org /nosuch\n');
lab.write('textmap', `one.example.org ${lab.path('ed.pem')}\n`, `bad.example.org ${lab.path('nosuch')}\n`);
lab.write('plainmap', 'one.example.org not-base64!\n');
lab.write('regexp', `/^one/ ${lab.path('ed.pem')}\n`);
openssl(
	'genpkey',
	'-genparam',
	'-algorithm',
	'DH',
	'-pkeyopt',
	'dh_param:ffdhe3072',
	'-out',
	lab.path('dh3072'),
);
openssl(
	'genpkey',
	'-genparam',
	'-algorithm',
	'DSA',
	'-pkeyopt',
	'dsa_paramgen_bits:1024',
	'-out',
	lab.path('dsaparam'),
);
lab.make('dsa', {key: ['-paramfile', lab.path('dsaparam')], subject: '/CN=mx.example.com', issuer: 'int'});
mkdirSync(lab.path('capath'));
symlinkSync(
	lab.path('root.cert'),
	lab.path(`capath/${openssl('x509', '-hash', '-noout', '-in', lab.path('root.cert')).trim()}.0`),
);
const names: Readonly<Record<string, string>> = {
	'sni.example.com': 'wild.pem',
	'.dot.example.com': 'subdom.pem',
	'one.example.org': 'good.pem',
	'two.example.org': 'multi.pem',
	'three.example.org': 'ed.pem',
	'.four.example.org': 'ec384.pem',
	'five.example.org': 'goodec.pem',
	'broken.example.org': 'broken.pem',
};
const sniTable = Object.entries(names).map(([name, file]) => `${name} ${lab.path(file)}\n`);
lab.write('sni', ...sniTable);
lab.write('snib', ...sniTable);
chmodSync(lab.directory, 0o755);

async function start(which: Program): Promise<Daemon> {
	return await Daemon.start(which, {
		main: {
			max_use: '100000',
			/* Each case with parameters has a separate process, which may end soon. */
			max_idle: '5s',
			smtp_tls_security_level: 'none',
			smtpd_tls_security_level: 'may',
			smtpd_tls_chain_files: `${lab.path('good.pem')} ${lab.path('goodec.pem')}`,
			smtpd_tls_CAfile: lab.path('root.cert'),
			smtpd_tls_ask_ccert: 'yes',
			smtpd_tls_loglevel: '1',
			smtpd_tls_session_cache_database: 'btree:${data_directory}/smtpd_scache',
			tls_server_sni_maps: `hash:${lab.path('sni')}`,
			proxy_read_maps: `proxy:hash:${lab.path('sni')}`,
		},
		copies: Object.fromEntries(
			cases.flatMap(item =>
				item.settings === undefined ? [] : [[serviceOf(item), withFiles(item.settings, lab)]],
			),
		),
	});
}

let ours: Daemon;
let stock: Daemon;
test.before(async () => {
	[ours, stock] = await Promise.all([start('ours'), start('stock')]);
	const postmap = (...args: readonly string[]) =>
		execFileSync('/usr/sbin/postmap', ['-c', stock.sandbox.configDirectory, ...args]);
	postmap('-F', `hash:${lab.path('sni')}`);
	postmap('-F', `btree:${lab.path('snib')}`);
	postmap(`hash:${lab.path('plainmap')}`);
});
test.after.always(async () => {
	await Promise.all([ours[Symbol.asyncDispose](), stock[Symbol.asyncDispose]()]);
	lab[Symbol.dispose]();
});

/* Intended differences, with reason and expected values. */
interface Difference {
	readonly reason: string;
	readonly status: number;
	readonly lines: readonly string[];
}

const minor = minorRelease();
const {quietRefusal, serviceSessions} = releaseFeatures(mailVersion());
const didNotBegin = quietRefusal ? [] : ['TLS handshake failed for service=smtpd peer=[PEER]'];
const refusal = (table: string): Difference => ({
	reason: 'tables are read before the jail, and this type cannot be',
	status: 0,
	lines: [
		`warning: tls_server_sni_maps: ${table} cannot be listed, and this program does not look up tables after it has given up its privileges`,
		"warning: TLS can't be enabled for the server role",
		'CONNECT from [PEER]',
		...didNotBegin,
		'DISCONNECT [PEER]',
	],
});
const lookupFailed = (table: string, reason: string): Difference => ({
	reason: 'what stock logs as an error, and counts until it ends, is a warning',
	status: 1,
	lines: [
		`warning: ${reason}`,
		'CONNECT from [PEER]',
		`warning: ${table} is unavailable. ${reason}`,
		`warning: ${table} lookup error for "one.example.org"`,
		'warning: tls_server_sni_maps: one.example.org map lookup problem',
		'warning: TLS library problem: callback failed',
		'TLS handshake failed for service=smtpd peer=[PEER]',
		'DISCONNECT [PEER]',
	],
});
const modern =
	'TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange GROUP server-signature';
const established = (rest: string) => [
	`Anonymous TLS connection established from [PEER]${rest}`,
	'DISCONNECT [PEER]',
];
/* The deprecation warning of Debian's 3.11. */
const deprecated = (table: string) =>
	minor < 11
		? []
		: [
				`warning: ${table}: hash/btree support is deprecated.  Please switch to cdb or lmdb.`,
				'warning: See /usr/share/doc/postfix/NON_BERKELEYDB_README.gz for more info.',
			];
const noSuchDatabase = 'open database nosuch.db: No such file or directory';
const noLine = 'postmap(1) logs keys instead of line numbers';
const differences: Readonly<Record<string, Difference>> = {
	'M-missing': lookupFailed('hash:nosuch', noSuchDatabase),
	'M-missing-noname': {
		reason: 'what stock logs as an error, and counts until it ends, is a warning',
		status: 1,
		lines: [
			`warning: ${noSuchDatabase}`,
			'CONNECT from [PEER]',
			...established(`: ${modern} ECDSA (CURVE) server-digest SHA256`),
		],
	},
	'M-unknowntype': lookupFailed('nosuch:sni', 'unsupported dictionary type: nosuch'),
	'M-inlinebad': lookupFailed(
		'inline:{one.example.org=nosuch}',
		'open nosuch: No such file or directory: "inline:{one.example.org=nosuch}"; need "inline:{name=filename...}"',
	),
	'M-second': {
		reason: noLine,
		status: 1,
		lines: [
			'warning: texthash:nomap, nobody.example.org: open /nosuch: No such file or directory: skipping this entry',
			...deprecated('sni'),
			'CONNECT from [PEER]',
			...established(` to one.example.org: ${modern} RSA-PSS (2048 bits) server-digest SHA256`),
		],
	},
	'M-text': {
		reason: noLine,
		status: 1,
		lines: [
			'warning: texthash:textmap, bad.example.org: open nosuch: No such file or directory: skipping this entry',
			'CONNECT from [PEER]',
			...established(` to one.example.org: ${modern} ED25519`),
		],
	},
	'M-textbad': {
		reason: noLine,
		status: 1,
		lines: [
			'warning: texthash:textmap, bad.example.org: open nosuch: No such file or directory: skipping this entry',
			'CONNECT from [PEER]',
			'TLS SNI bad.example.org from [PEER] not matched, using default chain',
			...established(`: ${modern} ECDSA (CURVE) server-digest SHA256`),
		],
	},
	'M-notbase64': {
		reason: 'the table is called as in the parameter, and not by its file',
		status: 1,
		lines: [
			...deprecated('plainmap'),
			'CONNECT from [PEER]',
			'warning: table hash:plainmap: key one.example.org: malformed BASE64 value: not-base64!',
			'warning: tls_server_sni_maps: one.example.org map lookup problem',
			'warning: TLS library problem: callback failed',
			'TLS handshake failed for service=smtpd peer=[PEER]',
			'DISCONNECT [PEER]',
		],
	},
	'M-regexp': refusal('regexp:regexp'),
	'M-static': refusal('static:ed.pem'),
	...(minor < 11
		? {}
		: {
				'M-proxy': {
					reason: 'stock logs this in proxymap(8), this program where it reads the table',
					status: 1,
					lines: [
						...deprecated('sni'),
						'CONNECT from [PEER]',
						...established(` to one.example.org: ${modern} RSA-PSS (2048 bits) server-digest SHA256`),
					],
				},
			}),
};

/* Values that OpenSSL chooses are compared only in cases without differences. */
function ofAnyLibrary(line: string): string {
	return line
		.replace(/key-exchange \S+/, 'key-exchange GROUP')
		.replace(/ECDSA \([\w-]+\)/, 'ECDSA (CURVE)')
		.replace(/error:\w+:SSL routines:\w*:callback failed:.*$/, 'callback failed');
}

for (const item of cases) {
	const difference = differences[item.id];
	const settings = Object.entries(item.settings ?? {}).map(([name, value]) => `${name}=${value}`);
	const title = `${item.id}: ${[item.client ?? 'bytes', ...settings].join(' ')}`;
	if (difference === undefined) {
		test.serial(title, async t => {
			const wanted = await runServerCase(t, stock, lab, item);
			t.deepEqual(await runServerCase(t, ours, lab, item), wanted);
		});
	} else {
		test.serial(`${title} - ${difference.reason}`, async t => {
			const [outcome] = await runServerCase(t, ours, lab, item);
			t.is(outcome?.status, difference.status);
			t.deepEqual(outcome?.lines.map(ofAnyLibrary), difference.lines);
		});
	}
}

/* The expected result of a second connection, in case both programs are wrong. */
for (const [id, how] of Object.entries({
	'V-21': 'Reused, TLSv1.3',
	'V-22': serviceSessions ? 'New, TLSv1.3' : 'Reused, TLSv1.3',
	'V-23': 'Reused, TLSv1.2',
	'V-25': 'Reused, TLSv1.2',
	'V-26': 'New, TLSv1.2',
	'V-33b': 'Reused, TLSv1.2',
})) {
	test.serial(`${id}: ${how}`, async t => {
		const item = cases.find(one => one.id === id);
		const visits = item === undefined ? [] : await runServerCase(t, ours, lab, item);
		t.is(visits.length, 2);
		t.true(visits[0]?.client.some(line => line.startsWith('New, ')));
		t.true(visits[1]?.client.some(line => line.startsWith(how)));
	});
}

test('every difference has a case', t => {
	const ids = new Set(cases.map(({id}) => id));
	t.deepEqual(
		Object.keys(differences).filter(id => !ids.has(id)),
		[],
	);
});
