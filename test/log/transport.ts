/*
 * Log analyzers match the log lines of stock, therefore the format has to be the same.
 * postlog(1) is the reference.
 */
import {type ChildProcess, execFile, spawn} from 'node:child_process';
import {once} from 'node:events';
import {chmodSync, mkdtempSync, rmSync} from 'node:fs';
import {createServer, type Socket} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {mock} from 'node:test';
import {setTimeout as delay} from 'node:timers/promises';
import {promisify} from 'node:util';
import test, {type ExecutionContext} from 'ava';
import fc from 'fast-check';
import {Sandbox} from '../../postfix/lib/sandbox.ts';
import {postlogTransport} from '../../src/log/transport.ts';
import {openDescriptors} from '../helpers/descriptors.ts';
import {receiver, withLog} from '../helpers/syslog.ts';

const run = promisify(execFile);
const TAG = 'postfix/tlsproxy';

/** A line with time and process id masked. */
function masked(line: string): string {
	return line
		.replace(/(^|(?<=^<\d+>))[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?= )/, 'TIME')
		.replace(/(?<=\[)\d+(?=\]: )/, 'PID');
}

const levels: ReadonlyArray<readonly [severity: number, label: string, priority: string]> = [
	[6, '', 'info'],
	[4, 'warning: ', 'warn'],
	[2, 'fatal: ', 'fatal'],
	[2, 'panic: ', 'panic'],
];

test('postlogTransport sends a complete line without line feed for each record', t => {
	const {path, records} = receiver(t);
	const transport = postlogTransport(path, 'host.example.com', TAG);
	t.deepEqual(records(), []);
	for (const [severity, label] of levels) {
		transport.send(severity, label, 'some text');
	}

	t.deepEqual(records().map(masked), [
		'TIME host postfix/tlsproxy[PID]: some text',
		'TIME host postfix/tlsproxy[PID]: warning: some text',
		'TIME host postfix/tlsproxy[PID]: fatal: some text',
		'TIME host postfix/tlsproxy[PID]: panic: some text',
	]);
});

test.serial('postlogTransport prints process id and local time, with two digits per field', t => {
	t.teardown(() => mock.timers.reset());
	mock.timers.enable({apis: ['Date']});
	const {path, records} = receiver(t);
	const transport = postlogTransport(path, 'host', TAG);
	for (const date of [new Date(2026, 1, 3, 4, 5, 6), new Date(2026, 11, 31, 23, 59, 58)]) {
		mock.timers.setTime(date.getTime());
		transport.send(6, '', 'x');
	}

	t.deepEqual(records(), [
		`Feb 03 04:05:06 host ${TAG}[${process.pid}]: x`,
		`Dec 31 23:59:58 host ${TAG}[${process.pid}]: x`,
	]);
});

for (const [hostname, label] of [
	['host.example.com', 'host'],
	['host', 'host'],
	['', ''],
] as const) {
	test(`postlogTransport shortens the host name "${hostname}" to "${label}"`, t => {
		const {path, records} = receiver(t);
		postlogTransport(path, hostname, TAG).send(6, '', 'x');
		t.is(records().map(masked)[0], `TIME ${label} ${TAG}[PID]: x`);
	});
}

test('postlogTransport does not change the text', t => {
	const {path, records} = receiver(t);
	const transport = postlogTransport(path, 'host', TAG);
	fc.assert(
		fc.property(fc.string({unit: 'grapheme', maxLength: 400}), text => {
			transport.send(4, 'warning: ', text);
			const [line = '', ...others] = records();
			t.is(line.slice(line.indexOf(']: ') + 3), `warning: ${text.toWellFormed()}`);
			t.deepEqual(others, []);
		}),
	);
});

const losesRecords = test.macro<[where: string, name: string]>({
	exec(t, _, name) {
		const {directory, records} = receiver(t);
		const before = openDescriptors();
		const transport = postlogTransport(join(directory, name), 'host', TAG);
		t.notThrows(() => transport.send(6, '', 'lost'));
		t.is(openDescriptors(), before);
		t.deepEqual(records(), []);
	},
	title(_, where) {
		return `postlogTransport ${where} loses the records and leaves no descriptor`;
	},
});

test.serial(losesRecords, 'without a socket', 'nosuch');
test.serial(losesRecords, 'to a directory', '.');
test.serial(losesRecords, 'to a name that is too long', 'x'.repeat(200));

test.serial('postlogTransport has one descriptor open', t => {
	const {path, records} = receiver(t);
	const before = openDescriptors();
	const transport = postlogTransport(path, 'host', TAG);
	t.is(openDescriptors(), before + 1);
	transport.send(6, '', 'found');
	t.is(records().length, 1);
});

test('postlogTransport loses records, without SIGPIPE, when the receiver is closed', t => {
	const {path, close: leave} = receiver(t);
	const transport = postlogTransport(path, 'host', TAG);
	leave();
	t.notThrows(() => transport.send(6, '', 'lost'));
});

/* Compares the lines that postlogd(8) writes. */
test('postlogTransport sends postlogd(8) the same lines as postlog(1)', async t => {
	await using sandbox = await Sandbox.create({tlsproxy: 'none'});
	await sandbox.start();
	const transport = postlogTransport(
		join(sandbox.queueDirectory, 'public', 'postlog'),
		'sandbox.example',
		'ours/tlsproxy',
	);
	for (const [severity, label, priority] of levels) {
		const text = `${priority}: text with 100 % and [brackets]: ü`;
		transport.send(severity, label, text);
		await run('postlog', ['-i', '-c', sandbox.configDirectory, '-t', 'stock/tlsproxy', '-p', priority, text]);
	}

	const linesOf = async (tag: string): Promise<readonly string[]> =>
		(await sandbox.logLines(new RegExp(` ${tag}/tlsproxy\\[`))).map(line => masked(line).replace(tag, 'TAG'));
	t.true(
		await sandbox.waitFor(
			async () =>
				(await linesOf('ours')).length >= levels.length && (await linesOf('stock')).length >= levels.length,
		),
		await sandbox.log(),
	);
	t.deepEqual(await linesOf('ours'), await linesOf('stock'));
	t.is(
		(await linesOf('ours'))[1],
		'TIME sandbox TAG/tlsproxy[PID]: warning: warn: text with 100 % and [brackets]: ü',
	);
});

/** Runs a command and returns the records that it sends to syslogd. */
async function logged(t: ExecutionContext, ...command: readonly string[]): Promise<readonly string[]> {
	const {directory, records} = receiver(t);
	const [wrapper, ...rest] = [...withLog(directory), ...command];
	await run(wrapper ?? '', rest);
	return records().map(masked);
}

/** Returns the records of syslogTransport: one of each level, then those of a program. */
async function sent(t: ExecutionContext, facility: number, program = ''): Promise<readonly string[]> {
	return await logged(
		t,
		process.execPath,
		'--input-type=module',
		'--eval',
		`import {syslogTransport} from ${JSON.stringify(new URL('../../src/log/transport.ts', import.meta.url).href)};
		const transport = syslogTransport(${JSON.stringify(TAG)}, ${facility});
		for (const [severity, label] of ${JSON.stringify(levels)}) {
			transport.send(severity, label, 'some text');
		}
		${program}`,
	);
}

const LOG_MAIL = 2 << 3;

test('syslogTransport sends facility, severity, tag and process id', async t => {
	const texts = ['some text', 'warning: some text', 'fatal: some text', 'panic: some text'];
	t.deepEqual(
		await sent(t, LOG_MAIL),
		[22, 20, 18, 18].map((priority, index) => `<${priority}>TIME ${TAG}[PID]: ${texts[index]}`),
	);
	const local0 = 16 << 3;
	t.is((await sent(t, local0))[0], `<134>TIME ${TAG}[PID]: some text`);
});

test('syslogTransport does not interpret the text as a format', async t => {
	const lines = await sent(t, LOG_MAIL, "transport.send(6, '', '100 %s %n %d %%');");
	t.is(lines.at(-1), `<22>TIME ${TAG}[PID]: 100 %s %n %d %%`);
});

test('syslogTransport continues when /dev/log has been removed', async t => {
	const lines = await sent(
		t,
		LOG_MAIL,
		`import {unlinkSync} from 'node:fs'; unlinkSync('/dev/log'); transport.send(6, '', 'still there');`,
	);
	t.is(lines.at(-1), `<22>TIME ${TAG}[PID]: still there`);
});

test('syslogTransport sends the same records as postlog(1)', async t => {
	await using sandbox = await Sandbox.create({tlsproxy: 'none', main: {maillog_file: ''}});
	const program = ['postlog', '-i', '-c', sandbox.configDirectory, '-t', TAG];
	const stock: string[] = [];
	for (const [, , priority] of levels) {
		stock.push(...(await logged(t, ...program, '-p', priority, 'some text')));
	}

	t.deepEqual(await sent(t, LOG_MAIL), stock);
});

const sources = (name: string): string => JSON.stringify(new URL(`../../src/${name}`, import.meta.url).href);

/*
 * The C library is the reference for the form of a record. A record of another second, or of
 * another process, would differ, so both are made in one process, until a pair is of one second.
 */
for (const zone of ['', 'CET-1CEST,M3.5.0,M10.5.0/3', 'Asia/Kolkata']) {
	test(`syslogTransport sends the bytes of syslog(3), with TZ="${zone}"`, async t => {
		const {directory, records} = receiver(t);
		const program = `
			import {openlog, syslog, LOG_PID} from ${sources('ffi/libc/libc.ts')};
			import {syslogTransport} from ${sources('log/transport.ts')};
			const texts = ['', 'text', 'ü€😀 100 %s', 'x'.repeat(2000)];
			for (const facility of [0, 16, 0, 128, 0]) {
				const transport = syslogTransport(${JSON.stringify(TAG)}, facility);
				openlog(${JSON.stringify(TAG)}, LOG_PID, facility);
				for (const [severity, label] of ${JSON.stringify(levels)}) {
					for (const text of texts) {
						/* The C library has a coarser clock. */
						while (Math.abs((Date.now() % 1000) - 500) > 400);
						transport.send(severity, label, text);
						syslog(severity | facility, label + text);
						/* The receiver has to read: syslog(3) blocks. */
						await new Promise(done => setTimeout(done, 10));
					}
				}
			}`;
		const [wrapper, ...rest] = [
			...withLog(directory),
			process.execPath,
			'--input-type=module',
			'--eval',
			program,
		];
		const all: string[] = [];
		const child = spawn(wrapper, rest, {env: {...process.env, TZ: zone}, stdio: 'inherit'});
		while (child.exitCode === null) {
			all.push(...records());
			await delay(2);
		}

		t.is(child.exitCode, 0);
		all.push(...records());
		t.is(all.length, 2 * 5 * levels.length * 4);
		/* Both sockets have one queue. */
		t.deepEqual(
			all.filter((_, index) => index % 2 === 0),
			all.filter((_, index) => index % 2 === 1),
		);
	});
}

/** Starts a program that uses syslogTransport, with the log socket of a directory. */
function startLogging(t: ExecutionContext, directory: string, program: string): ChildProcess {
	const [wrapper, ...rest] = [
		...withLog(directory),
		process.execPath,
		'--input-type=module',
		'--eval',
		`import {writeSync} from 'node:fs';
		import {drainLog, fatal, info, openLog} from ${sources('log/log.ts')};
		import {syslogTransport} from ${sources('log/transport.ts')};
		process.on('exit', drainLog);
		openLog(syslogTransport(${JSON.stringify(TAG)}, ${LOG_MAIL}));
		${program}`,
	];
	const child = spawn(wrapper, rest, {stdio: ['ignore', 'pipe', 'inherit']});
	t.teardown(() => child.kill('SIGKILL'));
	return child;
}

/** Reads records until one ends with a text. Returns the texts of all. */
async function textsUpTo(
	t: ExecutionContext,
	records: () => readonly string[],
	last: string,
): Promise<readonly string[]> {
	const found: string[] = [];
	const start = performance.now();
	for (let seen = 0; !found.slice(seen).some(record => record.endsWith(`]: ${last}`)); ) {
		seen = found.length;
		if (performance.now() - start > 60_000) {
			t.fail(`no record ${last} after ${found.length} records, last: ${found.at(-1)}`);
			break;
		}

		found.push(...records());
		await delay(1);
	}

	return found.map(record => record.replace(/^.*?\]: /, ''));
}

const numbers = (count: number): readonly string[] =>
	Array.from({length: count}, (_, index) => String(index));

test('syslogTransport does not block while syslogd does not read, and loses nothing', async t => {
	const {directory, records} = receiver(t);
	const child = startLogging(
		t,
		directory,
		`for (let index = 0; index < 3000; index++) {
			info(String(index));
		}
		writeSync(1, 'logged');
		setTimeout(() => {}, 60_000);`,
	);
	/* Nothing is read before. */
	t.is(String((await once(child.stdout ?? child, 'data'))[0]), 'logged');
	t.deepEqual(await textsUpTo(t, records, '2999'), numbers(3000));
});

test('the reason of the end is sent when syslogd reads again, after the queued records', async t => {
	const {directory, records} = receiver(t);
	/* More than a mebibyte. */
	const total = 1000;
	const child = startLogging(
		t,
		directory,
		`for (let index = 0; index < ${total}; index++) {
			info('x'.repeat(1990) + index);
		}
		writeSync(1, 'logged');
		fatal('the end');`,
	);
	const end = once(child, 'exit');
	t.is(String((await once(child.stdout ?? child, 'data'))[0]), 'logged');
	/* The queue was full. */
	const texts = await textsUpTo(t, records, 'fatal: the end');
	const count = texts.length - 2;
	t.deepEqual(texts, [
		...numbers(count).map(number => 'x'.repeat(1990) + number),
		`warning: ${total - count} log records lost: the log could not be written`,
		'fatal: the end',
	]);
	t.deepEqual(await end, [1, null]);
});

test('a process ends while syslogd does not read', async t => {
	const {directory} = receiver(t);
	const child = startLogging(
		t,
		directory,
		`for (let index = 0; index < 100; index++) {
			info(String(index));
		}
		fatal('the end');`,
	);
	t.deepEqual(await once(child, 'exit'), [1, null]);
});

test('syslogTransport uses syslog(3) for a stream socket', async t => {
	const directory = mkdtempSync(join(tmpdir(), 'log-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	chmodSync(directory, 0o755);
	const server = createServer();
	t.teardown(() => server.close());
	server.listen(join(directory, 'log'));
	const connection = once(server, 'connection');
	startLogging(t, directory, "fatal('the end');");
	const [socket] = (await connection) as [Socket];
	let received = '';
	for await (const bytes of socket) {
		received += String(bytes);
	}

	t.is(masked(received), `<18>TIME ${TAG}[PID]: fatal: the end\0`);
});

test('withStderr does not block when standard error is not read', async t => {
	const {path, records} = receiver(t);
	const lines = 3000;
	const child = spawn(
		process.execPath,
		[
			'--input-type=module',
			'--eval',
			`import {writeSync} from 'node:fs';
			import {postlogTransport, withStderr} from ${sources('log/transport.ts')};
			const transport = withStderr(postlogTransport(${JSON.stringify(path)}, 'host', 'tag'), 'name');
			for (let index = 0; index < ${lines}; index++) {
				transport.send(6, '', 'x'.repeat(1000) + index);
				if (index === 0) {
					/* The rest begins when the first line has been read. */
					process.stdin.resume();
					await new Promise(done => process.stdin.on('end', done));
				}
			}
			writeSync(1, 'logged');
			setTimeout(() => {}, 60_000);`,
		],
		{stdio: 'pipe'},
	);
	t.teardown(() => child.kill('SIGKILL'));
	const [first] = (await once(child.stderr, 'data')) as [Buffer];
	t.is(String(first), `name: ${'x'.repeat(1000)}0\n`);
	child.stderr.pause();
	child.stdin.end();
	const end = once(child.stdout, 'data');
	/* The main destination gets all lines; its queue is shorter than this. */
	const found = await textsUpTo(t, records, `${'x'.repeat(1000)}999`);
	t.is(
		found.findIndex(text => text.endsWith('x999')),
		999,
	);
	t.is(String((await end)[0]), 'logged');
});
