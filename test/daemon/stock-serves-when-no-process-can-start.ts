/*
 * Without tlsproxy(8), mail of level may is sent in cleartext. When no process of this program
 * can start, the supervisor executes the tlsproxy(8) program of Postfix.
 */
import {execFileSync, spawnSync} from 'node:child_process';
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {echoes, endSession, Service} from '../helpers/master.ts';
import {hasEnded, masterPid} from '../helpers/processes.ts';
import {ProgramCopy} from '../helpers/program-copy.ts';
import {echoPeer} from '../helpers/remote-servers.ts';
import {messages, SenderAndSink} from '../helpers/sender-and-sink.ts';

/** Processes of the program of Postfix. */
const stockProcesses = (daemon: Daemon): readonly number[] =>
	daemon.sandbox
		.processes()
		.filter(({args}) => args[0] === 'tlsproxy')
		.map(({pid}) => pid);

/** Hands off a connection, and uses it. */
async function isServed(t: ExecutionContext, daemon: Daemon, port: number): Promise<void> {
	const {client, report} = await daemon.handOff(t, port);
	t.truthy(report, await daemon.sandbox.log());
	t.true(await echoes(client));
	await endSession(client);
}

/** After 100 sessions the program of Postfix ends, and the next process is one of this program. */
async function isOursAgain(t: ExecutionContext, daemon: Daemon, port: number): Promise<void> {
	const [stock = 0] = stockProcesses(daemon);
	for (let count = 0; count < 100 && !hasEnded(stock); count++) {
		await isServed(t, daemon, port);
	}

	t.true(await daemon.sandbox.waitFor(() => hasEnded(stock)));
	await isServed(t, daemon, port);
	t.deepEqual(stockProcesses(daemon), []);
	t.true(daemon.pid > 0);
}

/** The report of doctor, in one line. */
function doctor({sandbox}: Daemon): string {
	const command = join(import.meta.dirname, '..', '..', 'postfix', 'doctor');
	const {stdout} = spawnSync(command, ['-c', sandbox.configDirectory], {encoding: 'utf8'});
	return stdout.replaceAll(/\s+/g, ' ');
}

interface Damage {
	/** File that is damaged, and repaired. */
	readonly file: string;
	readonly damage: (copy: ProgramCopy, file: string) => void;
	/** Cause and repair in the log line. */
	readonly line: RegExp;
}

const REINSTALL = String.raw`\. To repair this, install this program again\.`;

const damages: Readonly<Record<string, Damage>> = {
	'Node.js is missing': {
		file: 'lib/node',
		damage: (copy, file) => copy.remove(file),
		line: new RegExp(`exit status 127: cannot execute \\S+/lib/node: No such file or directory${REINSTALL}`),
	},
	'Node.js cannot be executed': {
		file: 'lib/node',
		damage: (copy, file) => copy.write(file, copy.read(file), 0o644),
		line: new RegExp(`exit status 127: cannot execute \\S+/lib/node: Permission denied${REINSTALL}`),
	},
	'Node.js is truncated': {
		file: 'lib/node',
		damage: (copy, file) => copy.write(file, copy.read(file).subarray(0, 100_000)),
		line: /killed by signal (?:7|11)|exit status 127/,
	},
	'a library of Node.js is missing': {
		file: 'lib/node',
		damage(copy, file) {
			const node = copy.read(file);
			node.write('libabsent.so', node.indexOf('libstdc++.so'));
			copy.write(file, node);
		},
		line: /error while loading shared libraries: libabsent\S*: cannot open .*\. To repair this, install the missing library\./,
	},
	'the foreign function interface is damaged': {
		file: `lib/node_modules/@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`,
		damage: (copy, file) => copy.write(file, 'damaged'),
		line: new RegExp(`exit status 1: Error: .*koffi.*${REINSTALL}`),
	},
	'the program is damaged': {
		file: 'lib/program.js',
		damage: (copy, file) => copy.write(file, '{'),
		line: new RegExp(`exit status 1: SyntaxError: .*${REINSTALL}`),
	},
	'a file of the program is missing': {
		file: 'lib/main.js',
		damage: (copy, file) => copy.remove(file),
		line: new RegExp(`exit status 1: Error: Cannot find module .*${REINSTALL}`),
	},
	'the launcher is missing': {
		file: 'lib/launch.pl',
		damage: (copy, file) => copy.remove(file),
		line: new RegExp(`exit status 127: cannot execute \\S+/launch.pl: No such file or directory${REINSTALL}`),
	},
};

for (const [name, {file, damage, line}] of Object.entries(damages)) {
	test.serial(
		`if ${name}, the program of Postfix serves, the cause is logged, and this program serves after the repair`,
		async t => {
			await using daemon = await Daemon.start('ours');
			const {sandbox} = daemon;
			const port = await echoPeer(t);
			const copy = await ProgramCopy.register(sandbox, 'handshake_count_limit=1000');
			damage(copy, file);
			await sandbox.reload();
			await isServed(t, daemon, port);
			const lines = (await daemon.lines()).filter(text => text.startsWith('warning: using '));
			t.is(lines.length, 1);
			t.regex(lines[0] ?? '', line);
			t.regex(
				doctor(daemon),
				/This program could not start\. The program of Postfix serves instead: tlsproxy\[\d+\]/,
			);
			copy.repair(file);
			await isOursAgain(t, daemon, port);
			t.notRegex(doctor(daemon), /could not start/);
			t.deepEqual(await sandbox.logLines(/throttl|panic|master\[\d+\]: warning/), []);
		},
	);
}

test.serial(
	'if memory is limited, the program of Postfix serves, and this program serves when it is not',
	async t => {
		await using daemon = await Daemon.start('ours');
		const port = await echoPeer(t);
		const limit = (value: string): string =>
			execFileSync('prlimit', ['--pid', String(masterPid(daemon)), `--as=${value}`], {encoding: 'utf8'});
		limit('500000000:');
		await isServed(t, daemon, port);
		t.is(stockProcesses(daemon).length, 1);
		t.regex(
			(await daemon.lines()).find(text => text.startsWith('warning: using ')) ?? '',
			/raise the memory limit|install this program again/,
		);
		limit('unlimited:');
		await isOursAgain(t, daemon, port);
		t.deepEqual(await daemon.sandbox.logLines(/throttl/), []);
	},
);

test.serial(
	'if a service argument is not valid, the program of Postfix serves, and the error is logged',
	async t => {
		await using daemon = await Daemon.start('ours');
		const port = await echoPeer(t);
		await ProgramCopy.register(daemon.sandbox, 'handshake_count_limit=many');
		await daemon.sandbox.reload();
		await isServed(t, daemon, port);
		const lines = (await daemon.lines()).filter(text => /^(?:fatal|warning: using)/.test(text));
		t.is(lines[0], 'fatal: bad numerical configuration: handshake_count_limit = many');
		t.regex(lines[1] ?? '', /fatal error, see above\. To repair this, correct the error\./);
		t.is(lines.length, 2);
	},
);

test.serial('with fallback=no, a program that cannot start is not replaced by that of Postfix', async t => {
	await using daemon = await Daemon.start('ours', {main: {service_throttle_time: '2s'}});
	const {sandbox} = daemon;
	const port = await echoPeer(t);
	const copy = await ProgramCopy.register(sandbox, 'fallback=no');
	copy.remove('lib/node');
	await sandbox.reload();
	const waiting = isServed(t, daemon, port);
	t.true(
		await sandbox.waitFor(
			async () => (await sandbox.logLines(/bad command startup -- throttling/)).length > 0,
		),
	);
	t.deepEqual(stockProcesses(daemon), []);
	t.true((await daemon.lines()).some(text => /exit status 127: cannot execute/.test(text)));
	copy.repair('lib/node');
	await waiting;
});

for (const level of ['may', 'encrypt']) {
	test.serial(
		`at level ${level}, mail is delivered by the program of Postfix, then by this program, and never in cleartext`,
		async t => {
			await using pair = await SenderAndSink.start({main: {smtp_tls_security_level: level}});
			const copy = await ProgramCopy.register(pair.sandbox);
			copy.remove('lib/main.js');
			await pair.sandbox.reload();
			t.true(await pair.deliver(messages(100), 5), await pair.sandbox.log());
			copy.repair('lib/main.js');
			/* The program of Postfix ends after 100 sessions, or when it is reloaded. */
			await pair.sandbox.reload();
			t.true(await pair.deliver(messages(100), 5), await pair.sandbox.log());
			const {encryptedMessages, clearMessages} = await pair.sink.counts();
			t.is(clearMessages, 0);
			t.is(encryptedMessages, 200);
			t.deepEqual(await pair.sandbox.logLines(/status=(?:deferred|bounced)|throttl/), []);
			t.is((await pair.sandbox.logLines(/warning: using .*main\.js/)).length, 1);
		},
	);
}

/* The following tests do not need a real master(8). */

async function startLoading(t: ExecutionContext, daemon: Daemon, code: string) {
	const service = new Service(t, daemon, 'ours');
	const module = join(daemon.sandbox.directory, `${service.name}.mjs`);
	writeFileSync(module, `if (process.env.TLSPROXY_REQUEST === undefined) { ${code} }`);
	return {
		service,
		started: service.startWith({NODE_OPTIONS: `--import=${module}`}, 'handshake_count_limit=5'),
	};
}

test.serial(
	'if two workers are killed while they start, the program of Postfix serves with the same process id',
	async t => {
		await using daemon = await Daemon.start('stock');
		const port = await echoPeer(t);
		const {service, started} = await startLoading(t, daemon, `process.kill(process.pid, 'SIGKILL');`);
		const session = await service.session(t, port);
		t.is(started.worker, started.pid);
		const lines = (await started.lines()).filter(text => /^warning: (?:process|using)/.test(text));
		t.is(lines.length, 3);
		t.regex(lines[0] ?? '', /^warning: process \S+ pid \d+ killed by signal 9$/);
		t.regex(lines[1] ?? '', /^warning: process \S+ pid \d+ killed by signal 9$/);
		t.regex(
			lines[2] ?? '',
			/^warning: using \S+, because \S+ cannot start: process \S+ pid \d+ killed by signal 9\./,
		);
		t.true(await echoes(session));
		t.deepEqual(
			started.reports.map(({pid, generation, state}) => [pid, generation, state]),
			[
				[started.pid, started.generation, 'taken'],
				[started.pid, started.generation, 'available'],
			],
		);
		/* At a reload the process drains like any other process of stock. */
		started.closeStatus();
		t.is(await started.end(), 0);
		t.true(await echoes(session));
		await endSession(session);
	},
);

/* test/postfix/launch.ts tests that the alarm is set. */
test.serial(
	'a worker that hangs before it has a watchdog is ended by the alarm of its launcher, and the program of Postfix serves',
	async t => {
		await using daemon = await Daemon.start('stock');
		const {service, started} = await startLoading(
			t,
			daemon,
			'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);',
		);
		t.true(await daemon.sandbox.waitFor(() => started.workers().length === 1));
		const {worker} = started;
		process.kill(worker, 'SIGALRM');
		await endSession(await service.greeted(t));
		t.is(started.worker, started.pid);
		t.deepEqual(
			(await started.lines()).filter(text => text.startsWith('fatal: ')),
			['fatal: watchdog timeout, before a process was ready'],
		);
	},
);
