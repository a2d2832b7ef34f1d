/*
 * smtp(8) sends the names of its certificate files as main.cf and master.cf have
 * them, and postconf(1) prints them with other white space. Only root can read the
 * keys: a name that is not recognized in the jail costs the identity, and mail goes
 * out without it. Stock serves as the oracle for main.cf; what master.cf says about
 * a client is nothing that stock's tlsproxy(8) knows.
 */
import {chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {makeCertificates} from '../../postfix/lib/certificates.ts';
import {messages, SenderAndSink} from '../helpers/sender-and-sink.ts';

interface Identity {
	readonly certFile: string;
	readonly keyFile: string;
}

const directory = mkdtempSync(join(tmpdir(), 'identity-'));
test.after.always(() => rmSync(directory, {recursive: true}));

/* Commands that make certificates need not cope with every name. */
async function identity(name: string, place: string): Promise<Identity> {
	const made = mkdtempSync(join(directory, 'made-'));
	const {certFile, keyFile} = await makeCertificates(made, `${name}.example`);
	chmodSync(keyFile, 0o600);
	chmodSync(made, 0o700);
	const home = join(directory, place);
	renameSync(made, home);
	return {certFile: certFile.replace(made, home), keyFile: keyFile.replace(made, home)};
}

interface Way {
	/** Name in the certificate. */
	readonly name: string;
	readonly what: string;
	/** Directory of the files. Default: the name. */
	readonly place?: string;
	/** Lines of main.cf. */
	readonly lines: (identity: Identity) => string;
}

const ways: readonly Way[] = [
	{
		name: 'blank',
		what: 'a blank between the files',
		lines: ({keyFile, certFile}) => `smtp_tls_chain_files = ${keyFile} ${certFile}`,
	},
	{
		name: 'comma',
		what: 'a comma between the files',
		lines: ({keyFile, certFile}) => `smtp_tls_chain_files=${keyFile},${certFile}`,
	},
	{
		name: 'lines',
		what: 'continuation lines',
		lines: ({keyFile, certFile}) => `smtp_tls_chain_files =\n    ${keyFile}\n    ${certFile}`,
	},
	{
		name: 'remarks',
		what: 'continuation lines with commas and remarks in between',
		lines: ({keyFile, certFile}) =>
			`smtp_tls_chain_files =\n\t${keyFile},\n# a remark\n\n   # another\n\t${certFile},`,
	},
	{
		name: 'tabs',
		what: 'tabs',
		lines: ({keyFile, certFile}) => `smtp_tls_chain_files\t=\t${keyFile}\t\t${certFile}\t`,
	},
	{
		name: 'blanks',
		what: 'two blanks',
		lines: ({keyFile, certFile}) => `smtp_tls_chain_files =  ${keyFile}  ${certFile}`,
	},
	{
		name: 'variable',
		what: 'variables, with white space of their own',
		lines: ({keyFile, certFile}) =>
			`site_key = ${keyFile}\nsite_files =\n\t$site_key,\n\t${certFile}\nsmtp_tls_chain_files = $site_files`,
	},
	{
		name: 'pair',
		what: 'a certificate and a key whose names have two blanks and a tab',
		place: 'two  blanks\tand a tab',
		lines: ({keyFile, certFile}) => `smtp_tls_cert_file = ${certFile}\nsmtp_tls_key_file = ${keyFile}`,
	},
	{
		name: 'letters',
		what: 'names that are not ASCII, with a byte that other encodings have for a blank',
		place: 'voilà-bücher',
		lines: ({keyFile, certFile}) => `smtp_tls_chain_files =\n\t${keyFile}\n\t${certFile}`,
	},
];

/* A signal that comes before master(8) has set up its handlers would end it. */
async function started(t: ExecutionContext, {sandbox}: SenderAndSink): Promise<void> {
	const said = async (): Promise<boolean> => (await sandbox.logLines(/daemon started/)).length > 0;
	t.true(await sandbox.waitFor(said), await sandbox.log());
}

/* The names in the certificates of those who have delivered since the last time. */
async function shown(
	t: ExecutionContext,
	pair: SenderAndSink,
	count: number,
	domain: string,
): Promise<readonly string[]> {
	t.true(
		await pair.deliver(
			messages(count, index => `u${index}@${domain}`),
			1,
		),
		await pair.sandbox.log(),
	);
	const {connections, messages: arrived, clearMessages} = await pair.sink.report();
	t.is(clearMessages, 0);
	await pair.sink.reset();
	return [...new Set(arrived.map(({connection}) => connections[connection]?.clientName ?? 'nobody'))];
}

test.serial('in main.cf', async t => {
	const identities = new Map<string, Identity>();
	for (const {name, place = name} of ways) {
		identities.set(name, await identity(name, place));
	}

	const expected = ways.map(({name, what}) => `${what}: ${name}.example`);
	const programs = ['ours', 'stock'] as const;
	const results = await Promise.all(
		programs.map(async tlsproxy => {
			await using pair = await SenderAndSink.start({tlsproxy, chroot: 'y'}, {requestCertificate: true});
			const {sandbox} = pair;
			await started(t, pair);
			const file = join(sandbox.configDirectory, 'main.cf');
			const usual = readFileSync(file, 'utf8');
			const found: string[] = [];
			for (const {name, what, lines} of ways) {
				const files = identities.get(name) ?? {certFile: '', keyFile: ''};
				writeFileSync(file, `${usual}${lines(files)}\n`);
				await sandbox.reload();
				found.push(`${what}: ${(await shown(t, pair, 2, `${name}.example`)).join()}`);
			}

			t.notRegex(await sandbox.log(), /unexpected settings|without privileges/, tlsproxy);
			return found;
		}),
	);
	for (const [index, found] of results.entries()) {
		t.deepEqual(found, expected, programs[index]);
	}
});

test.serial('in master.cf', async t => {
	const list = await identity('list', 'list');
	const referring = await identity('referring', 'referring');
	const blanks = await identity('named', 'two  more\tblanks');
	const services = [
		`list unix - - n - - smtp\n  -o { smtp_tls_chain_files = ${list.keyFile},\n# a remark\n\t${list.certFile} }`,
		`referring unix - - n - - smtp\n  -o site_key=${referring.keyFile}\n  -o {smtp_tls_chain_files =\n    \${site_key}\n    ${referring.certFile}\n  }`,
		`named unix - - n - - smtp\n  -o { smtp_tls_cert_file = ${blanks.certFile} }\n  -o { smtp_tls_key_file = ${blanks.keyFile} }`,
	];
	await using pair = await SenderAndSink.start(
		{chroot: 'y', services, main: {transport_maps: 'static:'}},
		{requestCertificate: true},
	);
	const {sandbox, sink} = pair;
	await started(t, pair);
	const names = ['list', 'referring', 'named'];
	const routes = names.map(name => `{ ${name}.example = ${name}:[127.0.0.1]:${sink.port} }`);
	await sandbox.postconf('transport_maps', `inline:{ ${routes.join(', ')} }`);
	await sandbox.reload();
	for (const name of names) {
		t.deepEqual(await shown(t, pair, 2, `${name}.example`), [`${name}.example`]);
	}

	t.notRegex(await sandbox.log(), /unexpected settings|without privileges/);
});
