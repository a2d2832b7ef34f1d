import {renameSync} from 'node:fs';
import test from 'ava';
import {nonNull} from '../../src/ffi/libcrypto.ts';
import {
	SSL_CTX_check_private_key,
	SSL_CTX_free,
	SSL_CTX_new,
	TLS_client_method,
} from '../../src/ffi/libssl.ts';
import {clientApplication} from '../../src/tls/client-application.ts';
import {DONE} from '../../src/tls/connection.ts';
import {Keyring, type MaterialFiles} from '../../src/tls/keyring.ts';
import {
	CertificateStore,
	collectLog,
	connectionTo,
	defaultInit,
	defaultParams,
	ecdsa,
	finish,
	postfix37,
	rsa,
	sServer,
} from '../helpers/openssl.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('root', {extensions: ['basicConstraints=critical,CA:TRUE']});
store.make('server', {issuer: 'root'});
store.make('rsa', {key: rsa, subject: '/CN=rsa.client'});
store.make('ec', {key: ecdsa, subject: '/CN=ec.client'});

const none: MaterialFiles = {
	chain_files: '',
	cert_file: '',
	key_file: '',
	dcert_file: '',
	dkey_file: '',
	eccert_file: '',
	eckey_file: '',
	CAfile: '',
	CApath: '',
};
const both: MaterialFiles = {
	...none,
	cert_file: store.path('rsa.cert'),
	key_file: store.path('rsa.key'),
	eccert_file: store.path('ec.cert'),
	eckey_file: store.path('ec.key'),
	CAfile: store.path('root.cert'),
};

test.serial('what was loaded serves after the files are gone, whatever the other settings are', async t => {
	const log = collectLog();
	const keyring = new Keyring();
	t.teardown(() => keyring[Symbol.dispose]());
	t.true(keyring.load(both, false));
	t.true(keyring.has(both, false));
	for (const name of ['rsa.key', 'ec.key', 'rsa.cert', 'ec.cert', 'root.cert']) {
		renameSync(store.path(name), store.path(`${name}.away`));
		t.teardown(() => renameSync(store.path(`${name}.away`), store.path(name)));
	}

	for (const [algorithm, name] of [
		['RSA-PSS+SHA256', 'rsa.client'],
		['ECDSA+SHA256', 'ec.client'],
	] as const) {
		const application = clientApplication(
			defaultParams,
			{...defaultInit, ...both, log_level: '0'},
			keyring,
			postfix37,
		);
		if (application === undefined) {
			t.fail('no application');
			return;
		}

		t.teardown(() => application[Symbol.dispose]());
		const words = ['-cert', store.path('server.cert'), '-key', store.path('server.key')];
		const peer = await sServer(
			t,
			...words,
			'-verify',
			'1',
			'-tls1_3',
			'-client_sigalgs',
			algorithm,
			'-sigalgs',
			algorithm === 'ECDSA+SHA256' ? algorithm : `${algorithm}:ECDSA+SHA256`,
			'-rev',
		);
		const connection = connectionTo(t, peer.port, application, {
			tls_level: 7,
			matchargv: ['server.example.com'],
		});
		t.is(await finish(() => connection.handshake()), DONE);
		while (!/^Ciphersuite/m.test(peer.output())) {
			await new Promise(resolve => {
				setTimeout(resolve, 5);
			});
		}

		t.regex(peer.output(), new RegExp(`CN ?= ?${name}`));
	}

	t.deepEqual(log, []);
});

test.serial('files that cannot be loaded are refused from then on, and no others', t => {
	const log = collectLog();
	const keyring = new Keyring();
	t.teardown(() => keyring[Symbol.dispose]());
	const broken = {...none, cert_file: store.path('rsa.cert'), key_file: store.path('ec.key')};
	t.false(keyring.load(broken, false));
	t.true(keyring.has(broken, false));
	t.true(log.length > 0);
	log.length = 0;
	t.is(clientApplication(defaultParams, {...defaultInit, ...broken}, keyring, postfix37), undefined);
	t.deepEqual(log, [
		`warning: ${broken.cert_file}, ${broken.key_file}: could not be loaded when this process started`,
	]);
	const application = clientApplication(defaultParams, defaultInit, keyring, postfix37);
	t.truthy(application);
	application?.[Symbol.dispose]();
});

test.serial('authorities that cannot be loaded are refused from then on', t => {
	const log = collectLog();
	const keyring = new Keyring();
	t.teardown(() => keyring[Symbol.dispose]());
	const broken = {...none, CAfile: store.path('absent')};
	t.false(keyring.load(broken, false));
	log.length = 0;
	t.is(clientApplication(defaultParams, {...defaultInit, ...broken}, keyring, postfix37), undefined);
	t.deepEqual(log, [`${broken.CAfile}: could not be loaded when this process started`]);
});

test.serial('has tells what was loaded from what was not', t => {
	collectLog();
	const keyring = new Keyring();
	t.teardown(() => keyring[Symbol.dispose]());
	t.true(keyring.has(none, false), 'nothing is named');
	t.false(keyring.has(both, false));
	keyring.load({...none, CAfile: both.CAfile}, false);
	t.true(keyring.has({...none, CAfile: both.CAfile}, false));
	t.false(keyring.has({...none, CAfile: both.CAfile}, true), 'with those of the system it is another set');
	t.false(keyring.has(both, false), 'its identity is not there');
});

test.serial('files that were not loaded before are read', t => {
	collectLog();
	const keyring = new Keyring();
	t.teardown(() => keyring[Symbol.dispose]());
	const ctx = nonNull(SSL_CTX_new(TLS_client_method()), 'SSL_CTX_new');
	t.true(keyring.giveIdentity(ctx, both));
	t.is(SSL_CTX_check_private_key(ctx), 1);
	SSL_CTX_free(ctx);
});
