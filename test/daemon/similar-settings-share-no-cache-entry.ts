/*
 * The keys of caches consist of several settings. If text moves from one setting to
 * the next, or contains a separator, the key must not equal that of another request.
 * In any sequence of hand-offs, the outcome of each must be that of stock.
 */
import {mkdirSync, symlinkSync} from 'node:fs';
import {dirname} from 'node:path';
import test from 'ava';
import {BothPrograms} from '../helpers/both-programs.ts';
import {type ClientRoleCase, runCase} from '../helpers/client-role-cases.ts';
import {statusOf} from '../helpers/daemon.ts';

const both = new BothPrograms();
test.before(async () => {
	const {lab} = both;
	/* The text after the newline is what a list of settings could contain there. */
	for (const suffix of [' ', '\nCApath=/x', '&', '\t']) {
		const name = `${lab.path('root.cert')}${suffix}`;
		mkdirSync(dirname(name), {recursive: true});
		symlinkSync(lab.path('other.cert'), name);
	}

	await both.start({smtp_tls_CAfile: lab.path('root.cert'), smtp_tls_fingerprint_digest: 'sha256'});
});
test.after.always(async () => {
	await both[Symbol.asyncDispose]();
});

type Variant = Omit<ClientRoleCase, 'id' | 'level' | 'server'> &
	Partial<Pick<ClientRoleCase, 'level' | 'server'>>;

/* Runs the variants in this order with both programs, and then again, when all of them may be cached. */
const sequence = test.macro<
	[title: string, variants: (path: (name: string) => string) => readonly Variant[]]
>({
	async exec(t, title, variants) {
		const cases = variants(name => both.lab.path(name));
		for (const [index, variant] of [...cases, ...cases].entries()) {
			/* No session is shared: each case has another id. */
			const item: ClientRoleCase = {level: 'encrypt', server: 'good', ...variant, id: `${title}-${index}`};
			const expected = await runCase(t, both.stock, both.peers, both.lab, item);
			const actual = await runCase(t, both.ours, both.peers, both.lab, item);
			t.deepEqual(actual, expected, `${index}: ${JSON.stringify(variant)}`);
		}
	},
	title(_, title) {
		return `${title}: each outcome is that of stock`;
	},
});

for (const separator of [' ', '\n', '&', '\t', ':', ',']) {
	test.serial(
		sequence,
		`grade and exclusions with ${JSON.stringify(separator)}, the malformed grade first`,
		() => [
			{cipher_grade: `high${separator}MD5`, cipher_exclusions: 'RC4'},
			{cipher_grade: 'high', cipher_exclusions: `MD5${separator}RC4`},
			{cipher_grade: 'high', cipher_exclusions: `${separator}MD5${separator}RC4`},
			{cipher_grade: `high${separator}`, cipher_exclusions: 'MD5 RC4'},
		],
	);
}

test.serial(sequence, 'grade and exclusions, the valid grade first', () => [
	{cipher_grade: 'high', cipher_exclusions: 'MD5 RC4'},
	{cipher_grade: 'high MD5', cipher_exclusions: 'RC4'},
	{cipher_grade: 'high MD5 RC4', cipher_exclusions: ''},
]);

test.serial(sequence, 'CAfile names that differ in the characters at the end', path => {
	const root = path('root.cert');
	const verified = {level: 'secure', match: ['mx.example.com'], cipher_exclusions: 'aNULL'} as const;
	return ['', ' ', '\t', '&', '\nCApath=/x'].map(suffix => ({
		...verified,
		files: {CAfile: `${root}${suffix}`, CApath: ''},
	}));
});

/* Stock joins settings with newlines and confuses the first two of these. It is reloaded before each request. */
test.serial(
	'CAfile and CApath with a newline: each outcome is that of stock without cached settings',
	async t => {
		const root = both.lab.path('root.cert');
		const variants = [
			{CAfile: root, CApath: '/x\nCApath=/y'},
			{CAfile: `${root}\nCApath=/x`, CApath: '/y'},
			{CAfile: root, CApath: '/x'},
		];
		const statuses: unknown[] = [];
		for (const [index, files] of [...variants, ...variants].entries()) {
			const item: ClientRoleCase = {
				id: `newline-${index}`,
				level: 'secure',
				server: 'good',
				match: ['mx.example.com'],
				cipher_exclusions: 'aNULL',
				files,
			};
			await both.stock.sandbox.reload();
			const expected = await runCase(t, both.stock, both.peers, both.lab, item);
			t.deepEqual(
				await runCase(t, both.ours, both.peers, both.lab, item),
				expected,
				`${index}: ${JSON.stringify(files)}`,
			);
			statuses.push(expected.report?.peer_status);
		}

		t.deepEqual(statuses.slice(0, 3), statuses.slice(3));
		t.not(statuses[1], statuses[0], 'the second request trusts another authority');
	},
);

test.serial(sequence, 'an identity with the same text in other settings', path => {
	const [certificate, key] = [path('client.cert'), path('client.key')];
	const none = {cert_file: '', key_file: '', dcert_file: '', dkey_file: ''};
	const requestCertificate = {arguments: '-verify 1'};
	return [
		{...requestCertificate, files: {...none, cert_file: certificate, key_file: key}},
		{...requestCertificate, files: {...none, cert_file: `${certificate}\n${key}`}},
		{...requestCertificate, files: {...none, cert_file: certificate, key_file: `${key}\n`}},
		{...requestCertificate, files: {...none, dcert_file: certificate, dkey_file: key}},
		{...requestCertificate, files: {...none, chain_files: `${key} ${certificate}`}},
		{...requestCertificate, files: {...none, chain_files: `${key}\n${certificate}`}},
		{...requestCertificate, files: {...none, chain_files: `${key}&${certificate}`}},
		{...requestCertificate, files: {...none, cert_file: certificate, key_file: key, chain_files: ', '}},
		{...requestCertificate, files: {...none, cert_file: certificate, key_file: key, chain_files: ''}},
	];
});

test.serial(sequence, 'lists with several separators', () => [
	{params: {tls_dane_digests: 'sha512 sha256'}},
	{params: {tls_dane_digests: 'sha512,sha256 '}},
	{params: {tls_dane_digests: 'sha512\tsha256'}},
	{params: {tls_dane_digests: ''}},
	{params: {tls_dane_digests: ','}},
]);

test.serial(
	'a request with a null byte in a value is malformed and does not affect the next one',
	async t => {
		const variants = [
			{cipher_grade: 'high\u0001MD5', cipher_exclusions: 'RC4'},
			{cipher_grade: 'high', cipher_exclusions: 'MD5\u0001RC4'},
			{cipher_grade: 'high', cipher_exclusions: 'MD5 RC4'},
		];
		for (const [index, start] of [...variants, ...variants].entries()) {
			const statuses: unknown[] = [];
			for (const daemon of [both.stock, both.ours]) {
				const client = await daemon.greeted(t);
				for (const message of daemon.messages('[127.0.0.1]:1', {start})) {
					const bytes = Buffer.from(message);
					await client.send(bytes.map(byte => (byte === 1 ? 0 : byte)));
				}

				client.socket.end();
				statuses.push(statusOf(await client.list()));
			}

			t.is(statuses[1], statuses[0], `${index}: ${JSON.stringify(start)}`);
			t.is(statuses[1], JSON.stringify(start).includes('u0001') ? -1 : 1);
		}
	},
);
