import test, {type ExecutionContext} from 'ava';
import {buffer, readStream} from '../../src/event/stream.ts';
import {StatusChannel} from '../../src/master/status.ts';
import {socketPair} from '../helpers/descriptors.ts';

function channelFor(t: ExecutionContext) {
	const [mine, theirs] = socketPair(t);
	return {
		mine,
		theirs,
		channel: new StatusChannel(mine.fd, {
			pid: 0x1234,
			generation: 0o17,
			replacement: false,
			supervisor: undefined,
		}),
		/** Reads like master(8): reports in hexadecimal digits. */
		reported: (): string => {
			const size = readStream(theirs.fd);
			return Buffer.from(buffer.bytes.subarray(0, Math.max(size, 0))).toString('hex');
		},
	};
}

const TAKEN = '341200000f00000000000000';
const AVAILABLE = '341200000f00000001000000';

test('accepted reports taken and available, once', t => {
	const {channel, reported} = channelFor(t);
	channel.accepted();
	t.is(reported(), TAKEN + AVAILABLE);
	channel.accepted();
	t.is(reported(), '');
});

test('notify reports nothing before accepted', t => {
	const {channel, reported} = channelFor(t);
	channel.notify(true);
	channel.notify(false);
	t.is(reported(), '');
});

test('notify reports changes only', t => {
	const {channel, reported} = channelFor(t);
	channel.accepted();
	reported();
	channel.notify(false);
	t.is(reported(), '');
	channel.notify(true);
	channel.notify(true);
	t.is(reported(), TAKEN);
	channel.notify(false);
	t.is(reported(), AVAILABLE);
});

test('notify drops a report when the channel is full, and repeats it later', t => {
	const {channel, reported, theirs} = channelFor(t);
	channel.accepted();
	for (let count = 0; count < 100_000; count++) {
		channel.notify(count % 2 === 0);
	}

	/* Every report is complete. */
	let size = 0;
	for (let count = readStream(theirs.fd); count > 0; count = readStream(theirs.fd)) {
		size += count;
	}

	t.is(size % 12, 0);
	t.true(size > 24 && size < 100_000 * 12);
	channel.notify(false);
	channel.notify(true);
	t.true([TAKEN, AVAILABLE + TAKEN].includes(reported()));
});

test('ended is true at end-of-file of the channel, and not before', t => {
	const {channel, theirs} = channelFor(t);
	t.false(channel.ended());
	theirs.close();
	t.true(channel.ended());
	t.notThrows(() => channel.accepted());
});

test('a process that replaces another one reports itself as available at its start', t => {
	const [mine, theirs] = socketPair(t);
	const parent = {pid: 0x1234, generation: 0o17, replacement: true, supervisor: undefined};
	const channel = new StatusChannel(mine.fd, parent);
	const reported = (): string => {
		const size = readStream(theirs.fd);
		return Buffer.from(buffer.bytes.subarray(0, size)).toString('hex');
	};
	t.is(reported(), AVAILABLE);
	channel.accepted();
	t.is(reported(), TAKEN + AVAILABLE);
});

test('accepted notifies the supervisor, once', t => {
	const [status] = socketPair(t);
	const [mine, theirs] = socketPair(t);
	const supervisor = {toSupervisor: mine.fd, fromSupervisor: mine.fd};
	const parent = {pid: 0x1234, generation: 0o17, replacement: false, supervisor};
	const channel = new StatusChannel(status.fd, parent);
	channel.accepted();
	channel.accepted();
	const size = readStream(theirs.fd);
	t.is(Buffer.from(buffer.bytes.subarray(0, size)).toString(), 'accepted\n');
});
