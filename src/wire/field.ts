/*++
/* NAME
/*	field 3
/* SUMMARY
/*	parse and print messages that are described by tables of fields
/* DESCRIPTION
/*	A message is defined once, as a table of fields in wire order. The
/*	parser, the printer and the TypeScript type are derived from the
/*	table. The columns since, until and except select the formats that
/*	have a field.
/*
/*	Objects inside of an object are not delimited on the wire. A list
/*	of strings is a count and that many values, a repeated object is a
/*	count and that many objects, an optional object is a flag and then
/*	its fields. So fields are identified by their position, and
/*	parsing stops at the first unexpected name.
/* DIAGNOSTICS
/*	FormatError: the next attribute is not the expected one. The
/*	message contains the expected name, the name found, the object and
/*	the format. PeerError: a malformed number, count or base64 value.
/*	Panic: a message that is to be printed lacks a field.
/* SEE ALSO
/*	postfix src/util/attr_scan0.c
/*--*/

import {Panic, PeerError} from '../base/errors.ts';
import {decodeBase64} from '../base/text.ts';
import {type Format, formats} from '../conf/release.ts';
import type {AttributeList, WireText} from './attribute-list.ts';

/** The formats that have a field; by default, all formats. */
interface Presence {
	/** First format that has it. */
	readonly since?: Format;
	/** First format that no longer has it. */
	readonly until?: Format;
	/** Formats in between that lack it, because patch releases of older releases added it later. */
	readonly except?: readonly Format[];
}

/** One field of a message. */
export type Field = Presence &
	(
		| {readonly attr: string; readonly type: 'int' | 'long' | 'string' | 'data'}
		/** `argv_size`, then that many `argv_value`. The name of the field is not on the wire. */
		| {readonly attr: string; readonly type: 'argv'}
		/** `count`, then that many objects. The name of the field is not on the wire. */
		| {readonly attr: string; readonly type: 'repeat'; readonly fields: readonly Field[]}
		/**
		 * A flag under the name of the field, then the fields if it is not zero. `build`: a Postfix that was
		 * built without the feature does not send the flag.
		 */
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

/** The message that a table describes. A field that not every format has may be undefined. */
export type MessageOf<Fields extends readonly Field[]> = {
	readonly [F in Fields[number] as IsAlways<F> extends true ? F['attr'] : never]: ValueOf<F>;
} & {
	readonly [F in Fields[number] as IsAlways<F> extends true ? never : F['attr']]?: ValueOf<F> | undefined;
};

type WithPresence<Fields extends readonly Field[], Range extends Presence> = {
	readonly [Index in keyof Fields]: Fields[Index] & Range;
};

/** A group of fields as it is in a table of which only some formats have the group. */
export function inFormats<const Range extends Presence, const Fields extends readonly Field[]>(
	range: Range,
	fields: Fields,
): WithPresence<Fields, Range> {
	return fields.map(field => ({...field, ...range})) as readonly Field[] as WithPresence<Fields, Range>;
}

/** Maximum number of strings in a list, and of repeated objects. Source: postfix src/util/argv_attr.h. */
const COUNT_LIMIT = 1024;

/** A message is not of the expected format. The client may be of another Postfix release. */
export class FormatError extends PeerError {}

/** Reads the attributes of a list in order. */
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

	/** Number of attributes that have been read. */
	get taken(): number {
		return this.#next;
	}

	/** Name of the next attribute; undefined at the end of the list. */
	get nextName(): WireText | undefined {
		return this.#list[this.#next]?.[0];
	}

	/**
	 * Reads the next attribute.
	 *
	 * @param name - its expected name.
	 * @param object - the object that it belongs to, for the error message.
	 * @throws {FormatError} if the next attribute has another name, or at the end of the list.
	 */
	take(name: string, object: string): WireText {
		const attribute = this.#list[this.#next];
		if (attribute === undefined || attribute[0] !== name) {
			const found = attribute === undefined ? 'the end of the list' : `"${attribute[0].slice(0, 100)}"`;
			throw new FormatError(`${object}: wanted "${name}", got ${found} (format ${this.#format})`);
		}

		this.#next++;
		return attribute[1];
	}

	/** @throws {FormatError} unless all attributes have been read. */
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

/** A table in one format. */
interface FormatTable {
	readonly present: readonly Field[];
	/**
	 * An object with all keys and no values, to be copied. V8 turns an object that gets its keys one by one
	 * into a hash table after about a dozen keys, which is slower to make and to read.
	 */
	readonly blank: Message;
}

/* Computed once for each table and format. */
const formatTables = new WeakMap<readonly Field[], Map<Format, FormatTable>>();

function formatTableOf(fields: readonly Field[], format: Format): FormatTable {
	let byFormat = formatTables.get(fields);
	if (byFormat === undefined) {
		byFormat = new Map();
		formatTables.set(fields, byFormat);
	}

	let table = byFormat.get(format);
	if (table === undefined) {
		const present = fields.filter(field => isPresent(field, format));
		const keys = present.filter(field => !dependsOnBuild(field)).map(({attr}) => [attr, null] as const);
		table = {present, blank: JSON.parse(JSON.stringify(Object.fromEntries(keys))) as Message};
		byFormat.set(format, table);
	}

	return table;
}

/**
 * Parses the fields of one object.
 *
 * @param reader - at the first field of the object; afterwards, after the last one.
 * @param object - its name, for error messages.
 * @throws {FormatError} if the attributes are not those of the table.
 * @throws {PeerError} if a value is malformed.
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
	const {present, blank} = formatTableOf(fields, reader.format);
	const message: Record<string, Value> = {...blank};
	for (const field of present) {
		/* A Postfix that was built without the feature does not send the flag; then the key is absent. */
		if (!dependsOnBuild(field) || reader.nextName === field.attr) {
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

/* The numbers that sscanf("%u%c") accepts: white space, sign, digits, nothing else. Large numbers wrap. */
function scanDigits(text: string, label: string): bigint {
	const match = /^[ \t\n\v\f\r]*([+-]?)(\d{1,40})$/.exec(text);
	if (match === null) {
		throw new PeerError(`${label}: "${text.slice(0, 100)}" is not a number`);
	}

	const value = BigInt(match[2] ?? '0');
	return match[1] === '-' ? -value : value;
}

/* Fast path: nearly all numbers consist of a few digits. */
function smallNumber(text: string): number | undefined {
	const DIGITS_LIMIT = 9;
	if (text.length === 0 || text.length > DIGITS_LIMIT) {
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

function scanInt(text: string, label: string): number {
	return smallNumber(text) ?? Number(BigInt.asIntN(32, scanDigits(text, label)));
}

function scanCount(text: string, label: string): number {
	const count = scanInt(text, label);
	if (count < 0 || count > COUNT_LIMIT) {
		throw new PeerError(`${label}: bad count ${count}`);
	}

	return count;
}

function scanData(text: string, label: string): Uint8Array {
	const bytes = decodeBase64(text);
	if (bytes === undefined) {
		throw new PeerError(`${label}: malformed base64 data`);
	}

	return bytes;
}

/**
 * The attributes of one object.
 *
 * @throws {Panic} if the message lacks a field that the format has.
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
	for (const field of formatTableOf(fields, format).present) {
		const value = message[field.attr];
		if (field.type === 'optional') {
			/* A key with the value undefined is a flag of zero; an absent key is a build without the feature. */
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
