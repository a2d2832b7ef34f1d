/*++
/* NAME
/*	attribute-list 3
/* SUMMARY
/*	bytes to attribute lists, and back
/* DESCRIPTION
/*	list      = *(name NUL value NUL) NUL
/*
/*	A list ends with an empty name. There is no length, no type, no
/*	escape, and names repeat: what a value means follows from its
/*	place, which is the business of field(3).
/*
/*	Strings are binary: one character per byte, so that every byte
/*	comes out as it went in. Text for people has to be decoded first.
/* DIAGNOSTICS
/*	PeerError: a list exceeds the limits. Panic: a value that is to be
/*	sent contains NUL.
/* SEE ALSO
/*	postfix src/util/attr_scan0.c, src/util/attr_print0.c
/*--*/

import {Panic, PeerError} from '../base/errors.ts';

/** Text as it is on the wire: one character per byte. */
export type WireText = string;

/** Attributes in the order received. */
export type AttributeList = ReadonlyArray<readonly [name: WireText, value: WireText]>;

/*
 * Limits of our own: the C program trusts its local clients and has none. What
 * clients send is below 3 kilobytes.
 */
const VALUE_LIMIT = 65_536;
const LIST_LIMIT = 1_048_576;
const COUNT_LIMIT = 4096;

/**
 * Bytes that are decoded first. The list of a request is shorter, and the settings that come with it are
 * mostly known already.
 */
const FIRST_PIECE = 256;

/** Cuts a byte stream into attribute lists. */
export class AttributeFramer {
	#list: Array<readonly [WireText, WireText]> = [];
	#name: WireText | undefined;
	/* The beginning of a name or value whose end has not come yet. */
	#partial = '';
	#size = 0;

	/** Whether a list has begun and not ended. */
	get pending(): boolean {
		return this.#size > 0;
	}

	/**
	 * Takes the next bytes up to the end of one list.
	 *
	 * @returns the list and how many bytes it took, or `undefined` when all bytes are taken and the list
	 * goes on. Bytes behind the list belong to whatever comes next.
	 * @throws {PeerError} when the list exceeds a limit, before what exceeds it is stored.
	 */
	push(bytes: Uint8Array): {readonly list: AttributeList; readonly taken: number} | undefined {
		const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
		const taken = this.#take(buffer.toString('latin1', 0, FIRST_PIECE));
		if (taken !== undefined) {
			return this.#complete(taken);
		}

		const more = this.#take(buffer.toString('latin1', FIRST_PIECE));
		return more === undefined ? undefined : this.#complete(FIRST_PIECE + more);
	}

	/*
	 * A hundred strings come out of one: they are cut from it, without a call of
	 * Node.js for each. How much of it, if the list ends there.
	 */
	#take(whole: WireText): number | undefined {
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
 * The bytes of a list.
 *
 * @throws {Panic} for a name or value with NUL: the receiver would take the rest for something else.
 */
export function printList(list: AttributeList): Uint8Array {
	const texts: string[] = [];
	/* Taken by their index: as long as this is not compiled, a pattern makes an iterator of each attribute. */
	for (const attribute of list) {
		const name = attribute[0];
		const value = attribute[1];
		if (name === '' || name.includes('\0') || value.includes('\0')) {
			throw new Panic(`attribute ${name} cannot be sent`);
		}

		texts.push(name, value);
	}

	texts.push('', '');
	return Buffer.from(texts.join('\0'), 'latin1');
}
