/*
 * In a container postlogd(8) writes the log to standard output, together with anything else
 * that a process writes there. The JSON log is an additional destination, which is written
 * from inside the chroot jail.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {closeSync, openSync, readFileSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {execa} from 'execa';
import {Daemon, type Program} from '../helpers/daemon.ts';
import {echoes, endSession, Service} from '../helpers/master.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

/** The standard output of a container whose Postfix serves one session. */
async function containerLog(t: ExecutionContext, which: Program): Promise<readonly string[]> {
	await using daemon = await Daemon.start(which, {
		main: {maillog_file_prefixes: '/dev/stdout, /tmp', syslog_name: 'mail'},
	});
	const {sandbox} = daemon;
	await execa('postfix', ['-c', sandbox.configDirectory, 'stop'], {env: {PATH}, extendEnv: false});
	await sandbox.postconf('maillog_file', '/dev/stdout');
	/* A file, as with a container runtime: a socket cannot be opened as /dev/stdout. */
	const path = join(sandbox.directory, 'stdout');
	const out = openSync(path, 'a');
	const output = (): string => readFileSync(path, 'utf8');
	const container = spawn('postfix', ['-c', sandbox.configDirectory, 'start-fg'], {
		stdio: ['ignore', out, 'ignore'],
		env: {PATH},
		detached: true,
	});
	closeSync(out);
	t.true(await sandbox.waitFor(() => output().includes('daemon started')), output());
	/* Services start one after the other; connecting to one too early would add lines to the log. */
	await delay(1000);
	const port = await echoPeer(t);
	const {client, report} = await daemon.handOff(t, port);
	t.truthy(report, output());
	t.true(await echoes(client));
	await endSession(client);
	await sandbox.waitFor(() => output().includes('DISCONNECT'));
	const lines = output().split('\n');
	const end = once(container, 'exit');
	await sandbox.stop();
	await end;
	return lines
		.filter(line => line !== '' && !/ mail\/(postfix-script|master)\[/.test(line))
		.map(line =>
			line
				.replace(/^[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d /, 'TIME ')
				.replace(/\[\d+\]: /, '[PID]: ')
				.replaceAll(String(port), 'PORT'),
		);
}

test('with maillog_file=/dev/stdout the log of a container has exactly the lines of stock', async t => {
	const stock = await containerLog(t, 'stock');
	t.true(stock.includes('TIME sandbox mail/tlsproxy[PID]: CONNECT to [127.0.0.1]:PORT'));
	t.deepEqual(await containerLog(t, 'ours'), stock);
});

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

test('json_log writes all lines of the log to a file of root, from inside the chroot jail', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const file = join(daemon.sandbox.directory, 'records.json');
	const started = service.start('-c', `json_log=${file}`);
	const session = await service.session(t, port);
	t.true(await echoes(session));
	const {worker} = started;
	await endSession(session);
	const last = `DISCONNECT [127.0.0.1]:${port}`;
	const lines = await started.linesUpTo(last);
	/* The line is logged before the record is written. */
	t.true(await daemon.sandbox.waitFor(() => readFileSync(file, 'utf8').includes(last)));
	t.like(statSync(file), {uid: 0, mode: 0o100600});
	const records = readFileSync(file, 'utf8')
		.trimEnd()
		.split('\n')
		.map(line => JSON.parse(line) as {level: string; pid: number; name: string; msg: string; time: string});
	t.deepEqual(
		records.map(({level, msg}) => (level === 'info' ? msg : `${level}: ${msg}`)),
		lines,
	);
	t.true(records.every(({pid, time}) => pid === worker && Math.abs(Date.parse(time) - Date.now()) < 60_000));
	t.is(records[0]?.name, `postfix-${started.generation}/tlsproxy`);
});

test('if the json_log file cannot be opened, one warning is logged, and sessions are served', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const started = service.start('json_log=/nonexistent/records');
	await endSession(await service.session(t, port));
	const lines = await started.linesUpTo(/^DISCONNECT /);
	t.is(lines.filter(line => line.startsWith('warning: cannot open json_log')).length, 1);
});

test('with -v state changes of a session are logged in addition to the lines of stock', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const started = service.start('-v');
	const session = await service.session(t, port);
	t.true(await echoes(session));
	await endSession(session);
	const endpoint = `[127.0.0.1]:${port}`;
	const verbose = (await started.linesUpTo(`DISCONNECT ${endpoint}`)).filter(line =>
		line.startsWith('session '),
	);
	t.true(
		verbose.includes(`session ${endpoint}: handshake-done: handshaking -> proxying`),
		verbose.join('\n'),
	);
});
