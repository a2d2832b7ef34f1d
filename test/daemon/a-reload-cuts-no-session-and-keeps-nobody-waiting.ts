/*
 * The real master(8) keeps its books over a reload: whoever it counts as available,
 * and is not any more, keeps all others waiting.
 */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import type {LocalClient} from '../helpers/client.ts';
import {Daemon} from '../helpers/daemon.ts';
import {finish, speaks} from '../helpers/master.ts';
import {echoPeer} from '../helpers/peer.ts';
import {
	askAgainAndAgain,
	cpuTime,
	hasEnded,
	masterPid,
	processes,
	timeToGreeting,
} from '../helpers/service.ts';

const SESSIONS = 200;

async function openSessions(
	t: ExecutionContext,
	daemon: Daemon,
	count: number,
	service?: string,
): Promise<readonly LocalClient[]> {
	const port = await echoPeer(t);
	const sessions: LocalClient[] = [];
	for (let number = 0; number < count; number++) {
		const {client, report} = await daemon.handOff(t, port, {}, service);
		t.truthy(report);
		sessions.push(client);
	}

	return sessions;
}

test.serial(
	`a reload with ${SESSIONS} sessions: all go on, new clients get the new configuration at once`,
	async t => {
		await using daemon = await Daemon.start('ours');
		const {sandbox} = daemon;
		const sessions = await openSessions(t, daemon, SESSIONS);
		const port = await echoPeer(t);
		const old = processes(daemon);
		const asking = askAgainAndAgain(daemon);

		await sandbox.postconf('tlsproxy_client_security_level', 'none');
		await sandbox.reload();
		const refused = await daemon.handOff(t, port);
		t.is(refused.status, 0);
		await finish(refused.client);
		await daemon.linesUpTo('warning: TLS client role is disabled by configuration');
		await sandbox.postconf('tlsproxy_client_security_level', 'encrypt');
		await sandbox.reload();
		const {status, client} = await daemon.handOff(t, port);
		t.is(status, 1);
		await finish(client);
		await delay(1000);
		const {count, longest} = await asking.stop();
		t.log(`${count} clients, the longest wait was ${Math.round(longest)} ms`);
		t.true(longest < 20_000);

		t.is(sessions.length, SESSIONS);
		for (const session of sessions) {
			t.true(await speaks(session));
		}

		for (const session of sessions) {
			await finish(session);
		}

		/* Two of the first process, two of the second; those of the third may stay. */
		t.true(await sandbox.waitFor(() => processes(daemon).length <= 2));
		t.deepEqual(
			processes(daemon).filter(pid => old.includes(pid)),
			[],
		);
		t.deepEqual(await sandbox.logLines(/exit status|throttl|panic|fatal|error:|killed/), []);
	},
);

test.serial('a service that is removed does not keep others waiting, and its session goes on', async t => {
	await using daemon = await Daemon.start('ours');
	const {sandbox} = daemon;
	const masterCf = join(sandbox.configDirectory, 'master.cf');
	const before = readFileSync(masterCf, 'utf8');
	const [line = ''] = /^tlsproxy\s.*(?:\n\s.*)*/m.exec(before) ?? [];
	writeFileSync(masterCf, `${before}\n${line.replace(/^tlsproxy/, 'second')}\n`);
	await sandbox.reload();
	/* master(8) reads its file some time after it was told to: before that there is no such socket. */
	await timeToGreeting(daemon, 'second');
	const [session] = await openSessions(t, daemon, 1, 'second');
	await timeToGreeting(daemon);
	const all = processes(daemon).length;

	writeFileSync(masterCf, before);
	await sandbox.reload();
	const used = cpuTime(masterPid(daemon));
	const asking = askAgainAndAgain(daemon);
	await delay(2000);
	const {longest} = await asking.stop();
	t.log(
		`master(8) used ${cpuTime(masterPid(daemon)) - used} ms in 2 s, the longest wait was ${Math.round(longest)} ms`,
	);
	t.true(cpuTime(masterPid(daemon)) - used < 1000);
	t.true(longest < 20_000);
	if (session !== undefined) {
		t.true(await speaks(session));
		await finish(session);
	}

	t.true(await sandbox.waitFor(() => processes(daemon).length < all));
	t.deepEqual(await sandbox.logLines(/throttl|panic|fatal|error:/), []);
});

test.serial(
	'a stop ends all processes at once, also with sessions, and those of before a reload',
	async t => {
		await using daemon = await Daemon.start('ours');
		const sessions = [...(await openSessions(t, daemon, 3))];
		await daemon.sandbox.reload();
		sessions.push(...(await openSessions(t, daemon, 3)));
		const pids = processes(daemon);
		t.is(pids.length, 3);
		const start = performance.now();
		process.kill(masterPid(daemon), 'SIGTERM');
		/* Sessions would go on for minutes. */
		t.true(await daemon.sandbox.waitFor(() => pids.every(hasEnded), 20_000));
		t.log(`${Math.round(performance.now() - start)} ms`);
		for (const session of sessions) {
			t.is(String(await session.rest()), '');
		}
	},
);

test.serial('a master(8) that is killed: sessions go on, and no process stays', async t => {
	await using daemon = await Daemon.start('ours');
	const [session] = await openSessions(t, daemon, 1);
	const pids = processes(daemon);
	process.kill(masterPid(daemon), 'SIGKILL');
	await delay(500);
	if (session !== undefined) {
		t.true(await speaks(session));
		await finish(session);
	}

	t.true(await daemon.sandbox.waitFor(() => pids.every(hasEnded)));
});
