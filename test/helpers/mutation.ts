/* Malformed ClientHellos: valid ones with mutations from a random generator. The results depend on the seed only. */
import {RawTls, TLS1_2_VERSION, TLS1_3_VERSION} from './raw-tls.ts';

/** A random generator with a seed. */
export class Random {
	#state: number;

	constructor(seed: number) {
		this.#state = seed >>> 0;
	}

	/** A number from 0 to limit - 1. The algorithm is mulberry32. */
	below(limit: number): number {
		this.#state = (this.#state + 0x6d2b79f5) >>> 0;
		let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * limit);
	}

	pick<Item>(items: readonly Item[]): Item {
		const item = items[this.below(items.length)];
		if (item === undefined) {
			throw new Error('nothing to pick from');
		}

		return item;
	}

	bytes(size: number): Buffer {
		return Buffer.from(Array.from({length: size}, () => this.below(256)));
	}
}

/** Valid ClientHellos. */
export function goodHellos(): readonly Buffer[] {
	return [TLS1_3_VERSION, TLS1_2_VERSION, 0x302, 0x301].map(version => {
		using client = new RawTls(version);
		client.setServerName('mail.example.com');
		client.handshake();
		return client.take();
	});
}

/** Sizes of the record header and the handshake message header. Source: RFC 8446, sections 5.1 and 4. */
const RECORD_HEADER_SIZE = 5;
const MESSAGE_HEADER_SIZE = 4;

/** Boundary values of lengths and types. */
const edges = [0, 1, 2, 0x15, 0x16, 0x17, 0x7f, 0x80, 0xfe, 0xff];

type Mutation = (bytes: Buffer, random: Random) => Buffer;

const mutations: readonly Mutation[] = [
	/* Up to three bits are flipped. */
	(bytes, random) => {
		for (let count = 1 + random.below(3); count > 0; count--) {
			const at = random.below(bytes.length);
			bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.below(8)), at);
		}

		return bytes;
	},
	/* One byte gets a boundary value. */
	(bytes, random) => {
		bytes.writeUInt8(random.pick(edges), random.below(bytes.length));
		return bytes;
	},
	/* Two bytes, like most lengths, get a random value. */
	(bytes, random) => {
		bytes.writeUInt16BE(random.below(0x1_0000), random.below(bytes.length - 1));
		return bytes;
	},
	/* The end is cut off. */
	(bytes, random) => bytes.subarray(0, random.below(bytes.length)),
	/* Some bytes are removed. */
	(bytes, random) => {
		const at = random.below(bytes.length);
		return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(40))]);
	},
	/* Some bytes are repeated. */
	(bytes, random) => {
		const at = random.below(bytes.length);
		const piece = bytes.subarray(at, at + 1 + random.below(200));
		return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
	},
	/* Random bytes are inserted. */
	(bytes, random) => {
		const at = random.below(bytes.length);
		return Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.below(60)), bytes.subarray(at)]);
	},
	/* A range is filled with one value. */
	(bytes, random) => {
		const at = random.below(bytes.length);
		return bytes.fill(random.pick(edges), at, Math.min(at + 1 + random.below(64), bytes.length));
	},
];

/* Repairs the lengths of the record and the message, so that the parser reaches the contents. */
function repairLengths(bytes: Buffer): Buffer {
	if (
		bytes.length > RECORD_HEADER_SIZE + MESSAGE_HEADER_SIZE &&
		bytes.length - RECORD_HEADER_SIZE < 0x1_0000
	) {
		bytes.writeUInt8(0x16, 0);
		bytes.writeUInt8(3, 1);
		bytes.writeUInt16BE(bytes.length - RECORD_HEADER_SIZE, 3);
		bytes.writeUInt8(1, RECORD_HEADER_SIZE);
		bytes.writeUIntBE(bytes.length - RECORD_HEADER_SIZE - MESSAGE_HEADER_SIZE, RECORD_HEADER_SIZE + 1, 3);
	}

	return bytes;
}

/* Splits the message into small records. */
function split(bytes: Buffer, random: Random): Buffer {
	const size = 1 + random.below(100);
	const parts: Buffer[] = [];
	for (let at = RECORD_HEADER_SIZE; at < bytes.length; at += size) {
		const part = bytes.subarray(at, at + size);
		parts.push(Buffer.from([0x16, 3, random.below(5), part.length >> 8, part.length & 0xff]), part);
	}

	return Buffer.concat(parts);
}

/** A mutated ClientHello. */
export function mutate(hellos: readonly Buffer[], random: Random): Buffer {
	let bytes: Buffer = Buffer.from(random.pick(hellos));
	for (let count = 1 + random.below(4); count > 0 && bytes.length > 1; count--) {
		bytes = Buffer.from(random.pick(mutations)(bytes, random));
	}

	switch (random.below(6)) {
		case 0:
			return bytes;
		case 1:
			return split(repairLengths(bytes), random);
		case 2:
			/* A second ClientHello follows without an answer to the first. */
			return Buffer.concat([repairLengths(bytes), random.pick(hellos)]);
		default:
			return repairLengths(bytes);
	}
}
