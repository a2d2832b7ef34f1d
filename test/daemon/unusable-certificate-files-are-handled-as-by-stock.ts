/*
 * A request names certificate files that cannot be used. The outcome is the same as
 * with stock, and depends on the parameter. The log contains parameter and file.
 */
import {chmodSync, mkdirSync} from 'node:fs';
import test from 'ava';
import {BothPrograms} from '../helpers/both-programs.ts';
import {type ClientRoleCase, runCase} from '../helpers/client-role-cases.ts';

/* The first does not configure the files of the cases. The others configure unusable files in main.cf. */
const unconfigured = new BothPrograms();
const brokenChain = new BothPrograms();
const brokenPair = new BothPrograms();
const absentAuthority = new BothPrograms();

test.before(async () => {
	for (const {lab} of [unconfigured, brokenChain, brokenPair, absentAuthority]) {
		chmodSync(lab.path('client.pem'), 0o600);
		chmodSync(lab.path('cliented.key'), 0o600);
		lab.write('empty.pem');
		lab.write('garbage.pem', 'no PEM at all\n');
		lab.write('keyonly.pem', lab.read('client.key'));
		mkdirSync(lab.path('directory'));
	}

	await Promise.all([
		unconfigured.start({smtp_tls_CAfile: unconfigured.lab.path('root.cert')}),
		brokenChain.start({
			smtp_tls_CAfile: brokenChain.lab.path('root.cert'),
			smtp_tls_chain_files: `\n\t${brokenChain.lab.path('absent.key')},\n\t${brokenChain.lab.path('client.cert')}`,
		}),
		brokenPair.start({
			smtp_tls_CAfile: brokenPair.lab.path('root.cert'),
			smtp_tls_cert_file: brokenPair.lab.path('client.cert'),
			smtp_tls_key_file: brokenPair.lab.path('clientec.key'),
		}),
		absentAuthority.start({smtp_tls_CAfile: absentAuthority.lab.path('absent')}),
	]);
});
test.after.always(async () => {
	await Promise.all(
		[unconfigured, brokenChain, brokenPair, absentAuthority].map(both => both[Symbol.asyncDispose]()),
	);
});

interface Expected {
	readonly status: 0 | 1;
	/** Whether the server sees a certificate. */
	readonly shown?: boolean;
	/** A log line of this program. */
	readonly line: RegExp;
}

const likeStock = test.macro<
	[title: string, both: BothPrograms, init: ClientRoleCase['init'], expected: Expected]
>({
	async exec(t, title, both, init = {}, {status, shown = false, line}) {
		const item: ClientRoleCase = {id: title, level: 'encrypt', server: 'good', arguments: '-verify 1', init};
		const expected = await runCase(t, both.stock, both.peers, both.lab, item);
		const before = (await both.ours.lines()).length;
		const actual = await runCase(t, both.ours, both.peers, both.lab, item);
		t.deepEqual(actual, expected);
		t.is(actual.status, status);
		t.is(
			actual.server.some(text => text.startsWith('Peer certificate')),
			shown,
			actual.server.join('\n'),
		);
		const lines = (await both.ours.lines())
			.slice(before)
			.map(text => text.replaceAll(`${both.lab.directory}/`, ''));
		t.true(
			lines.some(text => line.test(text)),
			lines.join('\n'),
		);
	},
	title(_, title) {
		return `${title}: the outcome is that of stock, and the log contains parameter and file`;
	},
});

/* Starts the processes, so that the lines about their start are not compared. */
test.serial('a request that names no files is served', async t => {
	for (const both of [unconfigured, brokenChain, brokenPair, absentAuthority]) {
		const item: ClientRoleCase = {id: 'first', level: 'encrypt', server: 'good', init: {CAfile: ''}};
		for (const daemon of [both.ours, both.stock]) {
			t.is((await runCase(t, daemon, both.peers, both.lab, item)).status, 1);
		}
	}
});
/* Files that main.cf does not name are opened without privileges. */
const unprivileged = (settings: string): RegExp =>
	new RegExp(`^warning: files are opened without privileges: ${settings}; smtp_tls_CAfile = root\\.cert$`);

test.serial(
	likeStock,
	'chain files that every user can read',
	unconfigured,
	{chain_files: 'client.key,\tclient.cert'},
	{
		status: 1,
		shown: true,
		line: unprivileged('smtp_tls_chain_files = client\\.key, client\\.cert'),
	},
);
test.serial(
	likeStock,
	'a chain file that only root can read',
	unconfigured,
	{chain_files: 'client.pem'},
	{
		status: 1,
		line: unprivileged('smtp_tls_chain_files = client\\.pem'),
	},
);
test.serial(
	likeStock,
	'a chain file that is absent, after a complete chain',
	unconfigured,
	{chain_files: 'client.key client.cert absent.pem'},
	{
		status: 1,
		line: unprivileged('smtp_tls_chain_files = client\\.key, client\\.cert, absent\\.pem'),
	},
);
test.serial(
	likeStock,
	'a certificate before its key',
	unconfigured,
	{chain_files: 'client.cert  client.key'},
	{
		status: 0,
		line: unprivileged('smtp_tls_chain_files = client\\.cert, client\\.key'),
	},
);
for (const name of ['empty.pem', 'garbage.pem', 'keyonly.pem', 'directory']) {
	test.serial(
		likeStock,
		`${name} as a chain file`,
		unconfigured,
		{chain_files: `\n ${name}`},
		{
			status: 0,
			line: unprivileged(`smtp_tls_chain_files = ${name.replace('.', '\\.')}`),
		},
	);
}

test.serial(
	likeStock,
	'a key that only root can read',
	unconfigured,
	{cert_file: 'cliented.cert', key_file: 'cliented.key'},
	{
		status: 0,
		line: unprivileged('smtp_tls_cert_file = cliented\\.cert; smtp_tls_key_file = cliented\\.key'),
	},
);
test.serial(
	likeStock,
	'two files where one is expected',
	unconfigured,
	{eccert_file: 'clientec.cert clientec.cert', eckey_file: 'clientec.key'},
	{
		status: 0,
		line: unprivileged(
			'smtp_tls_eccert_file = clientec\\.cert clientec\\.cert; smtp_tls_eckey_file = clientec\\.key',
		),
	},
);
test.serial(
	likeStock,
	'a key without a certificate',
	unconfigured,
	{key_file: 'cliented.key', verifydepth: 8},
	{
		status: 1,
		line: /TLS connection established/,
	},
);

/* Unusable files in main.cf are opened as root at the start, and again for each request. */
test.serial(
	likeStock,
	'a chain file of main.cf that is absent',
	brokenChain,
	{chain_files: 'absent.key,\tclient.cert'},
	{
		status: 1,
		/* The warning is logged at the start, as below. */
		line: /TLS connection established/,
	},
);
test.serial(
	likeStock,
	'a certificate and a key in main.cf that do not match',
	brokenPair,
	{cert_file: 'client.cert', key_file: 'clientec.key'},
	{
		status: 0,
		line: /^warning: files that could not be loaded when this process started: smtp_tls_cert_file = client\.cert; smtp_tls_key_file = clientec\.key$/,
	},
);
test.serial(
	likeStock,
	'a CAfile of main.cf that is absent',
	absentAuthority,
	{CAfile: 'absent'},
	{
		status: 0,
		line: /^warning: files that could not be loaded when this process started: smtp_tls_CAfile = absent$/,
	},
);

/* The log of this program. */
async function logOf(both: BothPrograms): Promise<string> {
	return (await both.ours.lines()).join('\n').replaceAll(`${both.lab.directory}/`, '');
}

test.serial('unusable files in main.cf are logged when the process starts', async t => {
	t.regex(
		await logOf(brokenChain),
		/^warning: smtp\/unix: no certificate was loaded; its connections have no client certificate: smtp_tls_chain_files = absent\.key, client\.cert$/m,
	);
	t.regex(
		await logOf(brokenPair),
		/^warning: smtp\/unix: its certificates cannot be used; this service refuses its requests: smtp_tls_cert_file = client\.cert; smtp_tls_key_file = clientec\.key$/m,
	);
	t.regex(
		await logOf(absentAuthority),
		/^warning: smtp\/unix: its certificates cannot be used; this service refuses its requests: smtp_tls_CAfile = absent$/m,
	);
});
