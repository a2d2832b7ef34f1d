import test from 'ava';
import fc from 'fast-check';
import {PeerError} from '../../src/base/errors.ts';
import {AttributeFramer, type AttributeList, printList} from '../../src/wire/attribute-list.ts';

const text = fc
	.array(fc.integer({min: 1, max: 255}), {maxLength: 700})
	.map(bytes => Buffer.from(bytes).toString('latin1'));
const name = text.filter(some => some !== '');
const lists = fc.array(fc.tuple(name, text), {maxLength: 20});

/** What comes out of a stream that arrives in pieces. */
function framed(pieces: readonly Uint8Array[]): readonly AttributeList[] {
	const framer = new AttributeFramer();
	const found: AttributeList[] = [];
	for (let rest of pieces) {
		for (;;) {
			const one = framer.push(rest);
			if (one === undefined) {
				break;
			}

			found.push(one.list);
			rest = rest.subarray(one.taken);
		}
	}

	return found;
}

test('lists are the same however the stream is cut, and whatever follows', t => {
	fc.assert(
		fc.property(lists, lists, fc.array(fc.nat(30_000)), (one, other, cuts) => {
			const stream = Buffer.concat([printList(one), printList(other)]);
			const places = [0, ...cuts.map(at => at % (stream.length + 1)), stream.length].toSorted(
				(a, b) => a - b,
			);
			const pieces = places.slice(1).map((end, index) => stream.subarray(places[index], end));
			t.deepEqual(framed(pieces), [one, other]);
		}),
	);
});

/* Where the first bytes that are decoded end, and what is around that. */
for (const size of [250, 253, 254, 255, 256, 257, 258, 511, 512, 513]) {
	test(`a list of ${size} bytes ends where it ends`, t => {
		const list = [['name', 'x'.repeat(size - 7)]] as const;
		const bytes = printList(list);
		t.is(bytes.length, size);
		t.deepEqual(new AttributeFramer().push(bytes), {list, taken: size});
		t.deepEqual(new AttributeFramer().push(Buffer.concat([bytes, bytes])), {list, taken: size});
	});
}

test('pending is true from the first byte of a list to its last', t => {
	const framer = new AttributeFramer();
	t.false(framer.pending);
	framer.push(Buffer.from('a'));
	t.true(framer.pending);
	framer.push(Buffer.from('\0b\0'));
	t.true(framer.pending);
	framer.push(Buffer.from('\0c'));
	t.false(framer.pending);
});

const LIMIT = 65_536;

test('a value may be as long as the limit, and not longer, in one piece or in many', t => {
	const bytes = Buffer.from(`name\0${'x'.repeat(LIMIT)}\0\0`, 'latin1');
	t.is(new AttributeFramer().push(bytes)?.list[0]?.[1].length, LIMIT);
	const long = Buffer.from(`name\0${'x'.repeat(LIMIT + 1)}`, 'latin1');
	const complaint = {instanceOf: PeerError, message: `attribute name or value exceeds ${LIMIT} bytes`};
	t.throws(() => new AttributeFramer().push(long), complaint);
	const framer = new AttributeFramer();
	framer.push(long.subarray(0, -1));
	t.throws(() => framer.push(long.subarray(-1)), complaint);
});

test('a list may have no more than 4096 attributes', t => {
	const framer = new AttributeFramer();
	t.is(framer.push(Buffer.from('a\0b\0'.repeat(4096))), undefined);
	t.throws(() => framer.push(Buffer.from('\0')), {
		instanceOf: PeerError,
		message: 'attribute list exceeds 1048576 bytes or 4096 attributes',
	});
});

test('a list may not be longer than a mebibyte', t => {
	const framer = new AttributeFramer();
	const attribute = Buffer.from(`a\0${'x'.repeat(LIMIT - 3)}\0`);
	for (let index = 0; index < 16; index++) {
		t.is(framer.push(attribute), undefined);
	}

	t.throws(() => framer.push(Buffer.from('a')), {
		instanceOf: PeerError,
		message: 'attribute list exceeds 1048576 bytes or 4096 attributes',
	});
});
