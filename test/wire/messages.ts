/*
 * Every message of the protocol in every format, with random values: what is printed is
 * parsed to the same message.
 */
import test from 'ava';
import fc from 'fast-check';
import {type Format, formats} from '../../src/conf/release.ts';
import {AttributeFramer, printList} from '../../src/wire/attribute-list.ts';
import {AttributeReader, type Field, print, scan} from '../../src/wire/field.ts';
import * as messages from '../../src/wire/messages.ts';

type Values = Readonly<Record<string, unknown>>;

const exports: Readonly<Record<string, number | readonly Field[]>> = messages;
const tables = Object.entries(exports).filter(
	(entry): entry is [string, readonly Field[]] => typeof entry[1] !== 'number',
);

const text = fc
	.array(fc.integer({min: 1, max: 255}), {maxLength: 20})
	.map(bytes => Buffer.from(bytes).toString('latin1'));

function has({since = '3.4', until, except = []}: Field, format: Format): boolean {
	const end = until === undefined ? formats.length : formats.indexOf(until);
	return formats.slice(formats.indexOf(since), end).includes(format) && !except.includes(format);
}

/** Values of a field. */
function valueOf(field: Field, format: Format): fc.Arbitrary<unknown> {
	switch (field.type) {
		case 'int':
			return fc.integer({min: -2_147_483_648, max: 2_147_483_647});
		case 'long':
			return fc.bigInt({min: -(2n ** 63n), max: 2n ** 63n - 1n});
		case 'string':
			return text;
		case 'data':
			return fc.uint8Array({maxLength: 20}).map(bytes => Buffer.from(bytes));
		case 'argv':
			return fc.array(text, {maxLength: 4});
		case 'repeat':
			return fc.array(messageOf(field.fields, format), {maxLength: 3});
		case 'optional':
			return fc.option(messageOf(field.fields, format), {nil: undefined});
		default:
			return field satisfies never;
	}
}

/** Messages of a table. The key of a feature that a build may lack is absent in some of them. */
function messageOf(fields: readonly Field[], format: Format): fc.Arbitrary<Values> {
	const present = fields.filter(field => has(field, format));
	return fc.record(Object.fromEntries(present.map(field => [field.attr, valueOf(field, format)])), {
		noNullPrototype: true,
		requiredKeys: present
			.filter(field => field.type !== 'optional' || field.build !== true)
			.map(({attr}) => attr),
	});
}

test('there are nine tables', t => {
	t.is(tables.length, 9);
});

for (const [name, fields] of tables) {
	for (const format of formats) {
		test(`${name} of format ${format}: what is printed is parsed to the same message`, t => {
			fc.assert(
				fc.property(messageOf(fields, format), message => {
					const bytes = printList(print(fields, message as never, format));
					const framed = new AttributeFramer().push(bytes);
					const reader = new AttributeReader(framed?.list ?? [], format);
					const parsed: Values = scan(fields, reader, name);
					reader.finish(name);
					t.deepEqual(parsed, message);
					t.deepEqual(Object.keys(parsed).toSorted(), Object.keys(message).toSorted());
				}),
				{numRuns: 20},
			);
		});
	}
}
