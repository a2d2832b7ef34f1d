/*
 * A log daemon that is stopped, or slower than a process that logs, must not block the
 * process. The receiver of these tests accepts net.unix.max_dgram_qlen records, until it reads.
 */
import {unlinkSync} from 'node:fs';
import {mock} from 'node:test';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import type {Milliseconds} from '../../src/base/units.ts';
import {RECORD_COUNT_LIMIT, RecordSocket} from '../../src/log/record-socket.ts';
import {receiver} from '../helpers/syslog.ts';

const LOSS = / lost$/;

/** A socket, and a function that sends a text. */
function open(path: string): {readonly socket: RecordSocket; readonly send: (text: string) => void} {
	const socket = new RecordSocket(path, count => Buffer.from(`${count} lost`));
	return {
		socket,
		send(text) {
			const record = Buffer.from(text);
			socket.send(record, record.length);
		},
	};
}

function numbers(count: number, first = 0): readonly string[] {
	return Array.from({length: count}, (_, index) => `record ${first + index}`);
}

/** Reads records until one is the last. */
async function readUpTo(
	t: ExecutionContext,
	records: () => readonly string[],
	last: string | RegExp,
): Promise<readonly string[]> {
	const found: string[] = [];
	const start = performance.now();
	const isLast = (text: string | undefined): boolean =>
		text !== undefined && (typeof last === 'string' ? text === last : last.test(text));
	while (!isLast(found.at(-1))) {
		if (performance.now() - start > 60_000) {
			t.fail(`no record ${String(last)} after ${found.length} records, last: ${found.at(-1)}`);
			break;
		}

		found.push(...records());
		/* The retry timer runs meanwhile. */
		await delay(1);
	}

	return found;
}

test('records that the receiver does not read are queued, and arrive in order without another record', async t => {
	const {path, records} = receiver(t);
	const {send} = open(path);
	const sent = numbers(2000);
	for (const text of sent) {
		send(text);
	}

	t.deepEqual(await readUpTo(t, records, 'record 1999'), sent);
});

test('a new record is sent after the queued ones', async t => {
	const {path, records} = receiver(t);
	const {send} = open(path);
	const sent = numbers(3000);
	const found: string[] = [];
	/* The receiver reads sometimes, and the event loop, with the retry timer, does not run. */
	for (const [index, text] of sent.entries()) {
		send(text);
		if (index % 7 === 0) {
			found.push(...records());
		}
	}

	found.push(...(await readUpTo(t, records, 'record 2999')));
	t.deepEqual(found, sent);
});

test('when the queue is full, records are lost, and one record has their number', async t => {
	const {path, records} = receiver(t);
	const {send} = open(path);
	const total = 2 * RECORD_COUNT_LIMIT;
	for (const text of numbers(total)) {
		send(text);
	}

	const found = await readUpTo(t, records, LOSS);
	const sent = found.slice(0, -1);
	t.true(sent.length >= RECORD_COUNT_LIMIT);
	t.deepEqual(sent, numbers(sent.length));
	t.is(found.at(-1), `${total - sent.length} lost`);
	send('next');
	t.deepEqual(await readUpTo(t, records, 'next'), ['next']);
});

test('the queue is limited in bytes', async t => {
	const {path, records} = receiver(t);
	const {send} = open(path);
	const long = 'x'.repeat(4000);
	for (const text of numbers(1000)) {
		send(`${text} ${long}`);
	}

	const found = await readUpTo(t, records, LOSS);
	const bytes = (found.length - 1) * 4000;
	t.true(bytes < 1_200_000, `${bytes} bytes`);
	t.true(bytes > 1_000_000, `${bytes} bytes`);
	t.is(found.at(-1), `${1000 - (found.length - 1)} lost`);
});

test('records are lost while there is no receiver; the next one is preceded by their number', t => {
	const first = receiver(t);
	const {send} = open(first.path);
	send('a');
	t.deepEqual(first.records(), ['a']);
	first.close();
	send('b');
	unlinkSync(first.path);
	send('c');
	const second = receiver(t, first.directory);
	send('d');
	send('e');
	t.deepEqual(second.records(), ['2 lost', 'd', 'e']);
});

test('drain waits until the receiver has read, or for its limit', t => {
	const {path, records} = receiver(t);
	const {socket, send} = open(path);
	const sent = numbers(50);
	for (const text of sent) {
		send(text);
	}

	const start = performance.now();
	socket.drain(200 as Milliseconds);
	t.true(performance.now() - start >= 199);
	const found: string[] = [];
	/* Each round reads what the last drain could send. */
	for (let round = 0; round < 50; round++) {
		found.push(...records());
		socket.drain(0 as Milliseconds);
	}

	t.deepEqual(found, sent);
	const idle = performance.now();
	socket.drain(60_000 as Milliseconds);
	t.true(performance.now() - idle < 30_000);
});

test.serial('a timer runs only while records are queued', async t => {
	const timers = mock.method(globalThis, 'setTimeout');
	t.teardown(() => timers.mock.restore());
	const {path, records} = receiver(t);
	const {send} = open(path);
	for (let index = 0; index < 20; index++) {
		send(`read at once ${index}`);
		t.is(records().length, 1);
	}

	t.is(timers.mock.callCount(), 0);
	for (const text of numbers(100)) {
		send(text);
	}

	t.is(timers.mock.callCount(), 1);
	await readUpTo(t, records, 'record 99');
	/* The last timer may be running still. */
	await delay(1000);
	const count = timers.mock.callCount();
	await delay(1000);
	t.is(timers.mock.callCount(), count);
});
