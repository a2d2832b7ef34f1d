import test from 'ava';
import type {Fd} from '../../../src/base/units.ts';
import {close, errorNumber, read, send} from '../../../src/ffi/libc/libc.ts';
import {receiveDescriptors} from '../../../src/ffi/libc/scm-rights.ts';
import {flagsOf, openDescriptors, referenceOf, socketPair} from '../../helpers/descriptors.ts';
import {sendDescriptors} from '../../helpers/scm-rights.ts';

const O_CLOEXEC = 0o2000000;

/* The control data has space for twelve. The kernel installs those that fit and drops the others. */
for (const [count, installed, truncated] of [
	[0, 0, false],
	[1, 1, false],
	[2, 2, false],
	[3, 3, false],
	[12, 12, false],
	[13, 12, true],
	[20, 12, true],
] as const) {
	test.serial(
		`receiveDescriptors receives ${installed} of ${count} descriptors${truncated ? ' and reports the truncation' : ''}`,
		t => {
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
			const received = receiveDescriptors(mine.fd);
			t.is(received.result, 1);
			t.is(received.truncated, truncated);
			t.is(received.descriptors.length, installed);
			t.is(openDescriptors(), before + installed);
			for (const fd of received.descriptors) {
				t.is(referenceOf(fd), referenceOf(passed.fd));
				t.is(flagsOf(fd) & O_CLOEXEC, O_CLOEXEC);
				close(fd);
			}

			t.is(openDescriptors(), before);
		},
	);
}

test('receiveDescriptors receives different descriptors in order', t => {
	const [mine, theirs] = socketPair(t);
	const [one, other] = socketPair(t);
	sendDescriptors(theirs.fd, [one.fd, other.fd]);
	const {descriptors} = receiveDescriptors(mine.fd);
	t.deepEqual(descriptors.map(referenceOf), [referenceOf(one.fd), referenceOf(other.fd)]);
	for (const fd of descriptors) {
		close(fd);
	}
});

test('receiveDescriptors does not return descriptors of an earlier message', t => {
	const [mine, theirs] = socketPair(t);
	sendDescriptors(theirs.fd, [mine.fd, mine.fd]);
	for (const fd of receiveDescriptors(mine.fd).descriptors) {
		close(fd);
	}

	send(theirs.fd, Buffer.from('x'), 1, 0);
	t.deepEqual(receiveDescriptors(mine.fd), {result: 1, error: 0, truncated: false, descriptors: []});
	theirs.close();
	t.deepEqual(receiveDescriptors(mine.fd), {result: 0, error: 0, truncated: false, descriptors: []});
});

test('receiveDescriptors receives one byte per call', t => {
	const [mine, theirs] = socketPair(t);
	send(theirs.fd, Buffer.from('abc'), 3, 0);
	t.is(receiveDescriptors(mine.fd).result, 1);
	const rest = new Uint8Array(128);
	t.is(read(mine.fd, rest, rest.length), 2);
	t.is(rest[0], 'b'.charCodeAt(0));
});

test('receiveDescriptors returns the error of a failure', t => {
	const [mine] = socketPair(t);
	t.deepEqual(receiveDescriptors(mine.fd), {
		result: -1,
		error: errorNumber('EAGAIN'),
		truncated: false,
		descriptors: [],
	});
	const {result, error} = receiveDescriptors(-1 as Fd);
	t.deepEqual([result, error], [-1, errorNumber('EBADF')]);
});
