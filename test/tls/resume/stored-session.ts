/* Sessions of real connections. What a connection does to its own must not reach those that are kept. */
import test, {type ExecutionContext} from 'ava';
import {Panic} from '../../../src/base/errors.ts';
import type {Seconds} from '../../../src/base/units.ts';
import {drainErrors} from '../../../src/ffi/openssl/libcrypto.ts';
import {SSL_session_reused} from '../../../src/ffi/openssl/libssl.ts';
import {openClientConnection} from '../../../src/tls/connection/client-connection.ts';
import {DONE} from '../../../src/tls/connection/connection.ts';
import type {ClientContext} from '../../../src/tls/context/client-context.ts';
import type {SessionStore} from '../../../src/tls/resume/client-resumption.ts';
import {StoredSession} from '../../../src/tls/resume/stored-session.ts';
import type {HandshakeReport} from '../../../src/wire/handshake-report.ts';
import {
	applicationFor,
	CertificateStore,
	collectLog,
	connectTo,
	defaultStart,
	finish,
	lineFrom,
	rsa,
	sServer,
} from '../../helpers/openssl.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('root', {extensions: ['basicConstraints=critical,CA:true']});
store.make('middle', {key: rsa, issuer: 'root', extensions: ['basicConstraints=critical,CA:true']});
store.make('leaf', {issuer: 'middle', extensions: ['subjectAltName=DNS:mx.example.com']});
const chain = store.write('chain', store.read('middle.cert'));

/** Has what it gives, and owns what it has got. */
class Shelf implements SessionStore, Disposable {
	readonly digestLists = false;
	readonly kept: StoredSession[] = [];
	next: StoredSession | undefined;

	find(_: unknown, done: (session: StoredSession | undefined) => void): void {
		const session = this.next;
		this.next = undefined;
		done(session);
	}

	store(_: unknown, session: StoredSession): void {
		this.kept.push(session);
	}

	remove(): void {
		this.next = undefined;
	}

	[Symbol.dispose](): void {
		for (const session of this.kept.splice(0)) {
			session[Symbol.dispose]();
		}
	}
}

interface Scene {
	readonly shelf: Shelf;
	/** Shakes hands, has a line reversed, so that all tickets have come, and ends with or without a goodbye. */
	readonly visit: (goodbye: boolean) => Promise<{readonly reused: boolean; readonly report: HandshakeReport}>;
}

async function sceneFor(t: ExecutionContext, protocol: string): Promise<Scene> {
	collectLog();
	const files = ['-cert', store.path('leaf.cert'), '-key', store.path('leaf.key'), '-cert_chain', chain];
	const {port} = await sServer(t, '-rev', `-${protocol}`, ...files);
	const context = applicationFor(
		t,
		{CAfile: store.path('root.cert')},
		{},
		{timeout: 3600 as Seconds, scope: ''},
	);
	const shelf = new Shelf();
	t.teardown(() => shelf[Symbol.dispose]());
	return {
		shelf,
		visit: async goodbye => await visit(t, port, context, shelf, goodbye),
	};
}

async function visit(
	t: ExecutionContext,
	port: number,
	context: ClientContext,
	shelf: Shelf,
	goodbye: boolean,
): Promise<{readonly reused: boolean; readonly report: HandshakeReport}> {
	using fd = connectTo(t, port);
	const start = {...defaultStart, tls_level: 7, matchargv: ['hostname'], sni: 'mx.example.com'};
	using connection = openClientConnection(context, start, fd.value, shelf);
	if (connection === undefined) {
		throw new Error('no connection');
	}

	let looked = false;
	connection.lookUp(() => {
		looked = true;
	});
	t.true(looked);
	t.is(await finish(() => connection.handshake()), DONE);
	const reused = SSL_session_reused(connection.ssl) === 1;
	const report = connection.report();
	t.is(connection.write(Buffer.from('abc\n'), 4), 4);
	t.is(await lineFrom(connection), 'cba\n');
	if (goodbye) {
		connection.shutdown();
	}

	return {reused, report};
}

for (const protocol of ['tls1_2', 'tls1_3'] as const) {
	for (const goodbye of [true, false]) {
		const ends = goodbye ? 'with a goodbye' : 'without a goodbye';
		test.serial(`${protocol}: a session is resumed after a connection that ended ${ends}`, async t => {
			const {shelf, visit: go} = await sceneFor(t, protocol);
			t.false((await go(goodbye)).reused);
			const session = shelf.kept.at(-1);
			t.is(session?.singleUse, protocol === 'tls1_3');
			/* As often as it is offered: what it was offered with, and how that ended, leaves no trace. */
			for (let round = 0; round < 3; round++) {
				shelf.next = session?.copy();
				t.true((await go(goodbye)).reused);
			}
		});
	}

	test.serial(`${protocol}: the report is that of a session that was read from bytes`, async t => {
		const {shelf, visit: go} = await sceneFor(t, protocol);
		const first = await go(true);
		const session = shelf.kept.at(-1);
		const bytes = session?.bytes();
		t.true(bytes !== undefined && bytes.length > 100);
		shelf.next = session?.copy();
		const kept = await go(true);
		shelf.next = bytes === undefined ? undefined : StoredSession.parse(bytes);
		const read = await go(true);
		t.deepEqual([first.reused, kept.reused, read.reused], [false, true, true]);
		t.deepEqual(kept.report, read.report);
		t.is(kept.report.peer_status, first.report.peer_status);
		t.deepEqual(session?.bytes(), bytes, 'nothing has changed');
	});
}

test.serial('a session that was disposed refuses to be used, and its copies do not', async t => {
	const {shelf, visit: go} = await sceneFor(t, 'tls1_3');
	await go(true);
	const [session] = shelf.kept.splice(0, 1);
	using copy = session?.copy();
	const bytes = session?.bytes();
	session?.[Symbol.dispose]();
	session?.[Symbol.dispose]();
	t.throws(() => session?.bytes(), {instanceOf: Panic});
	t.throws(() => session?.copy(), {instanceOf: Panic});
	t.deepEqual(copy?.bytes(), bytes);
});

test.serial('parse refuses what is no session', t => {
	t.is(StoredSession.parse(Buffer.from('nonsense')), undefined);
	t.true(drainErrors().length > 0);
});
