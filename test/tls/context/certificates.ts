import {X509Certificate} from 'node:crypto';
import {mkdirSync} from 'node:fs';
import test, {type ExecutionContext} from 'ava';
import koffi from 'koffi';
import {drainErrors, nonNull} from '../../../src/ffi/openssl/libcrypto.ts';
import {SSL_CTX_free, SSL_CTX_new, type SslCtx, TLS_client_method} from '../../../src/ffi/openssl/ssl-ctx.ts';
import {derOfCertificate, type X509} from '../../../src/ffi/openssl/x509.ts';
import {loadAuthorities, loadIdentity} from '../../../src/tls/context/certificates.ts';
import {type IdentityFiles, namedFiles} from '../../../src/tls/context/named-files.ts';
import {openDescriptors} from '../../helpers/descriptors.ts';
import {
	CertificateStore,
	collectLog,
	ecdsa,
	ed25519,
	noCredentialFiles,
	openssl,
	rsa,
} from '../../helpers/openssl.ts';

/* Functions that only tests need. */
const libssl = koffi.load('libssl.so.3', {deep: true});
const libcrypto = koffi.load('libcrypto.so.3', {deep: true});
const setCurrent: (ctx: SslCtx, command: number, which: number, no: null) => number = libssl.func(
	'long SSL_CTX_ctrl(void *ctx, int cmd, long larg, void *parg)',
);
const certificateOf: (ctx: SslCtx) => X509 | null = libssl.func('void *SSL_CTX_get0_certificate(void *ctx)');
const chainOf: (ctx: SslCtx, command: number, larg: number, chain: BigUint64Array) => number = libssl.func(
	'long SSL_CTX_ctrl(void *ctx, int cmd, long larg, void *parg)',
);
const stackSize: (stack: bigint) => number = libcrypto.func('int OPENSSL_sk_num(void *st)');
const stackItem: (stack: bigint, index: number) => X509 = libcrypto.func(
	'void *OPENSSL_sk_value(void *st, int i)',
);

function nameOf(x509: X509): string {
	return /CN=([\w-]*)/.exec(new X509Certificate(derOfCertificate(x509) ?? '').subject)?.[1] ?? '';
}

/** The chains of a context: common names, leaf first. */
function chains(ctx: SslCtx): readonly string[] {
	const SET_CURRENT = 117;
	const GET_CHAIN = 115;
	const all: string[] = [];
	for (
		let more = setCurrent(ctx, SET_CURRENT, 1, null);
		more === 1;
		more = setCurrent(ctx, SET_CURRENT, 2, null)
	) {
		const leaf = certificateOf(ctx);
		const out = new BigUint64Array(16);
		chainOf(ctx, GET_CHAIN, 0, out);
		const stack = out[0] ?? 0n;
		const issuers = Array.from({length: stack === 0n ? 0 : stackSize(stack)}, (_, index) =>
			stackItem(stack, index),
		);
		all.push([leaf, ...issuers].map(x509 => (x509 === null ? '' : nameOf(x509))).join(' '));
	}

	return all;
}

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
const ca = ['basicConstraints=critical,CA:TRUE'];
store.make('root', {extensions: ca, subject: '/CN=root'});
store.make('middle', {extensions: ca, subject: '/CN=middle', issuer: 'root'});
store.make('ec', {key: ecdsa, subject: '/CN=ec', issuer: 'middle'});
store.make('ec2', {key: ecdsa, subject: '/CN=ec2', issuer: 'middle'});
store.make('rsa', {key: rsa, subject: '/CN=rsa', issuer: 'middle'});
store.make('ed', {key: ed25519, subject: '/CN=ed', issuer: 'middle'});

/* Parts of files. */
const part = (name: string): string => store.read(name);
const [ecKey, ecCert] = [part('ec.key'), part('ec.cert')];
const [ec2Key, ec2Cert] = [part('ec2.key'), part('ec2.cert')];
const [rsaKey, rsaCert] = [part('rsa.key'), part('rsa.cert')];
const [edKey, edCert] = [part('ed.key'), part('ed.cert')];
const [middle, root] = [part('middle.cert'), part('root.cert')];
const traditionalRsa = openssl('rsa', '-traditional', '-in', store.path('rsa.key'));
const traditionalEc = openssl('ec', '-in', store.path('ec.key'));
const encrypted = openssl(
	'rsa',
	'-traditional',
	'-aes128',
	'-passout',
	'pass:secret',
	'-in',
	store.path('rsa.key'),
);
const encryptedPkcs8 = openssl('pkcs8', '-topk8', '-passout', 'pass:secret', '-in', store.path('ec.key'));
const parameters = openssl('ecparam', '-name', 'prime256v1');

/** A PEM object with bytes appended to its DER, or with other DER. */
function spoiled(pem: string, excess: Uint8Array): string {
	const [, label = '', body = ''] = /-----BEGIN ([^-]*)-----\n([^-]*)-----END/.exec(pem) ?? [];
	const der = Buffer.concat([Buffer.from(body, 'base64'), excess]);
	return `-----BEGIN ${label}-----\n${der.toString('base64').replaceAll(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----\n`;
}

const junk = (label: string): string => `-----BEGIN ${label}-----\nanVuaw==\n-----END ${label}-----\n`;

const nothing: IdentityFiles = noCredentialFiles;

interface Outcome {
	/** Chains of the context. */
	readonly loaded: readonly string[];
	/** Whether loading succeeds; by default, true. */
	readonly result?: boolean;
	/** The log lines. Those of OpenSSL have only the reason. */
	readonly lines?: readonly string[];
}

/** Loads an identity into a new context. The lines do not contain the directory. */
function load(
	t: ExecutionContext,
	files: Partial<IdentityFiles>,
	{loaded, result = true, lines = []}: Outcome,
): void {
	const log = collectLog();
	const ctx = nonNull(SSL_CTX_new(TLS_client_method()), 'SSL_CTX_new');
	const before = openDescriptors();
	t.is(loadIdentity(ctx, {...nothing, ...files}), result);
	t.is(openDescriptors(), before);
	t.deepEqual(
		log.map(line =>
			line
				.replaceAll(`${store.directory}/`, '')
				.replace(
					/^warning: (TLS library problem: error):[0-9A-F]{8}:[^:]*:[^:]*:([^:]*):.*$/,
					'warning: $1: $2',
				),
		),
		lines,
	);
	t.deepEqual(chains(ctx), loaded);
	t.deepEqual(drainErrors(), []);
	SSL_CTX_free(ctx);
}

/* The files of chain tests are named a, b, c in their order. */
let number = 0;
const chain = test.macro({
	exec(t, contents: ReadonlyArray<string | undefined>, outcome: Outcome) {
		const folder = `chain${++number}`;
		mkdirSync(store.path(folder));
		const names = contents.map((content, index) => {
			const name = `${folder}/${'abc'.charAt(index)}`;
			return content === undefined ? store.path(name) : store.write(name, content);
		});
		const all = names.join(', ').replaceAll(`${store.directory}/`, '');
		const lines = (outcome.lines ?? []).map(line =>
			line.replace(/\b(in|from|file:|loading) ([abc])\b/, `$1 ${folder}/$2`).replace('ALL', all),
		);
		load(t, {chain_files: names.join(', ')}, {...outcome, lines});
	},
	title(condition = '') {
		return `chain_files: ${condition}`;
	},
});

const failed = 'warning: error loading private keys and certificates from: ALL: disabling TLS support';

test.serial('key, leaf, issuers', chain, [ecKey + ecCert + middle + root], {loaded: ['ec middle root']});
test.serial('key and leaf', chain, [ecKey + ecCert], {loaded: ['ec']});
test.serial('issuers are sent in the order of the file', chain, [ecKey + ecCert + root + middle], {
	loaded: ['ec root middle'],
});
test.serial('text around the objects', chain, [`hello\n${ecKey}\nbetween\n${ecCert}\n# end\n`], {
	loaded: ['ec'],
});
test.serial('one chain in three files', chain, [ecKey, ecCert, middle], {loaded: ['ec middle']});
test.serial(
	'three chains in one file',
	chain,
	[ecKey + ecCert + middle + rsaKey + rsaCert + middle + edKey + edCert],
	{
		loaded: ['rsa middle', 'ec middle', 'ed'],
	},
);
test.serial('two chains in two files', chain, [rsaKey + rsaCert, ecKey + ecCert + middle], {
	loaded: ['rsa', 'ec middle'],
});
test.serial('a chain that continues in the next file', chain, [ecKey + ecCert, middle + rsaKey + rsaCert], {
	loaded: ['rsa', 'ec middle'],
});
test.serial('a traditional RSA key', chain, [traditionalRsa + rsaCert], {loaded: ['rsa']});
test.serial('a traditional EC key', chain, [traditionalEc + ecCert], {loaded: ['ec']});
test.serial(
	'a certificate with an obsolete label',
	chain,
	[ecKey + ecCert.replaceAll(' CERTIFICATE', ' X509 CERTIFICATE')],
	{
		loaded: ['ec'],
	},
);
test.serial('an empty file among others', chain, ['', ecKey + ecCert, ''], {loaded: ['ec']});

test.serial('other PEM objects are skipped, with a warning', chain, [parameters + ecKey + ecCert], {
	loaded: ['ec'],
	lines: ['warning: loading a: ignoring PEM type: EC PARAMETERS'],
});
test.serial('an encrypted PKCS#8 key is not a key', chain, [encryptedPkcs8 + ecCert], {
	loaded: [],
	result: false,
	lines: [
		'warning: loading a: ignoring PEM type: ENCRYPTED PRIVATE KEY',
		'warning: error loading chain from a: key not first',
		failed,
	],
});
test.serial('the certificate comes first', chain, [ecCert + ecKey], {
	loaded: [],
	result: false,
	lines: ['warning: error loading chain from a: key not first', failed],
});
test.serial('the certificate comes first, in a separate file', chain, [ecCert, ecKey], {
	loaded: [],
	result: false,
	lines: ['warning: error loading chain from a: key not first', failed],
});
test.serial('a key without a certificate', chain, [ecKey], {
	loaded: [],
	result: false,
	lines: ['warning: No certs for key at index 1 in a', failed],
});
test.serial('a second key without a certificate', chain, [ecKey + ecCert, rsaKey], {
	loaded: ['ec'],
	result: false,
	lines: ['warning: No certs for key at index 1 in b', failed],
});
test.serial('two keys in a row', chain, [ecKey + rsaKey + rsaCert], {
	loaded: [],
	result: false,
	lines: [
		'warning: error loading certificate chain: key at index 1 in a not followed by a certificate',
		failed,
	],
});
test.serial('the key of another certificate', chain, [ec2Key + ecCert], {
	loaded: [],
	result: false,
	lines: [
		'warning: key at index 1 in a does not match next certificate',
		'warning: TLS library problem: error: private key mismatch',
		failed,
	],
});
test.serial('the key of another kind', chain, [rsaKey + ecCert], {
	loaded: [],
	result: false,
	lines: [
		'warning: key at index 1 in a does not match next certificate',
		'warning: TLS library problem: error: different key types',
		'warning: TLS library problem: error: private key mismatch',
		failed,
	],
});
test.serial(
	'the key of another certificate, and a further chain',
	chain,
	[ec2Key + ecCert, rsaKey + rsaCert],
	{
		loaded: [],
		result: false,
		lines: [
			'warning: error loading certificate chain: key at index 1 in a does not match the certificate',
			'warning: TLS library problem: error: private key mismatch',
			failed,
		],
	},
);
test.serial('an issuer before the leaf', chain, [ecKey + middle + ecCert], {
	loaded: [],
	result: false,
	lines: [
		'warning: key at index 1 in a does not match next certificate',
		'warning: TLS library problem: error: private key mismatch',
		failed,
	],
});
test.serial('two chains of one kind', chain, [ecKey + ecCert, ec2Key + ec2Cert], {
	loaded: ['ec'],
	result: false,
	lines: [
		'warning: key at index 1 in b does not match next certificate',
		'warning: TLS library problem: error: not replacing certificate',
		failed,
	],
});
test.serial(
	'the index counts the objects of each file',
	chain,
	[parameters + ecKey + ecCert, parameters + rsaKey],
	{
		loaded: ['ec'],
		result: false,
		lines: [
			'warning: loading a: ignoring PEM type: EC PARAMETERS',
			'warning: loading b: ignoring PEM type: EC PARAMETERS',
			'warning: No certs for key at index 2 in b',
			failed,
		],
	},
);
test.serial('bytes after a certificate', chain, [ecKey + spoiled(ecCert, Buffer.from('x'))], {
	loaded: [],
	result: false,
	lines: ['warning: error loading certificate (PEM object number 2) from a: excess data', failed],
});
test.serial('bytes after a key', chain, [spoiled(ecKey, Buffer.from('x')) + ecCert], {
	loaded: [],
	result: false,
	lines: ['warning: error loading private key (PEM object number 1) from a: excess data', failed],
});
test.serial('a file without any object', chain, ['no PEM at all\n'], {
	loaded: [],
	result: false,
	lines: ['warning: No PEM data in ALL', failed],
});
test.serial('an empty file', chain, [''], {
	loaded: [],
	result: false,
	lines: ['warning: No PEM data in ALL', failed],
});
test.serial('only other PEM objects', chain, [parameters], {
	loaded: [],
	result: false,
	lines: ['warning: loading a: ignoring PEM type: EC PARAMETERS', 'warning: No PEM data in ALL', failed],
});
test.serial(
	'a file that is not there: the chain before it is not used',
	chain,
	[ecKey + ecCert, undefined, rsaKey + rsaCert],
	{
		loaded: [],
		lines: ['warning: error opening chain file: b: No such file or directory'],
	},
);
test.serial(
	'a file that is not there: a chain that was followed by another one is used',
	chain,
	[ecKey + ecCert + rsaKey + rsaCert, undefined],
	{
		loaded: ['ec'],
		lines: ['warning: error opening chain file: b: No such file or directory'],
	},
);
test.serial('the only file is missing', chain, [undefined], {
	loaded: [],
	lines: ['warning: error opening chain file: a: No such file or directory'],
});
test.serial('a missing file after a key', chain, [ecKey, undefined], {
	loaded: [],
	lines: ['warning: error opening chain file: b: No such file or directory'],
});

for (const [condition, content, count, what] of [
	['DER that is no certificate', ecKey + junk('CERTIFICATE'), 2, 'certificate'],
	['DER that is no key', junk('PRIVATE KEY') + ecCert, 1, 'private key'],
	['an encrypted traditional key', encrypted + rsaCert, 1, 'private key'],
] as const) {
	test.serial(`chain_files: ${condition}`, t => {
		const log = collectLog();
		const path = store.write('broken', content);
		const ctx = nonNull(SSL_CTX_new(TLS_client_method()), 'SSL_CTX_new');
		t.false(loadIdentity(ctx, {...nothing, chain_files: path}));
		t.is(log[0], `warning: error loading ${what} (PEM object number ${count}) from ${path}`);
		t.true(log.length > 2);
		t.true(log.slice(1, -1).every(line => line.startsWith('warning: TLS library problem: error:')));
		t.is(
			log.at(-1),
			`warning: error loading private keys and certificates from: ${path}: disabling TLS support`,
		);
		t.deepEqual(chains(ctx), []);
		SSL_CTX_free(ctx);
	});
}

for (const [condition, content] of [
	['is cut off', ecKey + ecCert + middle.slice(0, -40)],
	['is no base64', `${ecKey + ecCert}-----BEGIN CERTIFICATE-----\n****\n-----END CERTIFICATE-----\n`],
] as const) {
	test.serial(`chain_files: an object that ${condition} makes the file unusable`, t => {
		const log = collectLog();
		const path = store.write('broken', content);
		const ctx = nonNull(SSL_CTX_new(TLS_client_method()), 'SSL_CTX_new');
		t.false(loadIdentity(ctx, {...nothing, chain_files: path}));
		t.regex(log[0] ?? '', /^warning: TLS library problem: error:0480006[0-9A-F]:PEM routines:/);
		t.is(
			log.at(-1),
			`warning: error loading private keys and certificates from: ${path}: disabling TLS support`,
		);
		t.deepEqual(chains(ctx), []);
		SSL_CTX_free(ctx);
	});
}

test.serial('chain_files: a path through a file', t => {
	load(
		t,
		{chain_files: store.path('ec.key/x')},
		{loaded: [], lines: ['warning: error opening chain file: ec.key/x: Not a directory']},
	);
});

test.serial('chain_files takes precedence over the older parameters', t => {
	load(
		t,
		{
			chain_files: store.write('both', ecKey, ecCert),
			cert_file: store.path('rsa.cert'),
			key_file: store.path('rsa.key'),
		},
		{loaded: ['ec']},
	);
});

test.serial('chain_files with only separators names no file', t => {
	load(t, {chain_files: ' , '}, {loaded: []});
});

test.serial('loadIdentity without any file loads nothing', t => {
	load(t, {}, {loaded: []});
	load(t, {key_file: store.path('rsa.key')}, {loaded: []});
});

test.serial('loadIdentity loads three pairs', t => {
	load(
		t,
		{
			cert_file: store.write('rsa.chain', rsaCert, middle),
			key_file: store.path('rsa.key'),
			dcert_file: store.path('ed.cert'),
			dkey_file: store.path('ed.key'),
			eccert_file: store.path('ec.cert'),
			eckey_file: store.path('ec.key'),
		},
		{loaded: ['rsa middle', 'ec', 'ed']},
	);
});

/* Any kind of key loads with any of the three pairs of parameters. */
for (const [label, certificate, key] of [
	['RSA', 'cert_file', 'key_file'],
	['DSA', 'dcert_file', 'dkey_file'],
	['ECDSA', 'eccert_file', 'eckey_file'],
] as const) {
	const pair = (cert: string, keyFile: string): Partial<IdentityFiles> => ({
		[certificate]: store.path(cert),
		[key]: store.path(keyFile),
	});

	test.serial(`${certificate} and ${key} load`, t => {
		load(t, pair('ec.cert', 'ec.key'), {loaded: ['ec']});
	});

	test.serial(`missing ${certificate}`, t => {
		load(t, pair('absent', 'ec.key'), {
			loaded: [],
			result: false,
			lines: [
				`warning: cannot get ${label} certificate from file "absent": disabling TLS support`,
				'warning: TLS library problem: error: No such file or directory',
				'warning: TLS library problem: error: system lib',
				'warning: TLS library problem: error: system lib',
			],
		});
	});

	test.serial(`missing ${key}`, t => {
		load(t, pair('ec.cert', 'absent'), {
			loaded: [],
			result: false,
			lines: [
				`warning: cannot get ${label} private key from file "absent": disabling TLS support`,
				'warning: TLS library problem: error: No such file or directory',
				'warning: TLS library problem: error: system lib',
				'warning: TLS library problem: error: system lib',
			],
		});
	});

	test.serial(`${key} of another certificate`, t => {
		load(t, pair('ec.cert', 'ec2.key'), {
			loaded: [],
			result: false,
			lines: [
				`warning: cannot get ${label} private key from file "ec2.key": disabling TLS support`,
				'warning: TLS library problem: error: key values mismatch',
			],
		});
	});

	test.serial(`${key} of another kind than ${certificate}`, t => {
		load(t, pair('ec.cert', 'rsa.key'), {
			loaded: [],
			result: false,
			lines: [
				`warning: ${label} private key in rsa.key does not match public key in ec.cert: disabling TLS support`,
			],
		});
	});
}

const mixed = test.macro({
	exec(t, content: string | undefined, outcome: Outcome) {
		const path = content === undefined ? store.path('absent') : store.write('mixed', content);
		load(t, {cert_file: path, key_file: path}, outcome);
	},
	title(condition = '') {
		return `one file for certificate and key: ${condition}`;
	},
});

const mixedFailed = 'warning: error loading private keys and certificates from: mixed: disabling TLS support';

test.serial('key first', mixed, ecKey + ecCert + middle, {loaded: ['ec middle']});
test.serial('key last', mixed, ecCert + middle + ecKey, {loaded: ['ec middle']});
test.serial('key between', mixed, ecCert + ecKey + middle, {loaded: ['ec middle']});
test.serial('other PEM objects are skipped without a warning', mixed, parameters + ecCert + ecKey, {
	loaded: ['ec'],
});
test.serial('a second key is ignored', mixed, ecKey + ecCert + rsaKey, {
	loaded: ['ec'],
	lines: ['warning: ignoring 2nd key at index 3 in mixed after 1st at 1'],
});
test.serial('a second key is ignored, whatever its contents', mixed, ecCert + ecKey + junk('PRIVATE KEY'), {
	loaded: ['ec'],
	lines: ['warning: ignoring 2nd key at index 3 in mixed after 1st at 2'],
});
test.serial('no key', mixed, ecCert + middle, {
	loaded: [],
	result: false,
	lines: ['warning: No private key found in mixed', mixedFailed],
});
test.serial('no certificate', mixed, ecKey, {
	loaded: [],
	result: false,
	lines: ['warning: No certs for key at index 1 in mixed', mixedFailed],
});
test.serial('the key of another certificate', mixed, ecCert + ec2Key, {
	loaded: [],
	result: false,
	lines: [
		'warning: key at index 2 in mixed does not match next certificate',
		'warning: TLS library problem: error: private key mismatch',
		mixedFailed,
	],
});
test.serial('nothing', mixed, '', {
	loaded: [],
	result: false,
	lines: ['warning: No PEM data in mixed', mixedFailed],
});
test.serial('a missing file', mixed, undefined, {
	loaded: [],
	result: false,
	lines: ['warning: error opening chain file: absent: No such file or directory'],
});

test('namedFiles names the files that are loaded', t => {
	t.deepEqual(namedFiles(nothing), []);
	const pairs = {...nothing, key_file: '/k', cert_file: '/c', dcert_file: '/d', eckey_file: '/e'};
	t.deepEqual(namedFiles(pairs), ['/c', '/k', '/d']);
	t.deepEqual(namedFiles({...pairs, chain_files: '/a, /b'}), ['/a', '/b']);
	t.deepEqual(namedFiles({...pairs, chain_files: ' '}), []);
});

function pathOf(name: string | undefined): string {
	return name === undefined ? '' : store.path(name);
}

/* CA certificates. Their effect on verification is tested with a server: report.ts. */
const trusts = test.macro<
	[
		file: string | undefined,
		path: string | undefined,
		append: boolean,
		result: boolean,
		...lines: readonly string[],
	]
>({
	exec(t, file, path, append, result, ...lines) {
		const log = collectLog();
		const ctx = nonNull(SSL_CTX_new(TLS_client_method()), 'SSL_CTX_new');
		t.is(loadAuthorities(ctx, pathOf(file), pathOf(path), append), result);
		SSL_CTX_free(ctx);
		t.deepEqual(
			log
				.map(line => line.replaceAll(`${store.directory}/`, ''))
				.filter(line => !line.startsWith('warning: TLS library problem: error:')),
			lines,
		);
		t.deepEqual(drainErrors(), []);
	},
	title(_, file, path, append) {
		return `loadAuthorities with file ${file ?? 'none'}, path ${path ?? 'none'}${append ? ', and those of the system' : ''}`;
	},
});

test.serial(trusts, undefined, undefined, false, true);
test.serial(trusts, undefined, undefined, true, true);
test.serial(trusts, 'root.cert', undefined, false, true);
test.serial(trusts, 'root.cert', undefined, true, true);
/* CApath is read on demand, in the chroot jail: the directory need not exist. */
test.serial(trusts, undefined, 'absent', false, true);
test.serial(
	trusts,
	'absent',
	undefined,
	false,
	false,
	'cannot load Certification Authority data, CAfile="absent": disabling TLS support',
);
test.serial(
	trusts,
	'ec.key',
	'absent',
	false,
	false,
	'cannot load Certification Authority data, CAfile="ec.key", CApath="absent": disabling TLS support',
);
