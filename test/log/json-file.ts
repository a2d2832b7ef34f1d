import {execFileSync} from 'node:child_process';
import {
	closeSync,
	constants,
	mkdtempSync,
	openSync,
	readFileSync,
	readSync,
	rmSync,
	statSync,
	writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {WANT_READ} from '../../src/base/io-result.ts';
import {buffer, readStream} from '../../src/event/stream.ts';
import {SOCK_DGRAM} from '../../src/ffi/libc/libc.ts';
import {openJsonLog, PIPE_BUF} from '../../src/log/json-file.ts';
import {openLog} from '../../src/log/log.ts';
import {openDescriptors} from '../helpers/descriptors.ts';
import {namedSocket} from '../helpers/master.ts';

function temporaryPath(t: ExecutionContext): string {
	const directory = mkdtempSync(join(tmpdir(), 'json-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	return join(directory, 'log');
}

/** Makes a named pipe, and opens it for reading. */
function fifo(t: ExecutionContext, path: string): number {
	execFileSync('mkfifo', [path]);
	const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
	t.teardown(() => closeSync(reader));
	return reader;
}

/** Reads all pending bytes of a pipe. */
function readPipe(fd: number): string {
	const bytes = Buffer.alloc(1 << 20);
	return bytes.subarray(0, readSync(fd, bytes)).toString();
}

test('openJsonLog creates a file for its owner only, and appends to an existing one', t => {
	const path = temporaryPath(t);
	openJsonLog(path)?.('{"first":1}\n');
	t.is(statSync(path).mode & 0o777, 0o600);
	openJsonLog(path)?.('{"second":2}\n');
	t.is(readFileSync(path, 'utf8'), '{"first":1}\n{"second":2}\n');
});

test('openJsonLog continues in a file that was copied and truncated', t => {
	const path = temporaryPath(t);
	const log = openJsonLog(path);
	log?.('before\n');
	writeFileSync(path, '');
	log?.('after\n');
	t.is(readFileSync(path, 'utf8'), 'after\n');
});

test('openJsonLog sends a datagram for each record', t => {
	const path = temporaryPath(t);
	const {fd} = namedSocket(t, path, SOCK_DGRAM);
	const log = openJsonLog(path);
	log?.('one\n');
	log?.('two\n');
	for (const record of ['one\n', 'two\n']) {
		t.is(Buffer.from(buffer.bytes.subarray(0, readStream(fd))).toString(), record);
	}
});

test('openJsonLog does not wait for the reader of a pipe: it loses whole records, and records how many', t => {
	const path = temporaryPath(t);
	const reader = fifo(t, path);
	const log = openJsonLog(path);
	const record = `${'x'.repeat(999)}\n`;
	for (let count = 0; count < 100; count++) {
		log?.(record);
	}

	/* A loss record is short: it may fit where the next record does not. */
	const before = readPipe(reader);
	log?.('after\n');
	const lines = `${before}${readPipe(reader)}`.split('\n');
	t.deepEqual(lines.slice(-2), ['after', '']);
	const arrived = lines.filter(line => `${line}\n` === record).length;
	const losses = lines
		.filter(line => line.startsWith('{'))
		.map(line => JSON.parse(line) as {readonly level: string; readonly pid: number; readonly msg: string});
	t.is(arrived + losses.length + 2, lines.length);
	t.true(losses.every(({level, pid}) => level === 'warning' && pid === process.pid));
	const lost = losses.map(({msg}) => Number(/^(\d+) records lost$/.exec(msg)?.[1]));
	t.is(arrived + lost.reduce((sum, count) => sum + count, 0), 100);
	t.true(arrived > 0 && arrived < 100);
});

/* The pipe has space for a part of each of them. */
test('openJsonLog never writes a part of a record to a pipe, however long the record is', t => {
	for (const size of [PIPE_BUF - 1, PIPE_BUF, PIPE_BUF + 1, 20_000, 100_000]) {
		const path = temporaryPath(t);
		const reader = fifo(t, path);
		const log = openJsonLog(path);
		const record = `${'x'.repeat(size - 1)}\n`;
		const pieces: string[] = [];
		for (let count = 0; count < 20; count++) {
			log?.(record);
		}

		pieces.push(readPipe(reader));
		log?.('after\n');
		pieces.push(readPipe(reader));
		const lines = pieces.join('').split('\n');
		t.deepEqual(lines.slice(-2), ['after', ''], `${size}`);
		const complete = lines.filter(line => line === record.trimEnd()).length;
		t.is(complete > 0, size <= PIPE_BUF, `${size}`);
		const lost = lines.filter(line => line.endsWith(' records lost"}'));
		t.is(complete + lost.length + 2, lines.length, `${size}`);
		const total = lost.reduce((sum, line) => sum + Number(/(\d+) records lost/.exec(line)?.[1]), complete);
		t.is(total, 20, `${size}`);
	}
});

test('openJsonLog loses a record that is too long for a datagram, and records that', t => {
	const path = temporaryPath(t);
	const {fd} = namedSocket(t, path, SOCK_DGRAM);
	const log = openJsonLog(path);
	log?.(`${'x'.repeat(10_000_000)}\n`);
	t.is(readStream(fd), WANT_READ);
	log?.('after\n');
	t.regex(Buffer.from(buffer.bytes.subarray(0, readStream(fd))).toString(), /"msg":"1 records lost"}\n$/);
	t.is(Buffer.from(buffer.bytes.subarray(0, readStream(fd))).toString(), 'after\n');
});

/* Two pages are free, then none, then one. */
test('openJsonLog completes a record that a full disk has cut off', t => {
	const directory = mkdtempSync(join(tmpdir(), 'disk-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	const program = `
		import {readFileSync, rmSync, writeFileSync} from 'node:fs';
		import {openJsonLog} from ${JSON.stringify(new URL('../../src/log/json-file.ts', import.meta.url).href)};
		writeFileSync('filler', 'x'.repeat(4096));
		const log = openJsonLog('log');
		for (const name of 'abcde') {
			log(name.repeat(2999) + '\\n');
		}
		const full = readFileSync('log').length;
		rmSync('filler');
		log('after\\n');
		console.log(JSON.stringify([full, readFileSync('log', 'utf8')]));
	`;
	const mount = 'mount -t tmpfs -o size=12k none "$0" && cd "$0" && exec "$@"';
	const output = execFileSync(
		'unshare',
		['--mount', 'sh', '-c', mount, directory, process.execPath, '--input-type=module', '--eval', program],
		{encoding: 'utf8'},
	);
	const [full, text] = JSON.parse(output) as readonly [number, string];
	t.is(full, 8192, 'a part of the third record is written');
	const lines = text.split('\n');
	t.deepEqual(
		lines.slice(0, 3).map(line => [line.charAt(0), line.length, new Set(line).size]),
		[
			['a', 2999, 1],
			['b', 2999, 1],
			['c', 2999, 1],
		],
	);
	t.regex(lines[3] ?? '', /"msg":"2 records lost"}$/);
	t.deepEqual(lines.slice(4), ['after', '']);
});

const refuses = test.macro({
	exec(t, pathIn: (path: string) => string, reason: RegExp) {
		const logged: string[] = [];
		openLog({send: (_severity, label, text) => logged.push(label + text)});
		const before = openDescriptors();
		const path = pathIn(temporaryPath(t));
		t.is(openJsonLog(path), undefined);
		t.is(openDescriptors(), before);
		t.is(logged.length, 1);
		t.true(logged[0]?.startsWith(`warning: cannot open json_log ${path}: `));
		t.regex(logged[0] ?? '', reason);
	},
	title(what = '') {
		return `openJsonLog refuses ${what}, with a warning`;
	},
});

test.serial('a directory that does not exist', refuses, path => join(path, 'log'), /ENOENT/);
test.serial('a directory', refuses, path => join(path, '..'), /EISDIR/);
test.serial('a device', refuses, () => '/dev/null', /neither file nor named pipe nor socket/);
test.serial(
	'a pipe without a reader',
	refuses,
	path => {
		execFileSync('mkfifo', [path]);
		return path;
	},
	/ENXIO/,
);
