/*
 * The real master(8) keeps its state during a reload. If it counted a process as available
 * that no longer accepts, all clients of the service would wait.
 */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import type {LocalClient} from '../helpers/client.ts';
import {Daemon} from '../helpers/daemon.ts';
import {echoes, endSession} from '../helpers/master.ts';
import {
	cpuTime,
	hasEnded,
	masterPid,
	pollGreetings,
	processes,
	timeToGreeting,
} from '../helpers/processes.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

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
	`a reload with ${SESSIONS} sessions: all continue, new clients get the new configuration at once`,
	async t => {
		await using daemon = await Daemon.start('ours');
		const {sandbox} = daemon;
		const sessions = await openSessions(t, daemon, SESSIONS);
		const port = await echoPeer(t);
		const old = processes(daemon);
		const polling = pollGreetings(daemon);

		await sandbox.postconf('tlsproxy_client_security_level', 'none');
		await sandbox.reload();
		const refused = await daemon.handOff(t, port);
		t.is(refused.status, 0);
		await endSession(refused.client);
		await daemon.linesUpTo('warning: TLS client role is disabled by configuration');
		await sandbox.postconf('tlsproxy_client_security_level', 'encrypt');
		await sandbox.reload();
		const {status, client} = await daemon.handOff(t, port);
		t.is(status, 1);
		await endSession(client);
		await delay(1000);
		const {count, longest} = await polling.stop();
		t.log(`${count} clients, the longest wait was ${Math.round(longest)} ms`);
		t.true(longest < 20_000);

		t.is(sessions.length, SESSIONS);
		for (const session of sessions) {
			t.true(await echoes(session));
		}

		for (const session of sessions) {
			await endSession(session);
		}

		/* Each generation has two processes. Those of the last one may still run. */
		t.true(await sandbox.waitFor(() => processes(daemon).length <= 2));
		t.deepEqual(
			processes(daemon).filter(pid => old.includes(pid)),
			[],
		);
		t.deepEqual(await sandbox.logLines(/exit status|throttl|panic|fatal|error:|killed/), []);
	},
);

test.serial('a removed service does not delay other services, and its session continues', async t => {
	await using daemon = await Daemon.start('ours');
	const {sandbox} = daemon;
	const masterCf = join(sandbox.configDirectory, 'master.cf');
	const before = readFileSync(masterCf, 'utf8');
	const [line = ''] = /^tlsproxy\s.*(?:\n\s.*)*/m.exec(before) ?? [];
	writeFileSync(masterCf, `${before}\n${line.replace(/^tlsproxy/, 'second')}\n`);
	await sandbox.reload();
	/* master(8) creates the socket some time after the reload. */
	await timeToGreeting(daemon, 'second');
	const [session] = await openSessions(t, daemon, 1, 'second');
	await timeToGreeting(daemon);
	const all = processes(daemon).length;

	writeFileSync(masterCf, before);
	await sandbox.reload();
	const used = cpuTime(masterPid(daemon));
	const polling = pollGreetings(daemon);
	await delay(2000);
	const {longest} = await polling.stop();
	t.log(
		`master(8) used ${cpuTime(masterPid(daemon)) - used} ms in 2 s, the longest wait was ${Math.round(longest)} ms`,
	);
	t.true(cpuTime(masterPid(daemon)) - used < 1000);
	t.true(longest < 20_000);
	if (session !== undefined) {
		t.true(await echoes(session));
		await endSession(session);
	}

	t.true(await sandbox.waitFor(() => processes(daemon).length < all));
	t.deepEqual(await sandbox.logLines(/throttl|panic|fatal|error:/), []);
});

test.serial('a stop ends all processes at once, with sessions, and from before a reload', async t => {
	await using daemon = await Daemon.start('ours');
	const sessions = [...(await openSessions(t, daemon, 3))];
	await daemon.sandbox.reload();
	sessions.push(...(await openSessions(t, daemon, 3)));
	const pids = processes(daemon);
	t.is(pids.length, 3);
	const start = performance.now();
	process.kill(masterPid(daemon), 'SIGTERM');
	/* The sessions would last for minutes. */
	t.true(await daemon.sandbox.waitFor(() => pids.every(hasEnded)));
	t.log(`${Math.round(performance.now() - start)} ms`);
	for (const session of sessions) {
		t.is(String(await session.rest()), '');
	}
});

test.serial('after SIGKILL to master(8) sessions continue, and no process remains', async t => {
	await using daemon = await Daemon.start('ours');
	const [session] = await openSessions(t, daemon, 1);
	const pids = processes(daemon);
	process.kill(masterPid(daemon), 'SIGKILL');
	await delay(500);
	if (session !== undefined) {
		t.true(await echoes(session));
		await endSession(session);
	}

	t.true(await daemon.sandbox.waitFor(() => pids.every(hasEnded)));
});
