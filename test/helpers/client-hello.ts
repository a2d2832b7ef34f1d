/*
 * A ClientHello without what is random in it: what a server can tell programs
 * apart by. RFC 8446 section 4.1.2.
 */

/** What a client offers. */
export interface ClientHello {
	readonly version: number;
	readonly sessionIdLength: number;
	readonly ciphers: string;
	readonly compression: string;
	/** In order: number and content, hexadecimal, but for those that are random or as long as it takes. */
	readonly extensions: readonly string[];
}

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const PADDING = 21;
const PRE_SHARED_KEY = 41;
const SESSION_TICKET = 35;
const KEY_SHARE = 51;

/** Parses the first record of a client; undefined when it is no ClientHello. */
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
	while (list.left > 0) {
		const type = list.number(2);
		extensions.push(`${type} ${describe(type, list.vector(2))}`);
	}

	return {version, sessionIdLength, ciphers, compression, extensions};
}

/* Takes bytes off the front. */
class Reader {
	#rest: Buffer;

	constructor(bytes: Buffer) {
		this.#rest = bytes;
	}

	get left(): number {
		return this.#rest.length;
	}

	take(size: number): Buffer {
		const taken = this.#rest.subarray(0, size);
		this.#rest = this.#rest.subarray(size);
		return taken;
	}

	number(size: number): number {
		return this.take(size).readUIntBE(0, size);
	}

	/** A length of that many bytes, and what it says. */
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

/* Which groups, without the keys. */
function groupsOf(content: Buffer): string {
	const groups: string[] = [];
	for (let at = 2; at < content.length; at += 4 + content.readUInt16BE(at + 2)) {
		groups.push(content.toString('hex', at, at + 2));
	}

	return groups.join(' ');
}
