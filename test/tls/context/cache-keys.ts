/* Looks up entries in each cache whose keys differ only in the boundary between two parts. */
import {createServer} from 'node:net';
import test, {type ExecutionContext} from 'ava';
import type {Seconds} from '../../../src/base/units.ts';
import {EVP_get_digestbyname, nonNull} from '../../../src/ffi/openssl/libcrypto.ts';
import {decodeCertificate} from '../../../src/ffi/openssl/pem.ts';
import {SSL_free, SSL_new} from '../../../src/ffi/openssl/ssl.ts';
import {X509_free} from '../../../src/ffi/openssl/x509.ts';
import {openClientConnection} from '../../../src/tls/connection/client-connection.ts';
import {setCiphers} from '../../../src/tls/context/ciphers.ts';
import type {Resumption, SessionStore} from '../../../src/tls/resume/client-resumption.ts';
import {peerNames} from '../../../src/tls/verify/peer-names.ts';
import type {ClientStart} from '../../../src/wire/client-settings.ts';
import {
	CertificateStore,
	clientContextFor,
	collectLog,
	connectedTo,
	connectTo,
	defaultParams,
	defaultStart,
	sServer,
} from '../../helpers/openssl.ts';

const certificates = new CertificateStore();
test.after.always(() => certificates[Symbol.dispose]());
certificates.make('root', {extensions: ['basicConstraints=critical,CA:true']});
certificates.make('leaf', {
	issuer: 'root',
	extensions: ['subjectAltName=DNS:mx.example.com,DNS:other.example.com'],
});

for (const separator of [' ', '\n', '&', '\0', ',', ':']) {
	test.serial(`ciphers: grade and exclusions with ${JSON.stringify(separator)}`, t => {
		const log = collectLog();
		const context = clientContextFor(t);
		/* Lists are cached by this object. */
		const grades = {...defaultParams};
		const set = (cipher_grade: string, cipher_exclusions: string): string | undefined => {
			const ssl = nonNull(SSL_new(context.ctx), 'SSL_new');
			try {
				return setCiphers(context, ssl, grades, {cipher_grade, cipher_exclusions, namaddr: 'mx'}, 0);
			} finally {
				SSL_free(ssl);
			}
		};

		t.is(set(`high${separator}MD5`, 'RC4'), undefined);
		t.regex(log.shift() ?? '', /^warning: mx: invalid cipher grade: "high.?MD5"$/);
		const list = `${grades.tls_high_cipherlist}:!MD5:!RC4`;
		t.is(set('high', 'MD5 RC4'), list);
		t.is(set('high', 'MD5,RC4'), list);
		t.is(set(`high${separator}MD5`, 'RC4'), undefined);
		t.is(set('high', ''), grades.tls_high_cipherlist);
	});
}

/** The cache keys for the sessions of a connection. */
async function resumptionOf(
	t: ExecutionContext,
	context: ReturnType<typeof clientContextFor>,
	start: Partial<ClientStart>,
): Promise<Resumption> {
	const server = createServer().listen(0, '127.0.0.1');
	t.teardown(() => server.close());
	await new Promise(resolve => {
		server.once('listening', resolve);
	});
	const address = server.address();
	const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
	let resumption: Resumption | undefined;
	const sessions: SessionStore = {
		digestLists: false,
		find(request, done) {
			resumption = request;
			done(undefined);
		},
		store(_, session) {
			session[Symbol.dispose]();
		},
		remove: () => undefined,
	};
	const fd = connectTo(t, port);
	const connection = openClientConnection(context, {...defaultStart, ...start}, fd.value, sessions);
	t.teardown(() => connection?.[Symbol.dispose]());
	connection?.lookUp(() => undefined);
	if (resumption === undefined) {
		throw new Error('no session was looked up');
	}

	return resumption;
}

test.serial('sessions: server name and server id', async t => {
	collectLog();
	const sessions = {timeout: 100 as Seconds, scope: ''};
	const contexts = [clientContextFor(t, {}, {}, sessions), clientContextFor(t, {}, {}, sessions)] as const;
	const starts: ReadonlyArray<Partial<ClientStart>> = [' ', '\n', '&', ''].flatMap(separator => [
		{sni: 'a.example', serverid: `b.example${separator}c`},
		{sni: 'a.example', serverid: `b.example${separator}${separator}c`},
		{sni: 'a.example.b.example', serverid: `${separator}c`},
		{sni: '', serverid: `a.example${separator}b.example${separator}c`},
	]);
	const keys: string[] = [];
	for (const context of contexts) {
		for (const start of starts) {
			keys.push((await resumptionOf(t, context, start)).localCacheKey);
		}
	}

	/* With an empty separator, the first two requests are equal. */
	t.is(new Set(keys).size, keys.length - contexts.length);
});

test.serial('verified chains: security level, names and certificates', async t => {
	collectLog();
	const context = clientContextFor(t, {CAfile: certificates.path('root.cert')});
	const keys: string[] = [];
	const {verifiedChains: cache} = context;
	const find = cache.find.bind(cache);
	cache.find = (key, now) => {
		keys.push(key);
		return find(key, now);
	};
	const {port} = await sServer(
		t,
		'-cert',
		certificates.path('leaf.cert'),
		'-key',
		certificates.path('leaf.key'),
	);
	const names = [
		['mx.example.com'],
		['mx.example.com', 'other.example.com'],
		['other.example.com', 'mx.example.com'],
		['mx.example.com.other.example.com'],
		['1', '2'],
		['12'],
		['1', '2', ''],
	];
	for (const matchargv of names) {
		const connection = await connectedTo(t, port, context, {tls_level: 7, matchargv});
		connection.shutdown();
	}

	t.is(new Set(keys).size, keys.length);
	/* OpenSSL may ignore an empty name. */
	t.true(keys.length >= names.length - 1);
});

test.serial('certificates: digest and form of the key', t => {
	const der = Buffer.from(certificates.read('leaf.cert').replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
	const certificate = decodeCertificate(der)?.object;
	if (certificate === undefined) {
		t.fail('no certificate');
		return;
	}

	t.teardown(() => X509_free(certificate));
	const fingerprints: string[] = [];
	for (const _ of ['computed', 'cached']) {
		for (const name of ['sha1', 'sha256', 'sha512']) {
			const digest = nonNull(EVP_get_digestbyname(name), name);
			for (const bareKeys of [false, true]) {
				const {peer_fingerprint, peer_pubkey_fingerprint} = peerNames(
					certificate,
					null,
					{digest, bareKeys},
					'mx',
				);
				fingerprints.push(`${peer_fingerprint} ${peer_pubkey_fingerprint}`);
			}
		}
	}

	const half = fingerprints.length / 2;
	t.is(new Set(fingerprints).size, half);
	t.deepEqual(fingerprints.slice(0, half), fingerprints.slice(half));
});
