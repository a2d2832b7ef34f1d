/*
 * smtp(8) sends the names of its certificate files with the white space in main.cf and
 * master.cf; postconf(1) prints other white space. Only root can read the keys: if a name
 * is not recognized in the jail, mail is sent without a client certificate. The results
 * for main.cf are compared with stock. Stock tlsproxy(8) does not read the settings of
 * its clients in master.cf.
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

/* Creates the files in another directory and moves them: openssl(1) may not accept every name. */
async function createIdentity(name: string, place: string): Promise<Identity> {
	const created = mkdtempSync(join(directory, 'created-'));
	const {certFile, keyFile} = await makeCertificates(created, `${name}.example`);
	chmodSync(keyFile, 0o600);
	chmodSync(created, 0o700);
	const target = join(directory, place);
	renameSync(created, target);
	return {certFile: certFile.replace(created, target), keyFile: keyFile.replace(created, target)};
}

interface Notation {
	/** Name in the certificate. */
	readonly name: string;
	readonly title: string;
	/** Directory of the files. Default: the name. */
	readonly place?: string;
	/** Lines of main.cf. */
	readonly lines: (identity: Identity) => string;
}

const notations: readonly Notation[] = [
	{
		name: 'blank',
		title: 'a blank between the files',
		lines: ({keyFile, certFile}) => `smtp_tls_chain_files = ${keyFile} ${certFile}`,
	},
	{
		name: 'comma',
		title: 'a comma between the files',
		lines: ({keyFile, certFile}) => `smtp_tls_chain_files=${keyFile},${certFile}`,
	},
	{
		name: 'lines',
		title: 'continuation lines',
		lines: ({keyFile, certFile}) => `smtp_tls_chain_files =\n    ${keyFile}\n    ${certFile}`,
	},
	{
		name: 'remarks',
		title: 'continuation lines with commas and remarks in between',
		lines: ({keyFile, certFile}) =>
			`smtp_tls_chain_files =\n\t${keyFile},\n# a remark\n\n   # another\n\t${certFile},`,
	},
	{
		name: 'tabs',
		title: 'tabs',
		lines: ({keyFile, certFile}) => `smtp_tls_chain_files\t=\t${keyFile}\t\t${certFile}\t`,
	},
	{
		name: 'blanks',
		title: 'two blanks',
		lines: ({keyFile, certFile}) => `smtp_tls_chain_files =  ${keyFile}  ${certFile}`,
	},
	{
		name: 'variable',
		title: 'parameters that contain white space',
		lines: ({keyFile, certFile}) =>
			`site_key = ${keyFile}\nsite_files =\n\t$site_key,\n\t${certFile}\nsmtp_tls_chain_files = $site_files`,
	},
	{
		name: 'pair',
		title: 'a certificate and a key whose names have two blanks and a tab',
		place: 'two  blanks\tand a tab',
		lines: ({keyFile, certFile}) => `smtp_tls_cert_file = ${certFile}\nsmtp_tls_key_file = ${keyFile}`,
	},
	{
		name: 'letters',
		title: 'names that are not ASCII, with a byte that is a no-break space in Latin-1',
		place: 'voilà-bücher',
		lines: ({keyFile, certFile}) => `smtp_tls_chain_files =\n\t${keyFile}\n\t${certFile}`,
	},
];

/* A signal before master(8) has installed its handlers would end it. */
async function waitUntilStarted(t: ExecutionContext, {sandbox}: SenderAndSink): Promise<void> {
	const isStarted = async (): Promise<boolean> => (await sandbox.logLines(/daemon started/)).length > 0;
	t.true(await sandbox.waitFor(isStarted), await sandbox.log());
}

/* Delivers messages. Returns the names in the client certificates; `none` without a certificate. */
async function deliveredBy(
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
	return [...new Set(arrived.map(({connection}) => connections[connection]?.clientName ?? 'none'))];
}

test.serial('client certificates in main.cf', async t => {
	const identities = new Map<string, Identity>();
	for (const {name, place = name} of notations) {
		identities.set(name, await createIdentity(name, place));
	}

	const expected = notations.map(({name, title}) => `${title}: ${name}.example`);
	const programs = ['ours', 'stock'] as const;
	const results = await Promise.all(
		programs.map(async tlsproxy => {
			await using pair = await SenderAndSink.start({tlsproxy, chroot: 'y'}, {requestCertificate: true});
			const {sandbox} = pair;
			await waitUntilStarted(t, pair);
			const file = join(sandbox.configDirectory, 'main.cf');
			const original = readFileSync(file, 'utf8');
			const found: string[] = [];
			for (const {name, title, lines} of notations) {
				const files = identities.get(name) ?? {certFile: '', keyFile: ''};
				writeFileSync(file, `${original}${lines(files)}\n`);
				await sandbox.reload();
				found.push(`${title}: ${(await deliveredBy(t, pair, 2, `${name}.example`)).join()}`);
			}

			t.notRegex(await sandbox.log(), /unexpected settings|without privileges/, tlsproxy);
			return found;
		}),
	);
	for (const [index, found] of results.entries()) {
		t.deepEqual(found, expected, programs[index]);
	}
});

test.serial('client certificates in master.cf', async t => {
	const list = await createIdentity('list', 'list');
	const referring = await createIdentity('referring', 'referring');
	const blanks = await createIdentity('named', 'two  more\tblanks');
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
	await waitUntilStarted(t, pair);
	const names = ['list', 'referring', 'named'];
	const routes = names.map(name => `{ ${name}.example = ${name}:[127.0.0.1]:${sink.port} }`);
	await sandbox.postconf('transport_maps', `inline:{ ${routes.join(', ')} }`);
	await sandbox.reload();
	for (const name of names) {
		t.deepEqual(await deliveredBy(t, pair, 2, `${name}.example`), [`${name}.example`]);
	}

	t.notRegex(await sandbox.log(), /unexpected settings|without privileges/);
});
