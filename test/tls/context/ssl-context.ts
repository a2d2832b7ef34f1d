import test from 'ava';
import {Panic} from '../../../src/base/errors.ts';
import {Lru} from '../../../src/base/lru.ts';
import {nonNull} from '../../../src/ffi/openssl/libcrypto.ts';
import {SSL_free, SSL_new} from '../../../src/ffi/openssl/ssl.ts';
import {SSL_CTX_set_options} from '../../../src/ffi/openssl/ssl-ctx.ts';
import {DONE} from '../../../src/tls/connection/connection.ts';
import {type ClientContext, createClientContext} from '../../../src/tls/context/client-context.ts';
import {CredentialStore} from '../../../src/tls/context/credential-store.ts';
import {
	CertificateStore,
	clientContextFor,
	collectLog,
	connectionTo,
	defaultInit,
	defaultParams,
	finish,
	postfix37,
	sServer,
} from '../../helpers/openssl.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {});

/** A cache like that of the roles. */
const contextCache = (limit: number) =>
	new Lru<string, ClientContext>(limit, dropped => dropped[Symbol.dispose]());

const released = {instanceOf: Panic, message: 'use of a released handle'};

/** A context that the test owns. */
function context(): ClientContext {
	const made = createClientContext(defaultParams, defaultInit, new CredentialStore(), postfix37);
	if (made === undefined) {
		throw new Error('no context');
	}

	return made;
}

test.serial('createClientContext applies the settings of the request', t => {
	const log = collectLog();
	const made = clientContextFor(t, {log_level: 'summary untrusted'}, {tls_ssl_options: 'NO_TICKET'});
	t.is(made.logMask, 6);
	t.is(made.params.tls_ssl_options, 'NO_TICKET');
	t.is(made.init.log_level, 'summary untrusted');
	const IGNORE_UNEXPECTED_EOF = 0x80n;
	const NO_TICKET = 0x4000n;
	t.is(
		BigInt(SSL_CTX_set_options(made.ctx, 0)) & (IGNORE_UNEXPECTED_EOF | NO_TICKET),
		IGNORE_UNEXPECTED_EOF | NO_TICKET,
	);
	t.deepEqual(log, []);
});

test.serial('createClientContext logs its start at level verbose', t => {
	const log = collectLog();
	clientContextFor(t, {log_level: 'verbose'});
	t.deepEqual(log, ['initializing the client-side TLS engine']);
});

test.serial('createClientContext ignores an unknown log level, with a warning', t => {
	const log = collectLog();
	t.is(clientContextFor(t, {log_level: 'bogus'}).logMask, 0);
	t.deepEqual(log, ['warning: unknown smtp_tls_loglevel value "bogus" in "bogus"']);
});

const refuses = test.macro<[init: Partial<typeof defaultInit>, ...lines: readonly string[]]>({
	exec(t, init, ...lines) {
		const log = collectLog();
		t.is(
			createClientContext(defaultParams, {...defaultInit, ...init}, new CredentialStore(), postfix37),
			undefined,
		);
		t.deepEqual(
			log.filter(line => !line.startsWith('warning: TLS library problem: ')),
			lines,
		);
	},
	title(condition = '') {
		return `createClientContext fails with ${condition}`;
	},
});

test.serial(
	'an unknown digest',
	refuses,
	{mdalg: 'sha257'},
	'warning: Digest algorithm "sha257" not found',
	'warning: disabling TLS support',
);
test.serial(
	'a missing certificate',
	refuses,
	{cert_file: '/nonexistent', key_file: '/nonexistent/key'},
	'warning: cannot get RSA certificate from file "/nonexistent": disabling TLS support',
);
test.serial(
	'missing CA certificates',
	refuses,
	{CAfile: '/nonexistent'},
	'cannot load Certification Authority data, CAfile="/nonexistent": disabling TLS support',
);

test.serial('a disposed context cannot be used', t => {
	const made = context();
	made[Symbol.dispose]();
	made[Symbol.dispose]();
	t.throws(() => made.ctx, released);
});

test.serial('retain keeps a disposed context until the last release', t => {
	const made = context();
	const [first, second] = [made.retain(), made.retain()];
	made[Symbol.dispose]();
	first[Symbol.dispose]();
	first[Symbol.dispose]();
	t.notThrows(() => made.ctx);
	second[Symbol.dispose]();
	t.throws(() => made.ctx, released);
});

test.serial('a released reference does not dispose the context', t => {
	const made = context();
	made.retain()[Symbol.dispose]();
	t.notThrows(() => made.ctx);
	made[Symbol.dispose]();
});

test.serial('hasCipherList sets the first cipher list for the SSL_CTX, and no other', t => {
	const made = clientContextFor(t);
	t.true(made.hasCipherList('HIGH'));
	t.true(made.hasCipherList('HIGH'));
	t.false(made.hasCipherList('MEDIUM'));
	t.true(made.hasCipherList('HIGH'));
});

test.serial('hasCipherList does not set a list without a cipher', t => {
	const made = clientContextFor(t);
	t.false(made.hasCipherList('bogus'));
	t.true(made.hasCipherList('HIGH'));
});

test.serial('a cache of contexts finds them by their keys', t => {
	using cache = contextCache(3);
	const [one, other] = [context(), context()];
	t.is(cache.get('one'), undefined);
	cache.set('one', one);
	cache.set('other', other);
	t.is(cache.get('one'), one);
	t.is(cache.get('other'), other);
	t.is(cache.get('third'), undefined);
	t.is(cache.size, 2);
});

test.serial('a cache of contexts has a limit, and disposes dropped contexts', t => {
	using cache = contextCache(3);
	const all = Array.from({length: 10}, context);
	for (const [index, made] of all.entries()) {
		cache.set(`key ${index}`, made);
		t.is(cache.size, Math.min(index + 1, 3));
	}

	for (const [index, made] of all.entries()) {
		if (index < 7) {
			t.is(cache.get(`key ${index}`), undefined);
			t.throws(() => made.ctx, released);
		} else {
			t.is(cache.get(`key ${index}`), made);
			t.notThrows(() => made.ctx);
		}
	}
});

test.serial('a cache of contexts drops the least recently used one', t => {
	using cache = contextCache(3);
	for (const key of ['a', 'b', 'c']) {
		cache.set(key, context());
	}

	cache.get('a');
	cache.set('d', context());
	t.deepEqual(
		['a', 'b', 'c', 'd'].map(key => cache.get(key) !== undefined),
		[true, false, true, true],
	);
	/* After the lookups, the order of use is a, c, d. */
	cache.set('e', context());
	t.deepEqual(
		['a', 'c', 'd', 'e'].map(key => cache.get(key) !== undefined),
		[false, true, true, true],
	);
});

test.serial(
	'a cache of contexts disposes a replaced context, and the new one is the most recently used',
	t => {
		using cache = contextCache(2);
		const [old, fresh] = [context(), context()];
		cache.set('key', old);
		cache.set('other', context());
		cache.set('key', fresh);
		t.throws(() => old.ctx, released);
		t.is(cache.size, 2);
		cache.set('third', context());
		t.is(cache.get('key'), fresh);
		t.is(cache.get('other'), undefined);
	},
);

test.serial('a disposed cache of contexts disposes all of them', t => {
	const all = [context(), context()];
	const cache = contextCache(5);
	for (const [index, made] of all.entries()) {
		cache.set(`key ${index}`, made);
	}

	cache[Symbol.dispose]();
	t.is(cache.size, 0);
	for (const made of all) {
		t.throws(() => made.ctx, released);
	}
});

test.serial('a connection survives the eviction of its context', async t => {
	collectLog();
	const server = await sServer(
		t,
		'-cert',
		store.path('server.cert'),
		'-key',
		store.path('server.key'),
		'-rev',
	);
	using cache = contextCache(1);
	const made = context();
	cache.set('first', made);
	const connection = connectionTo(t, server.port, made);
	cache.set('second', context());
	t.throws(() => made.ctx, released);
	t.is(await finish(() => connection.handshake()), DONE);
	t.is(await finish(() => connection.write(Buffer.from('abc\n'), 4)), 4);
});

test.serial('a retained context survives its eviction', t => {
	using cache = contextCache(1);
	const made = context();
	cache.set('first', made);
	using _ = made.retain();
	cache.set('second', context());
	t.notThrows(() => SSL_free(nonNull(SSL_new(made.ctx), 'SSL_new')));
});
