/*
 * Files that a request names and that cannot be used: what the client gets is what
 * it gets from stock, which depends on how the files are named. The log says which
 * parameter it was, and which file.
 */
import {chmodSync, mkdirSync} from 'node:fs';
import test from 'ava';
import {BothPrograms} from '../helpers/both-programs.ts';
import {type ClientRoleCase, runCase} from '../helpers/client-role-cases.ts';

/* Cases are about the first of them. The others have such files in main.cf, and load them as root. */
const elsewhere = new BothPrograms();
const brokenChain = new BothPrograms();
const brokenPair = new BothPrograms();
const absentAuthority = new BothPrograms();

test.before(async () => {
	for (const {lab} of [elsewhere, brokenChain, brokenPair, absentAuthority]) {
		chmodSync(lab.path('client.pem'), 0o600);
		chmodSync(lab.path('cliented.key'), 0o600);
		lab.write('empty.pem');
		lab.write('garbage.pem', 'no PEM at all\n');
		lab.write('keyonly.pem', lab.read('client.key'));
		mkdirSync(lab.path('directory'));
	}

	await Promise.all([
		elsewhere.start({smtp_tls_CAfile: elsewhere.lab.path('root.cert')}),
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
		[elsewhere, brokenChain, brokenPair, absentAuthority].map(both => both[Symbol.asyncDispose]()),
	);
});

interface Expected {
	readonly status: 0 | 1;
	/** Whether the server sees a certificate. */
	readonly shown?: boolean;
	/** What ours says about the files. */
	readonly names: RegExp;
}

const likeStock = test.macro<
	[what: string, both: BothPrograms, init: ClientRoleCase['init'], expected: Expected]
>({
	async exec(t, what, both, init = {}, {status, shown = false, names}) {
		const item: ClientRoleCase = {id: what, level: 'encrypt', server: 'good', arguments: '-verify 1', init};
		const wanted = await runCase(t, both.stock, both.peers, both.lab, item);
		const before = (await both.ours.lines()).length;
		const found = await runCase(t, both.ours, both.peers, both.lab, item);
		t.deepEqual(found, wanted);
		t.is(found.status, status);
		t.is(
			found.server.some(line => line.startsWith('Peer certificate')),
			shown,
			found.server.join('\n'),
		);
		const lines = (await both.ours.lines())
			.slice(before)
			.map(line => line.replaceAll(`${both.lab.directory}/`, ''));
		t.true(
			lines.some(line => names.test(line)),
			lines.join('\n'),
		);
	},
	title(_, what) {
		return `${what}: what stock gives, and the log names parameter and file`;
	},
});

/* What a process logs when it starts comes before the lines that are compared. */
test.serial('a request that names no files is served', async t => {
	for (const both of [elsewhere, brokenChain, brokenPair, absentAuthority]) {
		const item: ClientRoleCase = {id: 'first', level: 'encrypt', server: 'good', init: {CAfile: ''}};
		for (const daemon of [both.ours, both.stock]) {
			t.is((await runCase(t, daemon, both.peers, both.lab, item)).status, 1);
		}
	}
});
/* Files that no main.cf names are opened without privileges. */
const unprivileged = (settings: string): RegExp =>
	new RegExp(`^warning: files are opened without privileges: ${settings}; smtp_tls_CAfile = root\\.cert$`);

test.serial(
	likeStock,
	'chain files that all may read',
	elsewhere,
	{chain_files: 'client.key,\tclient.cert'},
	{
		status: 1,
		shown: true,
		names: unprivileged('smtp_tls_chain_files = client\\.key, client\\.cert'),
	},
);
test.serial(
	likeStock,
	'a chain file that only root can read',
	elsewhere,
	{chain_files: 'client.pem'},
	{
		status: 1,
		names: unprivileged('smtp_tls_chain_files = client\\.pem'),
	},
);
test.serial(
	likeStock,
	'a chain file that is absent, after a complete chain',
	elsewhere,
	{chain_files: 'client.key client.cert absent.pem'},
	{
		status: 1,
		names: unprivileged('smtp_tls_chain_files = client\\.key, client\\.cert, absent\\.pem'),
	},
);
test.serial(
	likeStock,
	'a certificate before its key',
	elsewhere,
	{chain_files: 'client.cert  client.key'},
	{
		status: 0,
		names: unprivileged('smtp_tls_chain_files = client\\.cert, client\\.key'),
	},
);
for (const name of ['empty.pem', 'garbage.pem', 'keyonly.pem', 'directory']) {
	test.serial(
		likeStock,
		`${name} as a chain file`,
		elsewhere,
		{chain_files: `\n ${name}`},
		{
			status: 0,
			names: unprivileged(`smtp_tls_chain_files = ${name.replace('.', '\\.')}`),
		},
	);
}

test.serial(
	likeStock,
	'a key that only root can read',
	elsewhere,
	{cert_file: 'cliented.cert', key_file: 'cliented.key'},
	{
		status: 0,
		names: unprivileged('smtp_tls_cert_file = cliented\\.cert; smtp_tls_key_file = cliented\\.key'),
	},
);
test.serial(
	likeStock,
	'two files where one is expected',
	elsewhere,
	{eccert_file: 'clientec.cert clientec.cert', eckey_file: 'clientec.key'},
	{
		status: 0,
		names: unprivileged(
			'smtp_tls_eccert_file = clientec\\.cert clientec\\.cert; smtp_tls_eckey_file = clientec\\.key',
		),
	},
);
test.serial(
	likeStock,
	'a key without a certificate',
	elsewhere,
	{key_file: 'cliented.key', verifydepth: 8},
	{
		status: 1,
		names: /TLS connection established/,
	},
);

/* What main.cf names is loaded as root, and then again for each request. */
test.serial(
	likeStock,
	'a chain file of main.cf that is absent',
	brokenChain,
	{chain_files: 'absent.key,\tclient.cert'},
	{
		status: 1,
		/* It was logged at the start, as below. */
		names: /TLS connection established/,
	},
);
test.serial(
	likeStock,
	'a pair of main.cf that does not belong together',
	brokenPair,
	{cert_file: 'client.cert', key_file: 'clientec.key'},
	{
		status: 0,
		names:
			/^warning: files that could not be loaded when this process started: smtp_tls_cert_file = client\.cert; smtp_tls_key_file = clientec\.key$/,
	},
);
test.serial(
	likeStock,
	'a CAfile of main.cf that is absent',
	absentAuthority,
	{CAfile: 'absent'},
	{
		status: 0,
		names: /^warning: files that could not be loaded when this process started: smtp_tls_CAfile = absent$/,
	},
);

/* What our program has logged. */
async function logOf(both: BothPrograms): Promise<string> {
	return (await both.ours.lines()).join('\n').replaceAll(`${both.lab.directory}/`, '');
}

test.serial('what services in main.cf lack is logged when the process starts', async t => {
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
