/* Sessions and ticket keys of the real tlsmgr(8). */
import {join} from 'node:path';
import test from 'ava';
import {Sandbox} from '../../postfix/lib/sandbox.ts';
import type {Seconds} from '../../src/base/units.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {ServerRoleSessions} from '../../src/roles/server-role-sessions.ts';
import type {TicketKey} from '../../src/wire/ticket-key.ts';
import {collectLog, postfix37} from '../helpers/openssl.ts';
import {result, tlsmgrClient} from '../tlsmgr/_server.ts';

const TIMEOUT = 1234 as Seconds;

async function ticketKey(sessions: ServerRoleSessions, name?: Uint8Array): Promise<TicketKey | undefined> {
	return await result(done => sessions.ticketKey(name, TIMEOUT, done));
}

test.serial('sessions are stored with tlsmgr, and ticket keys are cached', async t => {
	const log = collectLog();
	await using sandbox = await Sandbox.create({
		tlsproxy: 'none',
		main: {
			smtpd_tls_session_cache_database: 'btree:${data_directory}/smtpd_scache',
			smtpd_tls_session_cache_timeout: `${TIMEOUT}s`,
		},
	});
	await sandbox.start();
	const path = join(sandbox.queueDirectory, 'private', 'tlsmgr');
	const tlsmgr = tlsmgrClient(t, path);
	const sessions = new ServerRoleSessions(tlsmgr, postfix37);
	t.deepEqual(sessions.policyOf('smtpd'), {cachable: false, timeout: 0 as Seconds});
	await sessions.loadCachePolicy();
	t.deepEqual(sessions.policyOf('smtpd'), {cachable: true, timeout: TIMEOUT});
	t.deepEqual(sessions.policyOf('smtp'), {cachable: false, timeout: 0 as Seconds});

	sessions.store('smtpd', 'id', Buffer.from('session'));
	/* A lookup may overtake the update on the other connection to tlsmgr(8). */
	let found: Uint8Array | undefined;
	for (const limit = Date.now() + 60_000; found === undefined && Date.now() < limit; ) {
		found = await result<Uint8Array | undefined>(done => sessions.find('smtpd', 'id', done));
	}

	t.is(String(found), 'session');

	const key = await ticketKey(sessions);
	t.is(key?.name.length, 16);
	t.is(await ticketKey(sessions), key, 'the same object: it is cached');
	t.is(await ticketKey(sessions, key?.name), key);
	t.is(await ticketKey(sessions, Buffer.alloc(16)), undefined);
	t.deepEqual(
		await ticketKey(new ServerRoleSessions(tlsmgr, postfix37), key?.name),
		key,
		'all processes have it',
	);

	tlsmgr[Symbol.dispose]();
	t.is(await ticketKey(sessions), key, 'without tlsmgr a cached key is still used');
	t.deepEqual(log, []);
});

test.serial('without tlsmgr there are no sessions and no ticket keys', async t => {
	collectLog();
	const sessions = new ServerRoleSessions(tlsmgrClient(t, '/nonexistent/tlsmgr'), postfix37);
	await sessions.loadCachePolicy();
	t.deepEqual(sessions.policyOf('smtpd'), {cachable: false, timeout: 0 as Seconds});
	t.is(await ticketKey(sessions), undefined);
});

test.serial('from 3.11.7 on sessions belong to a service', t => {
	for (const [release, perService] of [
		['3.7.11', false],
		['3.11.6', false],
		['3.11.7', true],
		['3.12.0', true],
	] as const) {
		const sessions = new ServerRoleSessions(tlsmgrClient(t, '/nonexistent'), releaseFeatures(release));
		t.is(sessions.perService, perService, release);
	}
});
