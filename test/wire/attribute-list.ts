import test from 'ava';
import fc from 'fast-check';
import {Panic, PeerError} from '../../src/base/errors.ts';
import {AttributeFramer, type AttributeList, printList} from '../../src/wire/attribute-list.ts';

const text = fc
	.array(fc.integer({min: 1, max: 255}), {maxLength: 700})
	.map(bytes => Buffer.from(bytes).toString('latin1'));
const name = text.filter(some => some !== '');
const lists = fc.array(fc.tuple(name, text), {maxLength: 20});

/** The lists in a stream that is received in pieces. */
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

test('lists do not depend on how the stream is split, or on what follows', t => {
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

/* Sizes around that of the first piece that is decoded, and its double. */
for (const size of [250, 253, 254, 255, 256, 257, 258, 511, 512, 513]) {
	test(`a list of ${size} bytes is decoded to its end and no further`, t => {
		const list = [['name', 'x'.repeat(size - 7)]] as const;
		const bytes = printList(list);
		t.is(bytes.length, size);
		t.deepEqual(new AttributeFramer().push(bytes), {list, taken: size});
		t.deepEqual(new AttributeFramer().push(Buffer.concat([bytes, bytes])), {list, taken: size});
	});
}

test('pending is true after the first byte of a list and until its last byte', t => {
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

test('a value can be as long as the limit but not longer, in one piece or in several', t => {
	const bytes = Buffer.from(`name\0${'x'.repeat(LIMIT)}\0\0`, 'latin1');
	t.is(new AttributeFramer().push(bytes)?.list[0]?.[1].length, LIMIT);
	const long = Buffer.from(`name\0${'x'.repeat(LIMIT + 1)}`, 'latin1');
	const expected = {instanceOf: PeerError, message: `attribute name or value exceeds ${LIMIT} bytes`};
	t.throws(() => new AttributeFramer().push(long), expected);
	const framer = new AttributeFramer();
	framer.push(long.subarray(0, -1));
	t.throws(() => framer.push(long.subarray(-1)), expected);
});

test('a list can have at most 4096 attributes', t => {
	const framer = new AttributeFramer();
	t.is(framer.push(Buffer.from('a\0b\0'.repeat(4096))), undefined);
	t.throws(() => framer.push(Buffer.from('\0')), {
		instanceOf: PeerError,
		message: 'attribute list exceeds 1048576 bytes or 4096 attributes',
	});
});

test('a list can be at most 1 MiB long', t => {
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

test('names and values that would end a list are not encoded', t => {
	for (const list of [[['', 'value']], [['na\0me', 'value']], [['name', 'val\0ue']]] as const) {
		t.throws(() => printList(list), {
			instanceOf: Panic,
			message: `attribute ${list[0][0]} cannot be encoded`,
		});
	}
});
