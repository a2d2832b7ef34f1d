/*
 * The parts of a ClientHello that are not random. Source: RFC 8446, section 4.1.2. A server
 * could distinguish programs by them.
 */

/** The non-random contents of a ClientHello. */
export interface ClientHello {
	readonly version: number;
	readonly sessionIdLength: number;
	readonly ciphers: string;
	readonly compression: string;
	/** Number and content in hexadecimal, in their order. Content that is random, or padding, is left out. */
	readonly extensions: readonly string[];
}

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const PADDING = 21;
const PRE_SHARED_KEY = 41;
const SESSION_TICKET = 35;
const KEY_SHARE = 51;

/** Parses the first record of a client; undefined if it is not a ClientHello. */
export function parseClientHello(bytes: Buffer): ClientHello | undefined {
	if (bytes[0] !== HANDSHAKE || bytes[5] !== CLIENT_HELLO) {
		return undefined;
	}

	const hello = new Reader(bytes.subarray(9));
	const version = hello.number(2);
	hello.take(32);
	const sessionIdLength = hello.vector(1).length;
	const ciphers = hello.vector(2).toString('hex');
	const compression = hello.vector(1).toString('hex');
	const list = new Reader(hello.vector(2));
	const extensions: string[] = [];
	while (list.remaining > 0) {
		const type = list.number(2);
		extensions.push(`${type} ${describe(type, list.vector(2))}`);
	}

	return {version, sessionIdLength, ciphers, compression, extensions};
}

/* Reads fields from the front. */
class Reader {
	#remaining: Buffer;

	constructor(bytes: Buffer) {
		this.#remaining = bytes;
	}

	get remaining(): number {
		return this.#remaining.length;
	}

	take(size: number): Buffer {
		const taken = this.#remaining.subarray(0, size);
		this.#remaining = this.#remaining.subarray(size);
		return taken;
	}

	number(size: number): number {
		return this.take(size).readUIntBE(0, size);
	}

	/** A length of that many bytes, and the vector of this length. */
	vector(size: number): Buffer {
		return this.take(this.number(size));
	}
}

function describe(type: number, content: Buffer): string {
	switch (type) {
		case KEY_SHARE:
			return groupsOf(content);
		case PADDING:
		case PRE_SHARED_KEY:
		case SESSION_TICKET:
			return content.length === 0 ? 'empty' : 'present';
		default:
			return content.toString('hex');
	}
}

/* The groups, without the keys. */
function groupsOf(content: Buffer): string {
	const groups: string[] = [];
	for (let at = 2; at < content.length; at += 4 + content.readUInt16BE(at + 2)) {
		groups.push(content.toString('hex', at, at + 2));
	}

	return groups.join(' ');
}
