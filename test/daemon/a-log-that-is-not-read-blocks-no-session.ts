/*
 * When postlogd(8) is stopped, or syslogd(8) is slow, the queue of a log socket is full. Stock
 * blocks in the next write, with all its sessions, until the watchdog ends the process. This
 * program queues its records, and counts them when this queue is full.
 */
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {Daemon, type HandoffOptions} from '../helpers/daemon.ts';
import {echoes, endSession, Service} from '../helpers/master.ts';
import {pause} from '../helpers/pause.ts';
import {echoPeer} from '../helpers/remote-servers.ts';
import {receiver, withLog} from '../helpers/syslog.ts';

/** A number of sessions that log more lines than a socket accepts. Source: net.unix.max_dgram_qlen, unix(7). */
const SESSIONS = 300;

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock');
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

async function makeSessions(
	t: ExecutionContext,
	service: Service,
	port: number,
	options: HandoffOptions = {},
): Promise<void> {
	for (let count = 0; count < SESSIONS; count++) {
		const {client, report} = await daemon.transfer(t, port, options, service.name);
		t.truthy(report, `session ${count}`);
		t.true(await echoes(client));
		await endSession(client);
	}
}

/** The lines of a session: their beginnings. */
const LINES = ['CONNECT to ', 'Untrusted TLS connection established to ', 'DISCONNECT '];
const LOSS = / log records lost: /;
const ESTABLISHED = /^Untrusted TLS connection established to /;

/** Whether lines are those of a number of sessions, one after the other, and no others. */
function areSessions(lines: readonly string[], count: number): boolean {
	return (
		lines.length === count * LINES.length &&
		lines.every((line, index) => line.startsWith(LINES[index % LINES.length] ?? ''))
	);
}

test.serial(
	'while postlogd is stopped sessions go on; afterwards all lines are logged, in order',
	async t => {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours');
		const started = service.start();
		const open = await service.session(t, port);
		const before = await started.linesUpTo(ESTABLISHED);
		const {worker} = started;
		await pause(daemon.sandbox.daemonPids('postlogd'), 0, async () => {
			await makeSessions(t, service, port);
			t.true(await echoes(open));
		});
		t.true(
			await daemon.sandbox.waitFor(
				async () => (await started.lines()).length >= before.length + LINES.length * SESSIONS,
			),
		);
		t.true(areSessions((await started.lines()).slice(before.length), SESSIONS));
		t.is(started.worker, worker);
		t.true(await echoes(open));
	},
);

test.serial(
	'when the queue is full, one line has the number of lost lines, and later lines are logged',
	async t => {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours');
		const started = service.start();
		const open = await service.session(t, port);
		await pause(daemon.sandbox.daemonPids('postlogd'), 0, async () => {
			/* All packets are dumped to the log. */
			await makeSessions(t, service, port, {init: {log_level: '4'}});
			t.true(await echoes(open));
		});
		await started.linesUpTo(LOSS);
		await endSession(await service.session(t, port));
		const ends = async (): Promise<boolean> => {
			const lines = await started.lines();
			return (
				lines.findLastIndex(line => line.startsWith('DISCONNECT ')) > lines.findIndex(line => LOSS.test(line))
			);
		};
		t.true(await daemon.sandbox.waitFor(ends));
		const lines = await started.lines();
		const losses = lines.filter(line => LOSS.test(line));
		t.is(losses.length, 1);
		t.regex(losses[0] ?? '', /^warning: [1-9]\d* log records lost: the log could not be written$/);
		t.true(await echoes(open));
	},
);

test.serial('while syslogd does not read sessions go on; afterwards it gets all lines, in order', async t => {
	const port = await echoPeer(t);
	const log = receiver(t);
	const service = new Service(t, daemon, 'ours', withLog(log.directory));
	const started = service.start('-o', 'maillog_file=');
	const open = await service.session(t, port);
	const {worker} = started;
	await makeSessions(t, service, port);
	t.true(await echoes(open));
	const records: string[] = [];
	const lines = (): readonly string[] => records.map(record => record.replace(/^.*?\]: /, ''));
	t.true(
		await daemon.sandbox.waitFor(() => {
			records.push(...log.records());
			return lines().filter(line => line.startsWith('DISCONNECT ')).length >= SESSIONS;
		}),
	);
	const first = lines().findIndex(line => ESTABLISHED.test(line)) + 1;
	t.true(areSessions(lines().slice(first), SESSIONS), lines().slice(0, 10).join('\n'));
	t.is(started.worker, worker);
	t.true(await echoes(open));
	await endSession(open);
	/* Nothing else was logged. */
	await delay(500);
	t.deepEqual(log.records().length, 1);
});
