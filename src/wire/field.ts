/*++
/* NAME
/*	field 3
/* SUMMARY
/*	messages as tables of fields
/* DESCRIPTION
/*	A message is written once, as a table in wire order; the parser,
/*	the printer and the type come from it. What a release added or
/*	dropped is a column of the table.
/*
/*	Nothing on the wire marks where an object in an object begins: a
/*	list of strings is a count and that many values, a repeated object
/*	a count and that many copies, an optional one a flag and then its
/*	fields. So decoding goes by position, and the first name that is
/*	not the wanted one ends it.
/* DIAGNOSTICS
/*	PeerError: the wanted name, the name found, the object and the
/*	format.
/* SEE ALSO
/*	postfix src/util/attr_scan0.c
/*--*/

import {Panic, PeerError} from '../base/errors.ts';
import {type Format, formats} from '../conf/release.ts';
import type {AttributeList, WireText} from './attribute-list.ts';

/** The formats that have a field; all when nothing is said. */
interface Presence {
	/** First format that has it. */
	readonly since?: Format;
	/** First format that no longer has it. */
	readonly until?: Format;
	/** Formats in between that lack it, where a change was made in patch releases. */
	readonly except?: readonly Format[];
}

/** One field of a message. */
export type Field = Presence &
	(
		| {readonly attr: string; readonly type: 'int' | 'long' | 'string' | 'data'}
		/** `argv_size`, then that many `argv_value`. */
		| {readonly attr: string; readonly type: 'argv'}
		/** `count`, then that many copies. */
		| {readonly attr: string; readonly type: 'repeat'; readonly fields: readonly Field[]}
		/** A flag under the field's name, then the fields when it is not zero. `build`: builds without the feature lack the flag too. */
		| {
				readonly attr: string;
				readonly type: 'optional';
				readonly fields: readonly Field[];
				readonly build?: true;
		  }
	);

type ValueOf<F extends Field> = F extends {readonly type: 'int'}
	? number
	: F extends {readonly type: 'long'}
		? bigint
		: F extends {readonly type: 'string'}
			? WireText
			: F extends {readonly type: 'data'}
				? Uint8Array
				: F extends {readonly type: 'argv'}
					? readonly WireText[]
					: F extends {readonly type: 'repeat'; readonly fields: infer Inner extends readonly Field[]}
						? ReadonlyArray<MessageOf<Inner>>
						: F extends {readonly type: 'optional'; readonly fields: infer Inner extends readonly Field[]}
							? MessageOf<Inner> | undefined
							: never;

type IsAlways<F extends Field> = F extends
	| {readonly since: Format}
	| {readonly until: Format}
	| {readonly type: 'optional'}
	? false
	: true;

/** The message that a table describes; what not every format has may be absent. */
export type MessageOf<Fields extends readonly Field[]> = {
	readonly [F in Fields[number] as IsAlways<F> extends true ? F['attr'] : never]: ValueOf<F>;
} & {
	readonly [F in Fields[number] as IsAlways<F> extends true ? never : F['attr']]?: ValueOf<F> | undefined;
};

/** Members of a list of strings, and copies of a repeated object. Source: postfix src/util/argv_attr.h. */
const COUNT_LIMIT = 1024;

/** What came is of another format: perhaps that of another release. */
export class FormatError extends PeerError {}

/** Takes attributes off a list, in order. */
export class AttributeReader {
	readonly #list: AttributeList;
	readonly #format: Format;
	#next = 0;

	constructor(list: AttributeList, format: Format) {
		this.#list = list;
		this.#format = format;
	}

	get format(): Format {
		return this.#format;
	}

	/** How many attributes have been taken. */
	get taken(): number {
		return this.#next;
	}

	/** Name of the attribute that comes next; undefined at the end. */
	get following(): WireText | undefined {
		return this.#list[this.#next]?.[0];
	}

	/** The value of the next attribute, which has to have this name. */
	take(name: string, object: string): WireText {
		const attribute = this.#list[this.#next];
		if (attribute === undefined || attribute[0] !== name) {
			const found = attribute === undefined ? 'the end of the list' : `"${attribute[0].slice(0, 100)}"`;
			throw new FormatError(`${object}: wanted "${name}", got ${found} (format ${this.#format})`);
		}

		this.#next++;
		return attribute[1];
	}

	/** @throws {PeerError} when there is something left. */
	finish(object: string): void {
		const attribute = this.#list[this.#next];
		if (attribute !== undefined) {
			throw new FormatError(
				`${object}: wanted the end of the list, got "${attribute[0].slice(0, 100)}" (format ${this.#format})`,
			);
		}
	}
}

/** Whether a format has a field. */
function isPresent({since, until, except}: Presence, format: Format): boolean {
	const at = formats.indexOf(format);
	return (
		(since === undefined || at >= formats.indexOf(since)) &&
		(until === undefined || at < formats.indexOf(until)) &&
		!(except ?? []).includes(format)
	);
}

function dependsOnBuild(field: Field): boolean {
	return field.type === 'optional' && field.build === true;
}

/** What a table is in one format. */
interface Form {
	readonly present: readonly Field[];
	/**
	 * A message with nothing in it. An object that gets its keys one by one becomes a hash table after
	 * the first dozen, and is slow to make and to use; a copy of this one does not.
	 */
	readonly blank: Message;
}

const forms = new WeakMap<readonly Field[], Map<Format, Form>>();

function formOf(fields: readonly Field[], format: Format): Form {
	let ofTable = forms.get(fields);
	if (ofTable === undefined) {
		ofTable = new Map();
		forms.set(fields, ofTable);
	}

	let form = ofTable.get(format);
	if (form === undefined) {
		const present = fields.filter(field => isPresent(field, format));
		const keys = present.filter(field => !dependsOnBuild(field)).map(({attr}) => [attr, null] as const);
		form = {present, blank: JSON.parse(JSON.stringify(Object.fromEntries(keys))) as Message};
		ofTable.set(format, form);
	}

	return form;
}

/**
 * Parses the fields of one object.
 *
 * @param object - its name, for messages.
 * @throws {PeerError} when what comes is something else.
 */
export function scan<const Fields extends readonly Field[]>(
	fields: Fields,
	reader: AttributeReader,
	object: string,
): MessageOf<Fields> {
	return scanObject(fields, reader, object) as MessageOf<Fields>;
}

type Value =
	| number
	| bigint
	| string
	| Uint8Array
	| readonly string[]
	| Message
	| readonly Message[]
	| undefined;
type Message = {readonly [attr: string]: Value};

function scanObject(fields: readonly Field[], reader: AttributeReader, object: string): Message {
	const {present, blank} = formOf(fields, reader.format);
	const message: Record<string, Value> = {...blank};
	for (const field of present) {
		/* A build without the feature does not even send the flag; then the key stays absent. */
		if (!dependsOnBuild(field) || reader.following === field.attr) {
			message[field.attr] = scanField(field, reader, object);
		}
	}

	return message;
}

function scanField(field: Field, reader: AttributeReader, object: string): Value {
	switch (field.type) {
		case 'int':
			return scanInt(reader.take(field.attr, object), `${object}: ${field.attr}`);
		case 'long':
			return BigInt.asIntN(64, scanDigits(reader.take(field.attr, object), `${object}: ${field.attr}`));
		case 'string':
			return reader.take(field.attr, object);
		case 'data':
			return scanData(reader.take(field.attr, object), `${object}: ${field.attr}`);
		case 'argv': {
			const size = scanCount(reader.take('argv_size', object), `${object}: ${field.attr}`);
			return Array.from({length: size}, () => reader.take('argv_value', object));
		}

		case 'repeat': {
			const count = scanCount(reader.take('count', object), `${object}: ${field.attr}`);
			return Array.from({length: count}, () => scanObject(field.fields, reader, field.attr));
		}

		case 'optional': {
			const flag = scanInt(reader.take(field.attr, object), `${object}: ${field.attr}`);
			return flag === 0 ? undefined : scanObject(field.fields, reader, field.attr);
		}

		default:
			return field satisfies never;
	}
}

/* What sscanf("%u%c") takes: blanks and a sign in front, digits, nothing behind; larger numbers wrap. */
function scanDigits(text: string, what: string): bigint {
	const match = /^[ \t\n\v\f\r]*([+-]?)(\d{1,40})$/.exec(text);
	if (match === null) {
		throw new PeerError(`${what}: "${text.slice(0, 100)}" is not a number`);
	}

	const value = BigInt(match[2] ?? '0');
	return match[1] === '-' ? -value : value;
}

/* Nearly every number: a few digits, and nothing else. */
function plainNumber(text: string): number | undefined {
	const SMALL = 9;
	if (text.length === 0 || text.length > SMALL) {
		return undefined;
	}

	let value = 0;
	for (let index = 0; index < text.length; index++) {
		const digit = text.charCodeAt(index) - 0x30;
		if (digit < 0 || digit > 9) {
			return undefined;
		}

		value = value * 10 + digit;
	}

	return value;
}

function scanInt(text: string, what: string): number {
	return plainNumber(text) ?? Number(BigInt.asIntN(32, scanDigits(text, what)));
}

function scanCount(text: string, what: string): number {
	const count = scanInt(text, what);
	if (count < 0 || count > COUNT_LIMIT) {
		throw new PeerError(`${what}: bad count ${count}`);
	}

	return count;
}

function scanData(text: string, what: string): Uint8Array {
	if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) {
		throw new PeerError(`${what}: malformed base64 data`);
	}

	return Buffer.from(text, 'base64');
}

/**
 * The attributes of one object.
 *
 * @throws {Panic} when a field that the format has is absent from the message.
 */
export function print<const Fields extends readonly Field[]>(
	fields: Fields,
	message: MessageOf<Fields>,
	format: Format,
): AttributeList {
	const list: Array<readonly [string, string]> = [];
	printObject(fields, message, format, list);
	return list;
}

function printObject(
	fields: readonly Field[],
	message: Message,
	format: Format,
	list: Array<readonly [string, string]>,
): void {
	for (const field of formOf(fields, format).present) {
		const value = message[field.attr];
		if (field.type === 'optional') {
			/* Present without an object, and absent because of the build, differ: undefined and a missing key. */
			if (field.build !== true || field.attr in message) {
				list.push([field.attr, value === undefined ? '0' : '1']);
			}

			if (value !== undefined) {
				printObject(field.fields, value as Message, format, list);
			}

			continue;
		}

		if (value === undefined) {
			throw new Panic(`field ${field.attr} is missing (format ${format})`);
		}

		printField(field, value, format, list);
	}
}

function printField(
	field: Exclude<Field, {readonly type: 'optional'}>,
	value: NonNullable<Value>,
	format: Format,
	list: Array<readonly [string, string]>,
): void {
	switch (field.type) {
		case 'int':
			list.push([field.attr, String((value as number) >>> 0)]);
			break;
		case 'long':
			list.push([field.attr, String(BigInt.asUintN(64, value as bigint))]);
			break;
		case 'string':
			list.push([field.attr, value as string]);
			break;
		case 'data':
			list.push([field.attr, Buffer.from(value as Uint8Array).toString('base64')]);
			break;
		case 'argv': {
			const values = value as readonly string[];
			list.push(['argv_size', String(values.length)]);
			list.push(...values.map(text => ['argv_value', text] as const));
			break;
		}

		case 'repeat': {
			const copies = value as readonly Message[];
			list.push(['count', String(copies.length)]);
			for (const copy of copies) {
				printObject(field.fields, copy, format, list);
			}

			break;
		}

		default:
			field satisfies never;
	}
}
