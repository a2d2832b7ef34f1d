import test, {type ExecutionContext} from 'ava';
import {buffer, readStream} from '../../src/event/stream.ts';
import {StatusChannel} from '../../src/master/status.ts';
import {socketPair} from '../helpers/descriptors.ts';

function channelFor(t: ExecutionContext) {
	const [mine, theirs] = socketPair(t);
	return {
		mine,
		theirs,
		channel: new StatusChannel(mine.fd, {pid: 0x1234, generation: 0o17, supervisor: undefined}),
		/** What master(8) reads, in hexadecimal digits. */
		said: (): string => {
			const size = readStream(theirs.fd);
			return Buffer.from(buffer.bytes.subarray(0, Math.max(size, 0))).toString('hex');
		},
	};
}

const TAKEN = '341200000f00000000000000';
const AVAILABLE = '341200000f00000001000000';

test('works reports taken and available, once', t => {
	const {channel, said} = channelFor(t);
	channel.works();
	t.is(said(), TAKEN + AVAILABLE);
	channel.works();
	t.is(said(), '');
});

test('tell says nothing before works', t => {
	const {channel, said} = channelFor(t);
	channel.tell(true);
	channel.tell(false);
	t.is(said(), '');
});

test('tell says what is news', t => {
	const {channel, said} = channelFor(t);
	channel.works();
	said();
	channel.tell(false);
	t.is(said(), '');
	channel.tell(true);
	channel.tell(true);
	t.is(said(), TAKEN);
	channel.tell(false);
	t.is(said(), AVAILABLE);
});

test('tell does not wait for a master(8) that does not read, and says it later', t => {
	const {channel, said, theirs} = channelFor(t);
	channel.works();
	for (let count = 0; count < 100_000; count++) {
		channel.tell(count % 2 === 0);
	}

	/* All that was said is whole. */
	let size = 0;
	for (let count = readStream(theirs.fd); count > 0; count = readStream(theirs.fd)) {
		size += count;
	}

	t.is(size % 12, 0);
	t.true(size > 24 && size < 100_000 * 12);
	channel.tell(false);
	channel.tell(true);
	t.true([TAKEN, AVAILABLE + TAKEN].includes(said()));
});

test('ended is true at the end of the channel, and not before', t => {
	const {channel, theirs} = channelFor(t);
	t.false(channel.ended());
	theirs.close();
	t.true(channel.ended());
	t.notThrows(() => channel.works());
});
