/*
 * Memories are looked up by keys that consist of several settings. Text that moves
 * from one setting to the next, or that has a separator in it, must not find what
 * belongs to another request: after any sequence of hand-offs, the verdict on each
 * is the one of stock.
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
	/* Whatever follows a newline in these names is what a list of settings would have there. */
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

/* In this order, with both programs; each of them once more at the end, when all are known. */
const sequence = test.macro<[what: string, variants: (path: (name: string) => string) => readonly Variant[]]>(
	{
		async exec(t, what, variants) {
			const cases = variants(name => both.lab.path(name));
			for (const [index, variant] of [...cases, ...cases].entries()) {
				/* Sessions are not what this is about. */
				const item: ClientRoleCase = {level: 'encrypt', server: 'good', ...variant, id: `${what}-${index}`};
				const wanted = await runCase(t, both.stock, both.peers, both.lab, item);
				const found = await runCase(t, both.ours, both.peers, both.lab, item);
				t.deepEqual(found, wanted, `${index}: ${JSON.stringify(variant)}`);
			}
		},
		title(_, what) {
			return `${what}: each verdict is the one of stock`;
		},
	},
);

for (const separator of [' ', '\n', '&', '\t', ':', ',']) {
	test.serial(
		sequence,
		`grade and exclusions with ${JSON.stringify(separator)}, the malformed one first`,
		() => [
			{cipher_grade: `high${separator}MD5`, cipher_exclusions: 'RC4'},
			{cipher_grade: 'high', cipher_exclusions: `MD5${separator}RC4`},
			{cipher_grade: 'high', cipher_exclusions: `${separator}MD5${separator}RC4`},
			{cipher_grade: `high${separator}`, cipher_exclusions: 'MD5 RC4'},
		],
	);
}

test.serial(sequence, 'grade and exclusions, the good one first', () => [
	{cipher_grade: 'high', cipher_exclusions: 'MD5 RC4'},
	{cipher_grade: 'high MD5', cipher_exclusions: 'RC4'},
	{cipher_grade: 'high MD5 RC4', cipher_exclusions: ''},
]);

test.serial(sequence, 'authorities whose names differ in what follows', path => {
	const root = path('root.cert');
	const verified = {level: 'secure', match: ['mx.example.com'], cipher_exclusions: 'aNULL'} as const;
	return ['', ' ', '\t', '&', '\nCApath=/x'].map(suffix => ({
		...verified,
		files: {CAfile: `${root}${suffix}`, CApath: ''},
	}));
});

/* Stock itself joins settings with newlines, and takes the second of these for the first: it is asked afresh. */
test.serial(
	'a newline between two names: each verdict is the one of stock that knows no other request',
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
			const wanted = await runCase(t, both.stock, both.peers, both.lab, item);
			t.deepEqual(
				await runCase(t, both.ours, both.peers, both.lab, item),
				wanted,
				`${index}: ${JSON.stringify(files)}`,
			);
			statuses.push(wanted.report?.peer_status);
		}

		t.deepEqual(statuses.slice(0, 3), statuses.slice(3));
		t.not(statuses[1], statuses[0], 'another authority is trusted');
	},
);

test.serial(sequence, 'an identity whose settings move', path => {
	const [certificate, key] = [path('client.cert'), path('client.key')];
	const none = {cert_file: '', key_file: '', dcert_file: '', dkey_file: ''};
	const asking = {arguments: '-verify 1'};
	return [
		{...asking, files: {...none, cert_file: certificate, key_file: key}},
		{...asking, files: {...none, cert_file: `${certificate}\n${key}`}},
		{...asking, files: {...none, cert_file: certificate, key_file: `${key}\n`}},
		{...asking, files: {...none, dcert_file: certificate, dkey_file: key}},
		{...asking, files: {...none, chain_files: `${key} ${certificate}`}},
		{...asking, files: {...none, chain_files: `${key}\n${certificate}`}},
		{...asking, files: {...none, chain_files: `${key}&${certificate}`}},
		{...asking, files: {...none, cert_file: certificate, key_file: key, chain_files: ', '}},
		{...asking, files: {...none, cert_file: certificate, key_file: key, chain_files: ''}},
	];
});

test.serial(sequence, 'lists that are written in several ways', () => [
	{params: {tls_dane_digests: 'sha512 sha256'}},
	{params: {tls_dane_digests: 'sha512,sha256 '}},
	{params: {tls_dane_digests: 'sha512\tsha256'}},
	{params: {tls_dane_digests: ''}},
	{params: {tls_dane_digests: ','}},
]);

test.serial(
	'a null byte in a value ends it: the request is malformed, and the next one is served as before',
	async t => {
		const variants = [
			{cipher_grade: 'high\u0001MD5', cipher_exclusions: 'RC4'},
			{cipher_grade: 'high', cipher_exclusions: 'MD5\u0001RC4'},
			{cipher_grade: 'high', cipher_exclusions: 'MD5 RC4'},
		];
		for (const [index, start] of [...variants, ...variants].entries()) {
			const seen: unknown[] = [];
			for (const daemon of [both.stock, both.ours]) {
				const client = await daemon.greeted(t);
				for (const message of daemon.messages('[127.0.0.1]:1', {start})) {
					const bytes = Buffer.from(message);
					await client.send(bytes.map(byte => (byte === 1 ? 0 : byte)));
				}

				client.socket.end();
				seen.push(statusOf(await client.list()));
			}

			t.is(seen[1], seen[0], `${index}: ${JSON.stringify(start)}`);
			t.is(seen[1], JSON.stringify(start).includes('u0001') ? -1 : 1);
		}
	},
);
