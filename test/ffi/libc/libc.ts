import {spawnSync} from 'node:child_process';
import {constants} from 'node:os';
import test from 'ava';
import type {Fd} from '../../../src/base/units.ts';
import {
	AF_UNIX,
	allocate,
	close,
	connect,
	EPOLL_CLOEXEC,
	EPOLL_CTL_ADD,
	EPOLL_EVENT_DATA,
	EPOLL_EVENT_SIZE,
	EPOLLIN,
	epoll_create1,
	epoll_ctl,
	epoll_wait,
	errno,
	errorNumber,
	read,
	SOCK_STREAM,
	send,
	setCloseOnExec,
	setNonBlocking,
	socket,
	strerror,
	unixAddress,
	write,
} from '../../../src/ffi/libc/libc.ts';
import {flagsOf, openDescriptors, socketPair} from '../../helpers/descriptors.ts';

const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

test('allocate returns zeroed memory that C and JavaScript share', t => {
	const [mine, theirs] = socketPair(t);
	const memory = allocate(64);
	t.deepEqual(memory.bytes, new Uint8Array(64));
	t.is(write(theirs.fd, Buffer.from('seen'), 4), 4);
	t.is(read(mine.fd, memory.address, 64), 4);
	t.is(Buffer.from(memory.bytes.subarray(0, 5)).toString(), 'seen\0');
	t.is(memory.view.getUint32(0, true), 0x6e656573);
});

test('allocate does not return the same memory twice', t => {
	const [one, other] = [allocate(16), allocate(16)];
	one.bytes.fill(1);
	t.deepEqual(other.bytes, new Uint8Array(16));
	t.not(one.address, other.address);
});

test('errno is the reason why the last call failed, and strerror is its text', t => {
	t.is(close(-1 as Fd), -1);
	t.is(errno(), constants.errno.EBADF);
	t.is(strerror(errno()), 'Bad file descriptor');
	t.is(strerror(constants.errno.ENOENT), 'No such file or directory');
});

for (const [name, number] of Object.entries(constants.errno)) {
	/* Node.js lists some names that this system does not have. */
	if (['EAGAIN', 'EBADF', 'ECONNABORTED', 'EINTR', 'EMFILE', 'ENFILE', 'EPROTO', 'ENETDOWN'].includes(name)) {
		test(`errorNumber returns the number of ${name}`, t => {
			t.is(errorNumber(name), number);
		});
	}
}

test('errorNumber returns -1 for an unknown name', t => {
	t.is(errorNumber('ENONSENSE'), -1);
});

test('setNonBlocking and setCloseOnExec set one flag each', t => {
	const before = openDescriptors();
	const fd = socket(AF_UNIX, SOCK_STREAM, 0) as Fd;
	const fresh = flagsOf(fd);
	t.is(fresh & (O_NONBLOCK | O_CLOEXEC), 0);
	setNonBlocking(fd);
	t.is(flagsOf(fd), fresh | O_NONBLOCK);
	setCloseOnExec(fd);
	t.is(flagsOf(fd), fresh | O_NONBLOCK | O_CLOEXEC);
	close(fd);
	t.is(openDescriptors(), before);
});

test('epoll_wait stores the data at EPOLL_EVENT_DATA', t => {
	const [mine, theirs] = socketPair(t);
	const epoll = epoll_create1(EPOLL_CLOEXEC) as Fd;
	const event = allocate(16);
	const events = allocate(2 * EPOLL_EVENT_SIZE);
	event.view.setUint32(0, EPOLLIN, true);
	event.view.setUint32(EPOLL_EVENT_DATA, 0x12345678, true);
	event.view.setUint32(EPOLL_EVENT_DATA + 4, 0x9abcdef0, true);
	t.is(epoll_ctl(epoll, EPOLL_CTL_ADD, mine.fd, event.address), 0);
	t.is(epoll_wait(epoll, events.address, 2, 0), 0);
	send(theirs.fd, Buffer.from('x'), 1, 0);
	t.is(epoll_wait(epoll, events.address, 2, 0), 1);
	t.is(events.view.getUint32(0, true), EPOLLIN);
	t.is(events.view.getUint32(EPOLL_EVENT_DATA, true), 0x12345678);
	t.is(events.view.getUint32(EPOLL_EVENT_DATA + 4, true), 0x9abcdef0);
	close(epoll);
});

test('unixAddress returns the family, and the path with a NUL', t => {
	const address = unixAddress('/run/x') ?? new Uint8Array();
	t.is(Buffer.from(address.subarray(0, 9)).toString('latin1'), '\u0001\0/run/x\0');
	t.true(address.length > 64, 'V8 does not move an array of this size');
});

test('unixAddress accepts at most 107 bytes', t => {
	t.not(unixAddress('x'.repeat(107)), undefined);
	t.is(unixAddress('x'.repeat(108)), undefined);
	t.is(unixAddress('ü'.repeat(54)), undefined);
});

test('connect fails if the socket does not exist', t => {
	const fd = socket(AF_UNIX, SOCK_STREAM, 0) as Fd;
	const address = unixAddress('/nonexistent/socket') ?? new Uint8Array();
	t.is(connect(fd, address, address.length), -1);
	t.is(errno(), constants.errno.ENOENT);
	close(fd);
});

test('errno is correct after each of many calls', t => {
	for (let count = 0; count < 10_000; count++) {
		close(-1 as Fd);
		if (errno() !== constants.errno.EBADF) {
			t.fail(`errno ${errno()} after ${count} calls`);
			return;
		}
	}

	t.pass();
});

test('libc is the GNU C library, whose structures scm-rights(3) uses', t => {
	t.regex(spawnSync('getconf', ['GNU_LIBC_VERSION'], {encoding: 'utf8'}).stdout, /^glibc 2\./);
});
