/* Connections of the client role: settings, and what happens to sessions and to the handshake state. */
import {setTimeout as delay, setImmediate as nextTask} from 'node:timers/promises';
import {queryObjects} from 'node:v8';
import test, {type ExecutionContext} from 'ava';
import {Panic} from '../../../src/base/errors.ts';
import {FAILED, WANT_READ} from '../../../src/base/io-result.ts';
import {drainErrors} from '../../../src/ffi/openssl/libcrypto.ts';
import {
	SSL_CIPHER_get_name,
	SSL_get_current_cipher,
	SSL_get_version,
	SSL_session_reused,
	type Ssl,
} from '../../../src/ffi/openssl/ssl.ts';
import {openClientConnection} from '../../../src/tls/connection/client-connection.ts';
import {type Connection, DONE} from '../../../src/tls/connection/connection.ts';
import {SslRegistry} from '../../../src/tls/ssl-registry.ts';
import type {ClientInit, ClientParams, ClientStart} from '../../../src/wire/client-settings.ts';
import {socketPair} from '../../helpers/descriptors.ts';
import {
	CertificateStore,
	clientContextFor,
	collectLog,
	connectionTo,
	defaultStart,
	ecdsa,
	finish,
	lineFrom,
	type PeerServer,
	rsa,
	sServer,
} from '../../helpers/openssl.ts';
import {
	connectionWith,
	RecordingStore,
	resumingContext,
	storeWithSession,
} from '../../helpers/session-store.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('rsa', {key: rsa});
store.make('ec', {key: ecdsa});

function server(t: ExecutionContext, ...options: readonly string[]): Promise<PeerServer> {
	return sServer(t, '-cert', store.path('rsa.cert'), '-key', store.path('rsa.key'), ...options);
}

/** Protocol and cipher of a connection. */
function negotiated(connection: Connection): readonly [string, string] {
	const cipher = SSL_get_current_cipher(connection.ssl);
	return [SSL_get_version(connection.ssl), cipher === null ? '' : SSL_CIPHER_get_name(cipher)];
}

/** Settings of a request. */
interface Settings {
	readonly start?: Partial<ClientStart>;
	readonly init?: Partial<ClientInit>;
	readonly params?: Partial<ClientParams>;
}

/* The negotiated protocol and cipher with a server that supports everything. */
const negotiates = test.macro({
	async exec(t, {start = {}, init = {}, params = {}}: Settings, protocol: string, cipher: string) {
		const log = collectLog();
		const {port} = await server(t, '-dcert', store.path('ec.cert'), '-dkey', store.path('ec.key'));
		const connection = connectionTo(t, port, clientContextFor(t, init, params), start);
		t.is(await finish(() => connection.handshake()), DONE, log.join('\n'));
		t.deepEqual(negotiated(connection), [protocol, cipher]);
		t.deepEqual(log, []);
	},
	title(_, {start = {}, params = {}}: Settings) {
		return `settings are applied: ${JSON.stringify({...start, ...params})}`;
	},
});

const TLS13 = 'TLS_AES_256_GCM_SHA384';
test.serial(negotiates, {}, 'TLSv1.3', TLS13);
test.serial(negotiates, {start: {protocols: '!SSLv2, !SSLv3'}}, 'TLSv1.3', TLS13);
test.serial(negotiates, {start: {protocols: '<=TLSv1.2'}}, 'TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384');
test.serial(negotiates, {start: {protocols: '!TLSv1.3'}}, 'TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384');
test.serial(negotiates, {start: {protocols: 'TLSv1.2'}}, 'TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384');
test.serial(negotiates, {start: {protocols: '>=0303 <=0x0303'}}, 'TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384');
test.serial(
	negotiates,
	{start: {protocols: 'TLSv1.2', cipher_exclusions: 'aECDSA'}},
	'TLSv1.2',
	'ECDHE-RSA-AES256-GCM-SHA384',
);
test.serial(
	negotiates,
	{start: {protocols: 'TLSv1.2', cipher_exclusions: 'aECDSA, AES256 CHACHA20'}},
	'TLSv1.2',
	'ECDHE-RSA-AES128-GCM-SHA256',
);
/* Exclusions do not apply to TLS 1.3. */
test.serial(negotiates, {start: {cipher_exclusions: 'AES256'}}, 'TLSv1.3', TLS13);
test.serial(
	negotiates,
	{
		start: {protocols: 'TLSv1.2', cipher_grade: 'high'},
		params: {tls_high_cipherlist: 'ECDHE-RSA-AES128-SHA256'},
	},
	'TLSv1.2',
	'ECDHE-RSA-AES128-SHA256',
);

test.serial('connections of one SSL_CTX can have different cipher lists and protocols', async t => {
	const log = collectLog();
	const context = clientContextFor(t);
	const results: Array<readonly [string, string]> = [];
	for (const start of [
		{protocols: 'TLSv1.2'},
		{protocols: 'TLSv1.2', cipher_exclusions: 'AES256 CHACHA20'},
		{},
		{protocols: 'TLSv1.2'},
	]) {
		/* s_server handles one connection at a time. */
		const {port} = await server(t);
		const connection = connectionTo(t, port, context, start);
		t.is(await finish(() => connection.handshake()), DONE);
		results.push(negotiated(connection));
	}

	t.deepEqual(results, [
		['TLSv1.2', 'ECDHE-RSA-AES256-GCM-SHA384'],
		['TLSv1.2', 'ECDHE-RSA-AES128-GCM-SHA256'],
		['TLSv1.3', TLS13],
		['TLSv1.2', 'ECDHE-RSA-AES256-GCM-SHA384'],
	]);
	t.deepEqual(log, []);
});

/* Settings that cannot be applied. The name is logged in lower case, except for protocols. */
const rejects = test.macro<[start: Partial<ClientStart>, ...lines: readonly string[]]>({
	exec(t, start, ...lines) {
		const log = collectLog();
		const [{fd}] = socketPair(t);
		t.is(openClientConnection(clientContextFor(t), {...defaultStart, ...start}, fd), undefined);
		const texts = log.map(text =>
			text.replace(/^(warning: TLS library problem: error):[0-9A-F]{8}:[^:]*:[^:]*:([^:]*):.*$/, '$1: $2'),
		);
		/* Some releases of OpenSSL log the same error twice. */
		t.deepEqual([...new Set(texts)], lines);
		t.deepEqual(drainErrors(), []);
	},
	title(_, start) {
		return `openClientConnection rejects ${JSON.stringify(start).slice(0, 80)}`;
	},
});

test.serial(
	rejects,
	{protocols: 'TLSv1.7'},
	'warning: MX.example.com[127.0.0.1]:25: Invalid TLS protocol list "TLSv1.7": aborting TLS session',
);
test.serial(
	rejects,
	{cipher_grade: 'best'},
	'warning: mx.example.com[127.0.0.1]:25: invalid cipher grade: "best"',
);
test.serial(
	rejects,
	{cipher_exclusions: 'MD5, !RC4'},
	"warning: mx.example.com[127.0.0.1]:25: invalid unary '!+-@' in cipher exclusion: !RC4",
);
test.serial(
	rejects,
	{cipher_exclusions: 'ALL'},
	'warning: mx.example.com[127.0.0.1]:25: error setting cipher grade: "medium"',
	'warning: TLS library problem: error: no cipher match',
);
test.serial(
	rejects,
	{sni: 'x'.repeat(256)},
	`warning: MX.example.com[127.0.0.1]:25: ignoring too long SNI hostname: ${'x'.repeat(100)}`,
);

test.serial('a protocol limit that OpenSSL rejects does not end the session', t => {
	const log = collectLog();
	const [{fd}] = socketPair(t);
	const connection = openClientConnection(
		clientContextFor(t),
		{...defaultStart, protocols: '>=0999 <=0998'},
		fd,
	);
	t.not(connection, undefined);
	connection?.[Symbol.dispose]();
	t.deepEqual(log, [
		'warning: mx.example.com[127.0.0.1]:25: error setting minimum TLS version to: 0x0999',
		'warning: mx.example.com[127.0.0.1]:25: error setting maximum TLS version to: 0x0998',
	]);
});

test.serial('a list without a protocol fails in the handshake', async t => {
	const log = collectLog();
	const {port} = await server(t);
	const connection = connectionTo(t, port, clientContextFor(t), {protocols: 'TLSv1.2:!TLSv1.2'});
	t.is(await finish(() => connection.handshake()), FAILED);
	t.regex(
		log.join('\n'),
		/^warning: TLS library problem: error:0A0000BF:SSL routines::no protocols available:[^\n]*$/,
	);
});

const sendsName = test.macro({
	async exec(t, start: Partial<ClientStart>, expected: string | undefined) {
		collectLog();
		const peer = await server(
			t,
			'-servername',
			'unknown.example.com',
			'-cert2',
			store.path('ec.cert'),
			'-key2',
			store.path('ec.key'),
		);
		const connection = connectionTo(t, peer.port, clientContextFor(t), start);
		t.is(await finish(() => connection.handshake()), DONE);
		await delay(50);
		t.is(/Hostname in TLS extension: "([^"]*)"/.exec(peer.output())?.[1], expected);
	},
	title(_, start: Partial<ClientStart>, expected: string | undefined) {
		return `${JSON.stringify(start)} sends ${expected ?? 'no'} server name`;
	},
});

test.serial(sendsName, {sni: ''}, undefined);
test.serial(sendsName, {sni: 'hostname'}, 'mx.example.com');
test.serial(sendsName, {sni: 'nexthop'}, 'example.com');
test.serial(sendsName, {sni: 'Hostname'}, 'Hostname');
test.serial(sendsName, {sni: 'other.example.net', tls_level: 1}, 'other.example.net');

test.serial('the setup of a connection is logged at the verbose level', t => {
	const log = collectLog();
	const [{fd}] = socketPair(t);
	const context = clientContextFor(t, {log_level: 'verbose, ssl-debug'});
	openClientConnection(context, {...defaultStart, sni: 'hostname', cipher_exclusions: 'RC4'}, fd)?.[
		Symbol.dispose
	]();
	t.deepEqual(log, [
		'initializing the client-side TLS engine',
		'setting up TLS connection to MX.example.com[127.0.0.1]:25',
		'MX.example.com[127.0.0.1]:25: TLS cipher list "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH:!RC4"',
		'MX.example.com[127.0.0.1]:25: SNI hostname: mx.example.com',
	]);
});

/* Sessions */

const Registration = new SslRegistry<object>().register(0n as Ssl, {}).constructor as new () => object;

test.serial('the report releases the verify state; tickets are stored after it', async t => {
	collectLog();
	const {port} = await server(t, '-rev', '-tls1_3');
	const sessions = new RecordingStore();
	t.teardown(() => sessions[Symbol.dispose]());
	await nextTask();
	const before = queryObjects(Registration, {format: 'count'});
	const connection = connectionWith(t, port, sessions, resumingContext(t));
	t.is(await finish(() => connection.handshake()), DONE);
	t.is(queryObjects(Registration, {format: 'count'}), before + 2);
	t.is(connection.logMask, 2);
	t.like(connection.report(), {namaddr: 'mx.example.com[127.0.0.1]:25', cipher_protocol: 'TLSv1.3'});
	await nextTask();
	t.is(queryObjects(Registration, {format: 'count'}), before + 1, 'new sessions are still received');
	t.is(connection.logMask, 0);
	t.throws(() => connection.report(), {instanceOf: Panic});
	connection.write(Buffer.from('abc\n'), 4);
	t.is(await lineFrom(connection), 'cba\n');
	t.true(sessions.stored.length > 0);
});

test.serial('a connection stores at most eight sessions', async t => {
	collectLog();
	const {port} = await server(t, '-rev', '-tls1_3', '-num_tickets', '20');
	const sessions = await storeWithSession(t, port, resumingContext(t));
	t.is(sessions.stored.length, 8);
});

test.serial('a session is not removed after a complete handshake', async t => {
	collectLog();
	const {port} = await server(t, '-rev', '-tls1_3');
	const context = resumingContext(t);
	const sessions = await storeWithSession(t, port, context);
	sessions.next = sessions.stored.at(-1)?.copy();
	const connection = connectionWith(t, port, sessions, context);
	connection.lookUp(() => undefined);
	t.is(await finish(() => connection.handshake()), DONE);
	t.is(SSL_session_reused(connection.ssl), 1);
	connection[Symbol.dispose]();
	t.is(sessions.removals, 0);
});

test.serial(
	'a session is removed once if the handshake in which it was offered does not complete',
	async t => {
		collectLog();
		const context = resumingContext(t);
		const {port} = await server(t, '-rev', '-tls1_3');
		const sessions = await storeWithSession(t, port, context);
		const [{fd}] = socketPair(t);
		for (const offers of [false, true]) {
			sessions.next = offers ? sessions.stored.at(-1)?.copy() : undefined;
			const connection = openClientConnection(context, defaultStart, fd, sessions);
			connection?.lookUp(() => undefined);
			t.is(connection?.handshake(), WANT_READ);
			connection?.[Symbol.dispose]();
			connection?.[Symbol.dispose]();
			t.is(sessions.removals, offers ? 1 : 0);
		}
	},
);

test.serial('a session that is found after disposal is disposed', async t => {
	collectLog();
	const context = resumingContext(t);
	const {port} = await server(t, '-rev', '-tls1_3');
	const sessions = await storeWithSession(t, port, context);
	const session = sessions.stored.at(-1)?.copy();
	const [{fd}] = socketPair(t);
	sessions.delayed = true;
	const connection = openClientConnection(context, defaultStart, fd, sessions);
	let done = 0;
	connection?.lookUp(() => done++);
	t.is(done, 0);
	connection?.[Symbol.dispose]();
	sessions.complete(session);
	t.is(done, 1);
	t.is(sessions.removals, 0);
	t.throws(() => session?.bytes(), {instanceOf: Panic});
});

test.serial('with a forced failure no session is looked up or stored', async t => {
	collectLog();
	const {port} = await server(t, '-rev', '-tls1_3');
	const sessions = new RecordingStore();
	const start = {forced_failure_type: 'certificate-expired'};
	const connection = connectionWith(t, port, sessions, resumingContext(t), start);
	let done = 0;
	connection.lookUp(() => done++);
	t.is(await finish(() => connection.handshake()), DONE);
	connection.write(Buffer.from('abc\n'), 4);
	t.is(await lineFrom(connection), 'cba\n');
	t.is(done, 1);
	t.is(sessions.lookups, 0);
	t.deepEqual(sessions.stored, []);
});
