/* Connections of the server role, with a client in the same process. */
import {setImmediate as nextTask} from 'node:timers/promises';
import {queryObjects} from 'node:v8';
import test, {type ExecutionContext} from 'ava';
import {Panic} from '../../../src/base/errors.ts';
import {FAILED, WANT_LOOKUP} from '../../../src/base/io-result.ts';
import type {Seconds} from '../../../src/base/units.ts';
import {drainErrors} from '../../../src/ffi/openssl/libcrypto.ts';
import type {Ssl} from '../../../src/ffi/openssl/ssl.ts';
import {DONE} from '../../../src/tls/connection/connection.ts';
import {
	openServerConnection,
	type ServerConnectionSettings,
} from '../../../src/tls/connection/server-connection.ts';
import {ServerResumption} from '../../../src/tls/resume/server-resumption.ts';
import {SslRegistry} from '../../../src/tls/ssl-registry.ts';
import {socketPair} from '../../helpers/descriptors.ts';
import {CertificateStore, collectLog, ecdsa} from '../../helpers/openssl.ts';
import {TLS1_2_VERSION, TLS1_3_VERSION} from '../../helpers/raw-tls.ts';
import {defaultServerStart, MemorySessions, ServerPair, serverContextFor} from '../../helpers/server-role.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('default', {key: ecdsa});
store.make('other', {key: ecdsa});
const files = {cert_file: store.path('default.cert'), key_file: store.path('default.key')};

/** tls_server_sni_maps with one name. */
const maps = {
	empty: false,
	find: (key: string) =>
		key === 'other.example.com'
			? ({kind: 'value', bytes: Buffer.from(store.read('other.key') + store.read('other.cert'))} as const)
			: ({kind: 'nothing'} as const),
};

const Registration = new SslRegistry<object>().register(0n as Ssl, {}).constructor as new () => object;

/**
 * How many objects of the server role's handshake state exist. Collects garbage first. The handshake facts refer to
 * the resumption, and a registration refers to the verify state, the resumption or the SNI request.
 */
async function countHandshakeObjects(): Promise<{
	readonly registrations: number;
	readonly resumptions: number;
}> {
	/* The target of a new WeakRef is not collected before the next task. */
	await nextTask();
	return {
		registrations: queryObjects(Registration, {format: 'count'}),
		resumptions: queryObjects(ServerResumption, {format: 'count'}),
	};
}

function modeSettings(mode: 'tickets' | 'session ids') {
	return {tls_session_ticket_cipher: mode === 'tickets' ? 'aes-256-cbc' : ''};
}

for (const [protocol, version] of [
	['TLS 1.2', TLS1_2_VERSION],
	['TLS 1.3', TLS1_3_VERSION],
] as const) {
	for (const mode of ['tickets', 'session ids'] as const) {
		test.serial(`${protocol}, ${mode}: the report releases the handshake state`, async t => {
			const log = collectLog();
			const sessions = new MemorySessions();
			const context = serverContextFor(t, {init: files, params: modeSettings(mode), sessions, maps});
			const before = await countHandshakeObjects();
			const pair = new ServerPair(t, context, {version, serverName: 'other.example.com'});
			t.is(pair.handshake(), DONE);
			t.deepEqual(
				await countHandshakeObjects(),
				{registrations: before.registrations + 3, resumptions: before.resumptions + 1},
				'the objects exist during the handshake',
			);

			t.is(pair.server.report().peer_status, 0);
			t.deepEqual(await countHandshakeObjects(), before);
			t.true(sessions.results.length > 0);
			t.deepEqual(
				sessions.results.map(result => result.deref()),
				sessions.results.map(() => undefined),
				'ticket keys and sessions are released',
			);

			/* The connection works without the state, and no callback of OpenSSL needs it. */
			const calls = [...sessions.calls];
			pair.echo('after the report');
			if (version === TLS1_3_VERSION) {
				for (const requested of [false, true]) {
					pair.client.keyUpdate(requested);
					pair.echo('after a key update');
				}
			}

			t.deepEqual(sessions.calls, calls);
			t.is(log.length, 1, log.join('\n'));
		});

		test.serial(`${protocol}, ${mode}: a session is resumed whose connection has reported`, t => {
			collectLog();
			const sessions = new MemorySessions();
			sessions.policy = {cachable: mode === 'session ids', timeout: 3600 as Seconds};
			const context = serverContextFor(t, {init: files, params: modeSettings(mode), sessions});
			const first = new ServerPair(t, context, {version});
			t.is(first.handshake(), DONE);
			first.server.report();
			first.echo('first');
			t.false(first.client.reused);
			using session = first.client.session();
			first.server[Symbol.dispose]();

			const second = new ServerPair(t, context, {version, session});
			t.is(second.handshake(), DONE);
			second.server.report();
			second.echo('second');
			t.true(second.client.reused);
			t.deepEqual(
				[...new Set(sessions.calls)].toSorted(),
				mode === 'tickets' ? ['decrypting key', 'issuing key'] : ['find', 'store'],
			);
		});
	}

	test.serial(`${protocol}: the handshake is suspended until the lookups are complete`, t => {
		collectLog();
		const sessions = new MemorySessions();
		sessions.pending = [];
		const pair = new ServerPair(t, serverContextFor(t, {init: files, sessions}), {version});
		t.is(pair.handshake(), WANT_LOOKUP);
		let done = 0;
		pair.server.lookUp(() => done++);
		t.is(done, 0);
		t.is(pair.handshake(), WANT_LOOKUP, 'a further step does not start further lookups');
		t.is(sessions.pending.length, 1);
		sessions.pending.shift()?.();
		t.is(done, 1);
		t.is(pair.handshake(), DONE);
		pair.server.lookUp(() => done++);
		t.is(done, 2, 'without pending lookups the callback is called during the call');
	});

	test.serial(`${protocol}: a lookup that completes after disposal is ignored`, t => {
		collectLog();
		const sessions = new MemorySessions();
		sessions.pending = [];
		const pair = new ServerPair(t, serverContextFor(t, {init: files, sessions}), {version});
		t.is(pair.handshake(), WANT_LOOKUP);
		pair[Symbol.dispose]();
		t.notThrows(() => sessions.pending?.shift()?.());
	});

	test.serial(`${protocol}: without a ticket key no ticket is issued`, t => {
		collectLog();
		const sessions = new MemorySessions();
		sessions.hasKey = false;
		sessions.policy = {cachable: false, timeout: 3600 as Seconds};
		const context = serverContextFor(t, {init: files, sessions});
		const first = new ServerPair(t, context, {version});
		t.is(first.handshake(), DONE);
		first.server.report();
		first.echo('no ticket');
		using session = first.client.session();
		const second = new ServerPair(t, context, {version, session});
		t.is(second.handshake(), DONE);
		t.false(second.client.reused);
	});

	test.serial(
		`${protocol}: an exception when a session is stored is logged, and the handshake continues`,
		t => {
			const log = collectLog();
			const sessions = new MemorySessions();
			sessions.store = () => {
				throw new Error('injected');
			};
			const context = serverContextFor(t, {init: files, params: modeSettings('session ids'), sessions});
			const pair = new ServerPair(t, context, {version});
			t.is(pair.handshake(), DONE);
			/* With TLS 1.3 OpenSSL issues two sessions. */
			t.deepEqual([...new Set(log)], ['warning: cannot resume a TLS session: injected']);
		},
	);

	for (const [perService, reused] of [
		[false, true],
		[true, false],
	] as const) {
		const verb = reused ? 'can' : 'cannot';
		test.serial(`${protocol}: another service ${verb} resume a ticket with perService = ${perService}`, t => {
			collectLog();
			const sessions = new MemorySessions();
			sessions.perService = perService;
			const context = serverContextFor(t, {init: files, sessions});
			const first = new ServerPair(t, context, {version});
			t.is(first.handshake(), DONE);
			first.echo('first');
			using session = first.client.session();
			const second = new ServerPair(t, context, {version, session, start: {serverid: 'submission'}});
			t.is(second.handshake(), DONE);
			t.is(second.client.reused, reused);
			const third = new ServerPair(t, context, {version, session});
			t.is(third.handshake(), DONE);
			t.true(third.client.reused, 'the same service can');
		});
	}

	for (const release of ['3.7.11', '3.12.0']) {
		test.serial(`${protocol}, Postfix ${release}: the certificate of the server name is sent`, t => {
			const log = collectLog();
			const context = serverContextFor(t, {init: files, maps, release});
			for (const [serverName, subject] of [
				['other.example.com', '/CN=other.example.com'],
				['unknown.example.com', '/CN=default.example.com'],
				[undefined, '/CN=default.example.com'],
			] as const) {
				const pair = new ServerPair(t, context, {
					version,
					...(serverName !== undefined && {serverName}),
				});
				t.is(pair.handshake(), DONE, log.join('\n'));
				t.is(pair.client.peerSubject, subject);
			}
		});
	}
}

test.serial('a report is built once', t => {
	collectLog();
	const pair = new ServerPair(t, serverContextFor(t, {init: files}), {version: TLS1_3_VERSION});
	t.is(pair.handshake(), DONE);
	t.is(pair.server.logMask, 2);
	t.like(pair.server.report(), {
		namaddr: 'client.example.com[127.0.0.1]:2525',
		cipher_protocol: 'TLSv1.3',
		peer_CN: '',
		peer_status: 0,
	});
	t.is(pair.server.logMask, 0);
	t.throws(() => pair.server.report(), {instanceOf: Panic});
});

test.serial('a client without a common protocol version fails with an error of OpenSSL', t => {
	const log = collectLog();
	const context = serverContextFor(t, {init: {...files, protocols: 'TLSv1.3'}});
	const pair = new ServerPair(t, context, {version: TLS1_2_VERSION});
	t.is(pair.handshake(), FAILED);
	t.regex(
		log.join('\n'),
		/^warning: TLS library problem: error:0A000102:SSL routines::unsupported protocol:[^\n]*$/,
	);
});

test.serial('the setup of a connection is logged at the verbose level', t => {
	const log = collectLog();
	const context = serverContextFor(t, {init: {...files, log_level: 'verbose'}});
	const [{fd}] = socketPair(t);
	openServerConnection(context, {...defaultServerStart, cipher_exclusions: 'RC4'}, fd)?.[Symbol.dispose]();
	t.deepEqual(log, [
		'initializing the server-side TLS engine',
		'setting up TLS connection from Client.example.com[127.0.0.1]:2525',
		'Client.example.com[127.0.0.1]:2525: TLS cipher list "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH:!RC4"',
	]);
});

test.serial('from 3.12 on the log level is that of the connection', t => {
	const log = collectLog();
	const start = {...defaultServerStart, log_param: 'tlsproxy_tls_loglevel', log_level: 'verbose'};
	for (const release of ['3.11.0', '3.12.0']) {
		const context = serverContextFor(t, {init: files, release});
		const [{fd}] = socketPair(t);
		openServerConnection(context, start, fd)?.[Symbol.dispose]();
		t.is(log.splice(0).length, release === '3.12.0' ? 2 : 0);
	}
});

/* Settings that cannot be applied. */
const rejects = test.macro<[start: Partial<ServerConnectionSettings>, ...lines: readonly string[]]>({
	exec(t: ExecutionContext, start, ...lines) {
		const log = collectLog();
		const context = serverContextFor(t, {init: files});
		const [{fd}] = socketPair(t);
		t.is(openServerConnection(context, {...defaultServerStart, ...start}, fd), undefined);
		t.deepEqual(
			log.filter(line => !line.startsWith('warning: TLS library problem: ')),
			lines,
		);
		t.deepEqual(drainErrors(), []);
	},
	title(_, start) {
		return `openServerConnection rejects ${JSON.stringify(start)}`;
	},
});

test.serial(
	rejects,
	{cipher_grade: 'best'},
	'warning: client.example.com[127.0.0.1]:2525: invalid cipher grade: "best"',
);
test.serial(
	rejects,
	{cipher_exclusions: 'MD5, !RC4'},
	"warning: client.example.com[127.0.0.1]:2525: invalid unary '!+-@' in cipher exclusion: !RC4",
);
test.serial(
	rejects,
	{cipher_exclusions: 'ALL'},
	'warning: client.example.com[127.0.0.1]:2525: error setting cipher grade: "medium"',
);
test.serial(
	rejects,
	{mdalg: 'sha257'},
	'warning: Digest algorithm "sha257" not found',
	'warning: disabling TLS support',
);
