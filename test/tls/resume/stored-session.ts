/* Sessions of real connections. A stored session must not change when a connection uses its copy. */
import test, {type ExecutionContext} from 'ava';
import {Panic} from '../../../src/base/errors.ts';
import type {Seconds} from '../../../src/base/units.ts';
import {drainErrors} from '../../../src/ffi/openssl/libcrypto.ts';
import {SSL_session_reused} from '../../../src/ffi/openssl/ssl.ts';
import {openClientConnection} from '../../../src/tls/connection/client-connection.ts';
import {DONE} from '../../../src/tls/connection/connection.ts';
import type {ClientContext} from '../../../src/tls/context/client-context.ts';
import {StoredSession} from '../../../src/tls/resume/stored-session.ts';
import type {HandshakeReport} from '../../../src/wire/handshake-report.ts';
import {
	CertificateStore,
	clientContextFor,
	collectLog,
	connectTo,
	defaultStart,
	finish,
	lineFrom,
	rsa,
	sServer,
} from '../../helpers/openssl.ts';
import {RecordingStore} from '../../helpers/session-store.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('root', {extensions: ['basicConstraints=critical,CA:true']});
store.make('middle', {key: rsa, issuer: 'root', extensions: ['basicConstraints=critical,CA:true']});
store.make('leaf', {issuer: 'middle', extensions: ['subjectAltName=DNS:mx.example.com']});
const chain = store.write('chain', store.read('middle.cert'));

interface Fixture {
	readonly sessions: RecordingStore;
	/** Makes a connection that echoes a line, so that all tickets have arrived, and ends with or without close_notify. */
	readonly connect: (
		closeNotify: boolean,
	) => Promise<{readonly reused: boolean; readonly report: HandshakeReport}>;
}

async function setUp(t: ExecutionContext, protocol: string): Promise<Fixture> {
	collectLog();
	const files = ['-cert', store.path('leaf.cert'), '-key', store.path('leaf.key'), '-cert_chain', chain];
	const {port} = await sServer(t, '-rev', `-${protocol}`, ...files);
	const context = clientContextFor(
		t,
		{CAfile: store.path('root.cert')},
		{},
		{timeout: 3600 as Seconds, scope: ''},
	);
	const sessions = new RecordingStore();
	t.teardown(() => sessions[Symbol.dispose]());
	return {
		sessions,
		connect: async closeNotify => await connect(t, port, context, sessions, closeNotify),
	};
}

async function connect(
	t: ExecutionContext,
	port: number,
	context: ClientContext,
	sessions: RecordingStore,
	closeNotify: boolean,
): Promise<{readonly reused: boolean; readonly report: HandshakeReport}> {
	using fd = connectTo(t, port);
	const start = {...defaultStart, tls_level: 7, matchargv: ['hostname'], sni: 'mx.example.com'};
	using connection = openClientConnection(context, start, fd.value, sessions);
	if (connection === undefined) {
		throw new Error('cannot prepare the connection');
	}

	let lookedUp = false;
	connection.lookUp(() => {
		lookedUp = true;
	});
	t.true(lookedUp);
	t.is(await finish(() => connection.handshake()), DONE);
	const reused = SSL_session_reused(connection.ssl) === 1;
	const report = connection.report();
	t.is(connection.write(Buffer.from('abc\n'), 4), 4);
	t.is(await lineFrom(connection), 'cba\n');
	if (closeNotify) {
		connection.shutdown();
	}

	return {reused, report};
}

for (const protocol of ['tls1_2', 'tls1_3'] as const) {
	for (const closeNotify of [true, false]) {
		const end = closeNotify ? 'with' : 'without';
		test.serial(
			`${protocol}: a session is resumed after a connection that ended ${end} close_notify`,
			async t => {
				const {sessions, connect: go} = await setUp(t, protocol);
				t.false((await go(closeNotify)).reused);
				const session = sessions.stored.at(-1);
				t.is(session?.singleUse, protocol === 'tls1_3');
				/* Any number of times: the connections that it was offered on, and their ends, do not change it. */
				for (let round = 0; round < 3; round++) {
					sessions.next = session?.copy();
					t.true((await go(closeNotify)).reused);
				}
			},
		);
	}

	test.serial(`${protocol}: a copied and a decoded session give the same report`, async t => {
		const {sessions, connect: go} = await setUp(t, protocol);
		const first = await go(true);
		const session = sessions.stored.at(-1);
		const bytes = session?.bytes();
		t.true(bytes !== undefined && bytes.length > 100);
		sessions.next = session?.copy();
		const copied = await go(true);
		sessions.next = bytes === undefined ? undefined : StoredSession.parse(bytes);
		const decoded = await go(true);
		t.deepEqual([first.reused, copied.reused, decoded.reused], [false, true, true]);
		t.deepEqual(copied.report, decoded.report);
		t.is(copied.report.peer_status, first.report.peer_status);
		t.deepEqual(session?.bytes(), bytes, 'the stored session is unchanged');
	});
}

test.serial('a disposed session cannot be used; its copies can', async t => {
	const {sessions, connect: go} = await setUp(t, 'tls1_3');
	await go(true);
	const [session] = sessions.stored.splice(0, 1);
	using copy = session?.copy();
	const bytes = session?.bytes();
	session?.[Symbol.dispose]();
	session?.[Symbol.dispose]();
	t.throws(() => session?.bytes(), {instanceOf: Panic});
	t.throws(() => session?.copy(), {instanceOf: Panic});
	t.deepEqual(copy?.bytes(), bytes);
});

test.serial('parse rejects bytes that are not a session', t => {
	t.is(StoredSession.parse(Buffer.from('nonsense')), undefined);
	t.true(drainErrors().length > 0);
});
