/*++
/* NAME
/*	attribute-list 3
/* SUMMARY
/*	decode and encode attribute lists
/* DESCRIPTION
/*	list      = *(name NUL value NUL) NUL
/*
/*	A list ends with an empty name. Lengths, types and escapes are not
/*	on the wire, and names can repeat: the meaning of a value depends
/*	on its position, see field(3).
/*
/*	Strings contain one character per byte, so that every byte is
/*	preserved. Text that is not ASCII must be decoded before it is
/*	shown.
/* DIAGNOSTICS
/*	PeerError: a list exceeds a limit. Panic: a name or value that is
/*	to be sent contains NUL.
/* SEE ALSO
/*	postfix src/util/attr_scan0.c, src/util/attr_print0.c
/*--*/

import {Panic, PeerError} from '../base/errors.ts';

/** Text as it is on the wire: one character per byte. */
export type WireText = string;

/** Attributes in the order received. */
export type AttributeList = ReadonlyArray<readonly [name: WireText, value: WireText]>;

/* Stock has no such limits, because it trusts its clients. Clients send less than 3 kilobytes. */
const VALUE_LIMIT = 65_536;
const LIST_LIMIT = 1_048_576;
const COUNT_LIMIT = 4096;

/*
 * Number of bytes that are decoded first. The list of a request is shorter than this, and the settings
 * that follow it in the same read begin with bytes that are known in most cases.
 */
const FIRST_PIECE_SIZE = 256;

/** Splits a byte stream into attribute lists. */
export class AttributeFramer {
	#list: Array<readonly [WireText, WireText]> = [];
	#name: WireText | undefined;
	/* The first part of a name or value of which the rest has not been received. */
	#partial = '';
	#size = 0;

	/** Whether a list has been received in part. */
	get pending(): boolean {
		return this.#size > 0;
	}

	/**
	 * Decodes received bytes up to the end of one list.
	 *
	 * @returns the list and the number of bytes that were used, or `undefined` if all bytes were used and the
	 * list is incomplete. The bytes after the list belong to the next message.
	 * @throws {PeerError} if the list exceeds a limit. Nothing beyond the limit is stored.
	 */
	push(bytes: Uint8Array): {readonly list: AttributeList; readonly taken: number} | undefined {
		const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
		const taken = this.#decode(buffer.toString('latin1', 0, FIRST_PIECE_SIZE));
		if (taken !== undefined) {
			return this.#complete(taken);
		}

		const more = this.#decode(buffer.toString('latin1', FIRST_PIECE_SIZE));
		return more === undefined ? undefined : this.#complete(FIRST_PIECE_SIZE + more);
	}

	/*
	 * Adds names and values to the list. A list has about a hundred strings: they are slices of one string,
	 * because decoding each of them takes a call into Node.js. Returns the number of characters that were
	 * used if the list is complete.
	 */
	#decode(whole: WireText): number | undefined {
		for (let at = 0; at < whole.length; ) {
			const end = whole.indexOf('\0', at);
			const stop = end < 0 ? whole.length : end;
			this.#account(stop - at, end < 0 ? 0 : 1);
			const piece = whole.slice(at, stop);
			const text = this.#partial === '' ? piece : this.#partial + piece;
			if (end < 0) {
				this.#partial = text;
				return undefined;
			}

			this.#partial = '';
			at = end + 1;
			if (this.#name !== undefined) {
				this.#list.push([this.#name, text]);
				this.#name = undefined;
			} else if (text === '') {
				return at;
			} else {
				this.#name = text;
			}
		}

		return undefined;
	}

	#complete(taken: number): {readonly list: AttributeList; readonly taken: number} {
		const list = this.#list;
		this.#list = [];
		this.#size = 0;
		return {list, taken};
	}

	#account(length: number, terminator: number): void {
		this.#size += length + terminator;
		if (this.#partial.length + length > VALUE_LIMIT) {
			throw new PeerError(`attribute name or value exceeds ${VALUE_LIMIT} bytes`);
		}

		if (this.#size > LIST_LIMIT || this.#list.length >= COUNT_LIMIT) {
			throw new PeerError(`attribute list exceeds ${LIST_LIMIT} bytes or ${COUNT_LIMIT} attributes`);
		}
	}
}

/**
 * Encodes a list.
 *
 * @throws {Panic} if a name is empty, or a name or value contains NUL: the receiver would decode another list.
 */
export function printList(list: AttributeList): Uint8Array {
	const texts: string[] = [];
	/* Indexed, not destructured: the interpreter of V8 makes an iterator for each array pattern. */
	for (const attribute of list) {
		const name = attribute[0];
		const value = attribute[1];
		if (name === '' || name.includes('\0') || value.includes('\0')) {
			throw new Panic(`attribute ${name} cannot be encoded`);
		}

		texts.push(name, value);
	}

	texts.push('', '');
	return Buffer.from(texts.join('\0'), 'latin1');
}
