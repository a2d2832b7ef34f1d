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
import {buffer, readStream} from '../../src/event/stream.ts';
import {SOCK_DGRAM} from '../../src/ffi/libc/libc.ts';
import {openJsonLog} from '../../src/log/json-file.ts';
import {openLog} from '../../src/log/log.ts';
import {openDescriptors} from '../helpers/descriptors.ts';
import {namedSocket} from '../helpers/master.ts';

function place(t: ExecutionContext): string {
	const directory = mkdtempSync(join(tmpdir(), 'json-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	return join(directory, 'log');
}

/** Reads what is there. */
function contents(fd: number): string {
	const space = Buffer.alloc(1 << 20);
	return space.subarray(0, readSync(fd, space)).toString();
}

test('openJsonLog makes a file for its owner only, and adds to what is there', t => {
	const path = place(t);
	openJsonLog(path)?.('{"first":1}\n');
	t.is(statSync(path).mode & 0o777, 0o600);
	openJsonLog(path)?.('{"second":2}\n');
	t.is(readFileSync(path, 'utf8'), '{"first":1}\n{"second":2}\n');
});

test('openJsonLog goes on in a file that was copied and truncated', t => {
	const path = place(t);
	const log = openJsonLog(path);
	log?.('before\n');
	writeFileSync(path, '');
	log?.('after\n');
	t.is(readFileSync(path, 'utf8'), 'after\n');
});

test('openJsonLog sends a datagram for each record', t => {
	const path = place(t);
	const {fd} = namedSocket(t, path, SOCK_DGRAM);
	const log = openJsonLog(path);
	log?.('one\n');
	log?.('two\n');
	for (const record of ['one\n', 'two\n']) {
		t.is(Buffer.from(buffer.bytes.subarray(0, readStream(fd))).toString(), record);
	}
});

test('openJsonLog waits for no reader of a pipe: it loses records, whole ones, and says how many', t => {
	const path = place(t);
	execFileSync('mkfifo', [path]);
	const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
	t.teardown(() => closeSync(reader));
	const log = openJsonLog(path);
	const record = `${'x'.repeat(999)}\n`;
	for (let count = 0; count < 100; count++) {
		log?.(record);
	}

	/* A record about losses is short: it can find room where the next record does not. */
	const before = contents(reader);
	log?.('after\n');
	const lines = `${before}${contents(reader)}`.split('\n');
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

const refuses = test.macro({
	exec(t, pathIn: (path: string) => string, reason: RegExp) {
		const said: string[] = [];
		openLog({send: (_severity, label, text) => said.push(label + text)});
		const before = openDescriptors();
		const path = pathIn(place(t));
		t.is(openJsonLog(path), undefined);
		t.is(openDescriptors(), before);
		t.is(said.length, 1);
		t.true(said[0]?.startsWith(`warning: cannot open json_log ${path}: `));
		t.regex(said[0] ?? '', reason);
	},
	title(what = '') {
		return `openJsonLog refuses ${what}, with a warning`;
	},
});

test.serial('a directory that does not exist', refuses, path => join(path, 'log'), /ENOENT/);
test.serial('a directory', refuses, path => join(path, '..'), /EISDIR/);
test.serial('a device', refuses, () => '/dev/null', /neither file nor named pipe nor socket/);
test.serial(
	'a pipe that nobody reads',
	refuses,
	path => {
		execFileSync('mkfifo', [path]);
		return path;
	},
	/ENXIO/,
);
