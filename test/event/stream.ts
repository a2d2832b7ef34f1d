import {once} from 'node:events';
import {mkdtempSync} from 'node:fs';
import {rm} from 'node:fs/promises';
import {createServer, type Socket} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {END, FAILED, WANT_READ, WANT_WRITE} from '../../src/base/io-result.ts';
import type {Fd} from '../../src/base/units.ts';
import {
	acceptConnection,
	BUFFER_SIZE,
	buffer,
	connectUnix,
	ownFd,
	readStream,
	receiveDescriptor,
	writeStream,
} from '../../src/event/stream.ts';
import {
	AF_UNIX,
	close,
	connect,
	errorNumber,
	read,
	SOCK_CLOEXEC,
	SOCK_STREAM,
	send,
	socket,
	unixAddress,
} from '../../src/ffi/libc/libc.ts';
import {
	flagsOf,
	openDescriptors,
	referenceOf,
	socketPair,
	withoutDescriptors,
} from '../helpers/descriptors.ts';
import {sendDescriptors} from '../helpers/scm-rights.ts';

const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

test('readStream reads into the shared buffer', t => {
	const [mine, theirs] = socketPair(t);
	send(theirs.fd, Buffer.from('hello'), 5, 0);
	t.is(readStream(mine.fd), 5);
	t.is(Buffer.from(buffer.bytes.subarray(0, 5)).toString(), 'hello');
});

test('readStream reads at most BUFFER_SIZE bytes', t => {
	const [mine, theirs] = socketPair(t);
	const block = Buffer.alloc(BUFFER_SIZE + 1, 'z');
	let sent = 0;
	while (sent < block.length) {
		sent += send(theirs.fd, block, block.length - sent, 0);
	}

	let received = readStream(mine.fd);
	t.true(received <= BUFFER_SIZE);
	while (received < block.length) {
		const size = readStream(mine.fd);
		t.true(size > 0 && size <= BUFFER_SIZE);
		received += size;
	}

	t.is(received, block.length);
});

test('readStream returns WANT_READ without input', t => {
	const [mine] = socketPair(t);
	t.is(readStream(mine.fd), WANT_READ);
});

test('readStream returns END after the last data', t => {
	const [mine, theirs] = socketPair(t);
	send(theirs.fd, Buffer.from('x'), 1, 0);
	theirs.close();
	t.is(readStream(mine.fd), 1);
	t.is(readStream(mine.fd), END);
	t.is(readStream(mine.fd), END);
});

test('readStream and writeStream fail on a closed descriptor', t => {
	t.is(readStream(-1 as Fd), FAILED);
	t.is(writeStream(-1 as Fd, buffer.address, 1), FAILED);
});

test('writeStream writes from the shared buffer and from other bytes', t => {
	const [mine, theirs] = socketPair(t);
	buffer.bytes.set(Buffer.from('shared'));
	t.is(writeStream(mine.fd, buffer.address, 6), 6);
	t.is(writeStream(mine.fd, Buffer.from(' other bytes').subarray(0, 6), 6), 6);
	const block = Buffer.alloc(128);
	t.is(block.toString('latin1', 0, read(theirs.fd, block, block.length)), 'shared other');
});

test('writeStream writes until the socket buffer is full, then returns WANT_WRITE', t => {
	const [mine, theirs] = socketPair(t);
	let total = 0;
	let count = writeStream(mine.fd, buffer.address, BUFFER_SIZE);
	for (; count > 0; count = writeStream(mine.fd, buffer.address, BUFFER_SIZE)) {
		total += count;
	}

	t.is(count, WANT_WRITE);
	t.true(total > 0);
	const block = Buffer.alloc(BUFFER_SIZE);
	while (read(theirs.fd, block, block.length) > 0);
	t.true(writeStream(mine.fd, buffer.address, BUFFER_SIZE) > 0);
});

test('writeStream fails without SIGPIPE when the peer has closed', t => {
	const [mine, theirs] = socketPair(t);
	theirs.close();
	t.is(writeStream(mine.fd, buffer.address, 1), FAILED);
});

test('ownFd closes the descriptor once', t => {
	const [mine, theirs] = socketPair(t);
	const owned = mine.move();
	const taken = ownFd(owned.value);
	taken[Symbol.dispose]();
	t.is(readStream(theirs.fd), END);
	t.throws(() => taken.value);
});

test('receiveDescriptor returns one descriptor, non-blocking and close-on-exec', t => {
	const [mine, theirs] = socketPair(t);
	const [passed, other] = socketPair(t);
	t.is(sendDescriptors(theirs.fd, [passed.fd]), 1);
	passed.close();
	const result = receiveDescriptor(mine.fd);
	if (result.kind !== 'descriptor') {
		t.fail(result.kind);
		return;
	}

	t.is(flagsOf(result.fd.value) & (O_NONBLOCK | O_CLOEXEC), O_NONBLOCK | O_CLOEXEC);
	t.is(writeStream(result.fd.value, buffer.address, 1), 1);
	t.is(readStream(other.fd), 1);
	result.fd[Symbol.dispose]();
	t.is(readStream(other.fd), END);
});

test('receiveDescriptor makes a blocking descriptor non-blocking', t => {
	const [mine, theirs] = socketPair(t);
	const blocking = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) as Fd;
	sendDescriptors(theirs.fd, [blocking]);
	close(blocking);
	const result = receiveDescriptor(mine.fd);
	if (result.kind !== 'descriptor') {
		t.fail(result.kind);
		return;
	}

	t.is(flagsOf(result.fd.value) & O_NONBLOCK, O_NONBLOCK);
	result.fd[Symbol.dispose]();
});

test('receiveDescriptor reads one message and leaves the next', t => {
	const [mine, theirs] = socketPair(t);
	const [passed] = socketPair(t);
	sendDescriptors(theirs.fd, [passed.fd]);
	send(theirs.fd, Buffer.from('EHLO'), 4, 0);
	const result = receiveDescriptor(mine.fd);
	t.is(result.kind, 'descriptor');
	if (result.kind === 'descriptor') {
		result.fd[Symbol.dispose]();
	}

	t.is(readStream(mine.fd), 4);
});

test('receiveDescriptor returns want-read without input', t => {
	const [mine] = socketPair(t);
	t.deepEqual(receiveDescriptor(mine.fd), {kind: 'want-read'});
});

test('receiveDescriptor reports that the client has closed', t => {
	const [mine, theirs] = socketPair(t);
	theirs.close();
	t.deepEqual(receiveDescriptor(mine.fd), {kind: 'none', why: 'Connection closed by client'});
});

test('receiveDescriptor reports data without a descriptor', t => {
	const [mine, theirs] = socketPair(t);
	send(theirs.fd, Buffer.from('x'), 1, 0);
	t.deepEqual(receiveDescriptor(mine.fd), {kind: 'none', why: 'data without a descriptor'});
});

test.serial('receiveDescriptor reports that the process has no free descriptor', t => {
	const [mine, theirs] = socketPair(t);
	const [passed] = socketPair(t);
	sendDescriptors(theirs.fd, [passed.fd]);
	t.deepEqual(
		withoutDescriptors(() => receiveDescriptor(mine.fd)),
		{kind: 'none', why: 'Too many open files'},
	);
});

test('receiveDescriptor reports a broken connection', t => {
	t.deepEqual(receiveDescriptor(-1 as Fd), {kind: 'none', why: 'Connection reset by peer'});
});

for (const count of [2, 3, 12, 13, 20]) {
	test.serial(`receiveDescriptor refuses ${count} descriptors and closes all of them`, t => {
		const [mine, theirs] = socketPair(t);
		const [passed] = socketPair(t);
		const before = openDescriptors();
		t.is(
			sendDescriptors(
				theirs.fd,
				Array.from({length: count}, () => passed.fd),
			),
			1,
		);
		t.deepEqual(receiveDescriptor(mine.fd), {kind: 'none', why: 'more than one descriptor'});
		t.is(openDescriptors(), before);
	});
}

test('acceptConnection returns none, then a connection that is non-blocking and close-on-exec', async t => {
	const directory = mkdtempSync(join(tmpdir(), 'accept-'));
	t.teardown(() => rm(directory, {recursive: true}));
	const path = join(directory, 'socket');
	/* Node.js only binds and listens, and accepts nothing. */
	const server = createServer({pauseOnConnect: true}).listen(path);
	await once(server, 'listening');
	const listener = (server as unknown as {_handle: {fd: Fd; unref(): void}})._handle.fd;
	t.teardown(() => server.close());
	t.deepEqual(acceptConnection(listener), {kind: 'none'});

	const client = ownFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) as Fd);
	const address = unixAddress(path) ?? new Uint8Array();
	t.is(connect(client.value, address, address.length), 0);
	const accepted = acceptConnection(listener);
	if (accepted.kind !== 'connection') {
		t.fail(accepted.kind);
		return;
	}

	t.regex(referenceOf(accepted.fd.value), /^socket:/);
	t.is(flagsOf(accepted.fd.value) & (O_NONBLOCK | O_CLOEXEC), O_NONBLOCK | O_CLOEXEC);
	t.is(writeStream(accepted.fd.value, buffer.address, 1), 1);
	t.is(readStream(client.value), 1);
	accepted.fd[Symbol.dispose]();
	t.is(readStream(client.value), END);
	client[Symbol.dispose]();
});

test('connectUnix returns a connection that is non-blocking and close-on-exec', async t => {
	const directory = mkdtempSync(join(tmpdir(), 'connect-'));
	t.teardown(() => rm(directory, {recursive: true}));
	const path = join(directory, 'socket');
	const server = createServer().listen(path);
	t.teardown(() => server.close());
	await once(server, 'listening');
	const connected = connectUnix(path);
	if (typeof connected === 'string') {
		t.fail(connected);
		return;
	}

	t.is(flagsOf(connected.value) & (O_NONBLOCK | O_CLOEXEC), O_NONBLOCK | O_CLOEXEC);
	t.is(readStream(connected.value), WANT_READ);
	const [peer] = (await once(server, 'connection')) as [Socket];
	peer.end('x');
	await once(peer, 'finish');
	t.is(readStream(connected.value), 1);
	t.is(readStream(connected.value), END);
	connected[Symbol.dispose]();
});

const connectFails = test.macro<[what: string, path: string, why: string]>({
	exec(t, _, path, why) {
		const before = openDescriptors();
		t.is(connectUnix(path), why);
		t.is(openDescriptors(), before);
	},
	title(_, what) {
		return `connectUnix returns the reason of a failure, and leaves no descriptor open: ${what}`;
	},
});
test.serial(connectFails, 'no such file', '/nowhere/socket', 'No such file or directory');
test.serial(connectFails, 'not a socket', import.meta.filename, 'Connection refused');
test.serial(connectFails, 'the longest path', `/${'x'.repeat(106)}`, 'No such file or directory');
test.serial(connectFails, 'a longer path', `/${'x'.repeat(107)}`, 'File name too long');

test('acceptConnection reports the error number when the descriptor cannot listen', t => {
	const [mine] = socketPair(t);
	t.deepEqual(acceptConnection(mine.fd), {kind: 'error', code: errorNumber('EINVAL')});
	t.deepEqual(acceptConnection(-1 as Fd), {kind: 'error', code: errorNumber('EBADF')});
});
