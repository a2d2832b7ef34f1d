import {renameSync} from 'node:fs';
import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import {nonNull} from '../../../src/ffi/openssl/libcrypto.ts';
import {
	hasIdentity,
	SSL_CTX_check_private_key,
	SSL_CTX_free,
	SSL_CTX_new,
	TLS_client_method,
} from '../../../src/ffi/openssl/ssl-ctx.ts';
import {DONE} from '../../../src/tls/connection/connection.ts';
import {createClientContext} from '../../../src/tls/context/client-context.ts';
import {type CredentialFileNames, CredentialStore} from '../../../src/tls/context/credential-store.ts';
import {authorityKey, identityKey} from '../../../src/tls/context/named-files.ts';
import {
	CertificateStore,
	collectLog,
	connectionTo,
	defaultInit,
	defaultParams,
	ecdsa,
	finish,
	noCredentialFiles,
	postfix37,
	rsa,
	sServer,
} from '../../helpers/openssl.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('root', {extensions: ['basicConstraints=critical,CA:TRUE']});
store.make('server', {issuer: 'root'});
store.make('rsa', {key: rsa, subject: '/CN=rsa.client'});
store.make('ec', {key: ecdsa, subject: '/CN=ec.client'});

const none = noCredentialFiles;
const both: CredentialFileNames = {
	...none,
	cert_file: store.path('rsa.cert'),
	key_file: store.path('rsa.key'),
	eccert_file: store.path('ec.cert'),
	eckey_file: store.path('ec.key'),
	CAfile: store.path('root.cert'),
};

test.serial('loaded files are used after they were removed, with any other settings', async t => {
	const log = collectLog();
	const credentialStore = new CredentialStore();
	t.teardown(() => credentialStore[Symbol.dispose]());
	t.true(credentialStore.load(both, false));
	t.true(credentialStore.has(both, false));
	for (const name of ['rsa.key', 'ec.key', 'rsa.cert', 'ec.cert', 'root.cert']) {
		renameSync(store.path(name), store.path(`${name}.away`));
		t.teardown(() => renameSync(store.path(`${name}.away`), store.path(name)));
	}

	for (const [algorithm, name] of [
		['RSA-PSS+SHA256', 'rsa.client'],
		['ECDSA+SHA256', 'ec.client'],
	] as const) {
		const context = createClientContext(
			defaultParams,
			{...defaultInit, ...both, log_level: '0'},
			credentialStore,
			postfix37,
		);
		if (context === undefined) {
			t.fail('no context');
			return;
		}

		t.teardown(() => context[Symbol.dispose]());
		const certificate = ['-cert', store.path('server.cert'), '-key', store.path('server.key')];
		const peer = await sServer(
			t,
			...certificate,
			'-verify',
			'1',
			'-tls1_3',
			'-client_sigalgs',
			algorithm,
			'-sigalgs',
			algorithm === 'ECDSA+SHA256' ? algorithm : `${algorithm}:ECDSA+SHA256`,
			'-rev',
		);
		const connection = connectionTo(t, peer.port, context, {
			tls_level: 7,
			matchargv: ['server.example.com'],
		});
		t.is(await finish(() => connection.handshake()), DONE);
		while (!/^Ciphersuite/m.test(peer.output())) {
			await delay(5);
		}

		t.regex(peer.output(), new RegExp(`CN ?= ?${name}`));
	}

	t.deepEqual(log, []);
});

test.serial('files that cannot be loaded are tried again for each request, and no others', t => {
	const log = collectLog();
	const credentialStore = new CredentialStore();
	t.teardown(() => credentialStore[Symbol.dispose]());
	const broken = {...none, cert_file: store.path('rsa.cert'), key_file: store.path('ec.key')};
	t.false(credentialStore.load(broken, false));
	t.true(credentialStore.has(broken, false));
	const reason = `warning: RSA private key in ${broken.key_file} does not match public key in ${broken.cert_file}: disabling TLS support`;
	t.deepEqual(log, [reason]);
	t.is(
		credentialStore.problemWith(broken, false, 'smtp_tls_'),
		`smtp_tls_cert_file = ${broken.cert_file}; smtp_tls_key_file = ${broken.key_file}`,
	);
	log.length = 0;
	t.is(
		createClientContext(defaultParams, {...defaultInit, ...broken}, credentialStore, postfix37),
		undefined,
	);
	t.deepEqual(log, [reason]);
	const context = createClientContext(defaultParams, defaultInit, credentialStore, postfix37);
	t.truthy(context);
	context?.[Symbol.dispose]();
});

test.serial('a list of chain files of which one is absent loads without a certificate', t => {
	const log = collectLog();
	const credentialStore = new CredentialStore();
	t.teardown(() => credentialStore[Symbol.dispose]());
	const absent = {...none, chain_files: `${store.path('rsa.key')},\t${store.path('absent')}`};
	t.true(credentialStore.load(absent, false));
	t.is(
		credentialStore.problemWith(absent, false, ''),
		`chain_files = ${store.path('rsa.key')}, ${store.path('absent')}`,
	);
	const ctx = nonNull(SSL_CTX_new(TLS_client_method()), 'SSL_CTX_new');
	t.true(credentialStore.applyIdentity(ctx, absent));
	t.false(hasIdentity(ctx));
	SSL_CTX_free(ctx);
	const reason = `warning: error opening chain file: ${store.path('absent')}: No such file or directory`;
	t.deepEqual(log, [reason, reason]);
});

test.serial('authorities that cannot be loaded are tried again for each request', t => {
	const log = collectLog();
	const credentialStore = new CredentialStore();
	t.teardown(() => credentialStore[Symbol.dispose]());
	const broken = {...none, CAfile: store.path('absent')};
	t.false(credentialStore.load(broken, false));
	t.is(credentialStore.problemWith(broken, false, 'lmtp_tls_'), `lmtp_tls_CAfile = ${broken.CAfile}`);
	const reason = log.slice();
	t.regex(reason.join('\n'), /^cannot load Certification Authority data, CAfile=".*absent"/);
	log.length = 0;
	t.is(
		createClientContext(defaultParams, {...defaultInit, ...broken}, credentialStore, postfix37),
		undefined,
	);
	t.deepEqual(log, reason);
});

/* The key of an identity. Settings that are not passed are empty. */
const identity = (settings: Partial<CredentialFileNames>): string => identityKey({...none, ...settings});

test('the key of an identity depends on the files that Postfix loads for it', t => {
	const same = ['/k /c', '/k,/c', '/k, /c', '/k\t/c', '  /k  /c ', '/k\n/c,', ',/k\r\n\t/c'];
	t.is(new Set(same.map(chain_files => identity({chain_files}))).size, 1);
	const others = ['/c /k', '/k', '/k /c /c', '/k\v/c', '/k\u00A0/c', '/k:/c', ','];
	t.is(
		new Set([...same.slice(0, 1), ...others].map(chain_files => identity({chain_files}))).size,
		others.length + 1,
	);
	t.is(
		identity({chain_files: '/k', cert_file: '/x'}),
		identity({chain_files: '/k', key_file: '/y'}),
		'a list replaces the others',
	);
	t.not(identity({chain_files: ',', cert_file: '/x'}), identity({cert_file: '/x'}), 'one without files too');
	t.is(
		identity({cert_file: '/c', key_file: '/k', dkey_file: '/d'}),
		identity({cert_file: '/c', key_file: '/k'}),
	);
	t.not(identity({cert_file: '/c  d', key_file: '/k'}), identity({cert_file: '/c d', key_file: '/k'}));
});

test('no text that moves from one setting to another makes the same key', t => {
	for (const separator of [' ', '\n', '&', '\0']) {
		t.not(
			identity({cert_file: `/a${separator}/b`, key_file: '/c'}),
			identity({cert_file: '/a', key_file: `/b${separator}/c`}),
		);
		t.not(
			identity({cert_file: '/a', key_file: `/b${separator}`}),
			identity({cert_file: '/a', key_file: '/b', dcert_file: separator}),
		);
		t.not(
			authorityKey({...none, CAfile: `/a${separator}/b`}, false),
			authorityKey({...none, CAfile: '/a', CApath: '/b'}, false),
		);
	}

	t.not(identity({cert_file: '/a', key_file: '/b'}), identity({dcert_file: '/a', dkey_file: '/b'}));
	t.not(identity({cert_file: '/a', key_file: '/b'}), identity({chain_files: '/a /b'}));
	t.is(
		authorityKey(none, true),
		authorityKey(none, false),
		'without a name, those of the system do not count',
	);
});

test.serial('has is true for loaded files only', t => {
	collectLog();
	const credentialStore = new CredentialStore();
	t.teardown(() => credentialStore[Symbol.dispose]());
	t.true(credentialStore.has(none, false), 'nothing is named');
	t.false(credentialStore.has(both, false));
	credentialStore.load({...none, CAfile: both.CAfile}, false);
	t.true(credentialStore.has({...none, CAfile: both.CAfile}, false));
	t.false(
		credentialStore.has({...none, CAfile: both.CAfile}, true),
		'with those of the system it is another key',
	);
	t.false(credentialStore.has(both, false), 'its identity is not loaded');
});

test.serial('files that were not loaded before are read', t => {
	collectLog();
	const credentialStore = new CredentialStore();
	t.teardown(() => credentialStore[Symbol.dispose]());
	const ctx = nonNull(SSL_CTX_new(TLS_client_method()), 'SSL_CTX_new');
	t.true(credentialStore.applyIdentity(ctx, both));
	t.is(SSL_CTX_check_private_key(ctx), 1);
	SSL_CTX_free(ctx);
});
