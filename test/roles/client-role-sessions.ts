/* Sessions of a real server, stored in this process and with the real tlsmgr(8). */
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import {Sandbox} from '../../postfix/lib/sandbox.ts';
import {Panic} from '../../src/base/errors.ts';
import type {Seconds} from '../../src/base/units.ts';
import {DeadlineClock} from '../../src/event/deadline.ts';
import {ClientRoleSessions} from '../../src/roles/client-role-sessions.ts';
import type {Resumption} from '../../src/tls/resume/client-resumption.ts';
import type {StoredSession} from '../../src/tls/resume/stored-session.ts';
import {CertificateStore, collectLog, ecdsa, postfix37, sServer} from '../helpers/openssl.ts';
import {resumingContext, storeWithSession} from '../helpers/session-store.ts';
import {result, tlsmgrClient} from '../tlsmgr/_server.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {key: ecdsa});

function sessionServer(t: Parameters<typeof sServer>[0], protocol: string) {
	return sServer(t, '-rev', protocol, '-cert', store.path('server.cert'), '-key', store.path('server.key'));
}

function resumptionOf(sessions: ClientRoleSessions, localCacheKey: string, cacheType = 'smtp'): Resumption {
	return {cacheType, key: 'mx&1', localCacheKey, logMask: 0, firstOnly: false, store: sessions};
}

async function find(sessions: ClientRoleSessions, localCacheKey: string): Promise<StoredSession | undefined> {
	return await result(done => sessions.find(resumptionOf(sessions, localCacheKey), done));
}

for (const [protocol, singleUse] of [
	['-tls1_2', false],
	['-tls1_3', true],
] as const) {
	test.serial(`${protocol}: a session is found in this process first, and with tlsmgr otherwise`, async t => {
		collectLog();
		await using sandbox = await Sandbox.create({
			tlsproxy: 'none',
			main: {
				smtp_tls_session_cache_database: 'btree:${data_directory}/smtp_scache',
				smtp_tls_session_cache_timeout: '1234s',
			},
		});
		await sandbox.start();
		const tlsmgr = tlsmgrClient(t, join(sandbox.queueDirectory, 'private', 'tlsmgr'));
		using sessions = new ClientRoleSessions(tlsmgr, new DeadlineClock(), postfix37);
		t.is(sessions.timeoutOf('smtp'), undefined);
		await sessions.loadCachePolicies();
		t.is(sessions.timeoutOf('smtp'), 1234 as Seconds);
		t.is(sessions.timeoutOf('lmtp'), undefined);

		const {port} = await sessionServer(t, protocol);
		const received = (await storeWithSession(t, port, resumingContext(t))).stored.at(-1)?.copy();
		const bytes = received?.bytes();
		if (received === undefined || bytes === undefined) {
			throw new Error('no session');
		}

		t.is(await find(sessions, 'a'), undefined);
		sessions.store(resumptionOf(sessions, 'a'), received);
		await new Promise<void>(resolve => {
			sessions.flush(() => setImmediate(resolve));
		});
		using local = await find(sessions, 'a');
		t.is(local === received, singleUse, 'a session that can be used again is copied');
		t.deepEqual(local?.bytes(), bytes);
		using remote = await find(sessions, 'b');
		t.deepEqual(remote?.bytes(), bytes);
		using again = await find(sessions, 'b');
		t.deepEqual(again?.bytes(), bytes);

		sessions.remove(resumptionOf(sessions, 'a'));
		for (const limit = Date.now() + 60_000; Date.now() < limit; await delay(10)) {
			using removed = await find(sessions, 'a');
			if (removed === undefined) {
				t.pass();
				return;
			}
		}

		t.fail('the session is still found');
	});
}

test.serial('a session of a cache type that is not cached is disposed', async t => {
	collectLog();
	const {port} = await sessionServer(t, '-tls1_3');
	const received = (await storeWithSession(t, port, resumingContext(t))).stored.at(-1)?.copy();
	if (received === undefined) {
		throw new Error('no session');
	}

	using sessions = new ClientRoleSessions(
		tlsmgrClient(t, '/nonexistent/tlsmgr'),
		new DeadlineClock(),
		postfix37,
	);
	sessions.store(resumptionOf(sessions, 'a', 'none'), received);
	t.throws(() => received.bytes(), {instanceOf: Panic});
});

test.serial('without tlsmgr no session is stored or found', async t => {
	const log = collectLog();
	const sessions = new ClientRoleSessions(
		tlsmgrClient(t, '/nonexistent/tlsmgr'),
		new DeadlineClock(),
		postfix37,
	);
	await sessions.loadCachePolicies();
	t.is(sessions.timeoutOf('smtp'), undefined);
	t.is(await find(sessions, 'a'), undefined);
	t.deepEqual(log, [
		'warning: connect to /nonexistent/tlsmgr: No such file or directory',
		'warning: problem talking to server /nonexistent/tlsmgr: No such file or directory',
	]);
	t.notThrows(() => sessions[Symbol.dispose]());
});
