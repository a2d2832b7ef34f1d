/*
 * ClientHellos as they should not be: good ones, made worse by a random generator
 * whose results depend on a seed and on nothing else.
 */
import {RawTls, TLS1_2_VERSION, TLS1_3_VERSION} from './raw-tls.ts';

/** A source of numbers that are the same for the same seed. */
export class Random {
	#state: number;

	constructor(seed: number) {
		this.#state = seed >>> 0;
	}

	/** From zero up to, and without, a limit. This is the generator called mulberry32. */
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

/** First flights of clients that play by the rules. */
export function goodHellos(): readonly Buffer[] {
	return [TLS1_3_VERSION, TLS1_2_VERSION, 0x302, 0x301].map(version => {
		using client = new RawTls(version);
		client.setServerName('mail.example.com');
		client.handshake();
		return client.take();
	});
}

/** Bytes of a record's head, and of a message's. Source: RFC 8446, sections 5.1 and 4. */
const RECORD_HEAD = 5;
const MESSAGE_HEAD = 4;

/** Values at which lengths and types go wrong. */
const edges = [0, 1, 2, 0x15, 0x16, 0x17, 0x7f, 0x80, 0xfe, 0xff];

type Mutation = (bytes: Buffer, random: Random) => Buffer;

const mutations: readonly Mutation[] = [
	/* One bit, or some. */
	(bytes, random) => {
		for (let count = 1 + random.below(3); count > 0; count--) {
			const at = random.below(bytes.length);
			bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.below(8)), at);
		}

		return bytes;
	},
	/* One byte of the part that has lengths. */
	(bytes, random) => {
		bytes.writeUInt8(random.pick(edges), random.below(bytes.length));
		return bytes;
	},
	/* Two bytes: most lengths. */
	(bytes, random) => {
		bytes.writeUInt16BE(random.below(0x1_0000), random.below(bytes.length - 1));
		return bytes;
	},
	/* The end is missing. */
	(bytes, random) => bytes.subarray(0, random.below(bytes.length)),
	/* Something is missing in the middle. */
	(bytes, random) => {
		const at = random.below(bytes.length);
		return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(40))]);
	},
	/* Something is there twice. */
	(bytes, random) => {
		const at = random.below(bytes.length);
		const piece = bytes.subarray(at, at + 1 + random.below(200));
		return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
	},
	/* Something is there that does not belong there. */
	(bytes, random) => {
		const at = random.below(bytes.length);
		return Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.below(60)), bytes.subarray(at)]);
	},
	/* A run of one byte. */
	(bytes, random) => {
		const at = random.below(bytes.length);
		return bytes.fill(random.pick(edges), at, Math.min(at + 1 + random.below(64), bytes.length));
	},
];

/* Lengths of the record and of the message are right again, so that what is inside is looked at. */
function mend(bytes: Buffer): Buffer {
	if (bytes.length > RECORD_HEAD + MESSAGE_HEAD && bytes.length - RECORD_HEAD < 0x1_0000) {
		bytes.writeUInt8(0x16, 0);
		bytes.writeUInt8(3, 1);
		bytes.writeUInt16BE(bytes.length - RECORD_HEAD, 3);
		bytes.writeUInt8(1, RECORD_HEAD);
		bytes.writeUIntBE(bytes.length - RECORD_HEAD - MESSAGE_HEAD, RECORD_HEAD + 1, 3);
	}

	return bytes;
}

/* The message in records of a few bytes each. */
function split(bytes: Buffer, random: Random): Buffer {
	const size = 1 + random.below(100);
	const parts: Buffer[] = [];
	for (let at = RECORD_HEAD; at < bytes.length; at += size) {
		const part = bytes.subarray(at, at + size);
		parts.push(Buffer.from([0x16, 3, random.below(5), part.length >> 8, part.length & 0xff]), part);
	}

	return Buffer.concat(parts);
}

/** A hello that went wrong. The same for the same hellos and the same random numbers. */
export function mutate(hellos: readonly Buffer[], random: Random): Buffer {
	let bytes: Buffer = Buffer.from(random.pick(hellos));
	for (let count = 1 + random.below(4); count > 0 && bytes.length > 1; count--) {
		bytes = Buffer.from(random.pick(mutations)(bytes, random));
	}

	switch (random.below(6)) {
		case 0:
			return bytes;
		case 1:
			return split(mend(bytes), random);
		case 2:
			/* And another, as if the first had been answered. */
			return Buffer.concat([mend(bytes), random.pick(hellos)]);
		default:
			return mend(bytes);
	}
}
