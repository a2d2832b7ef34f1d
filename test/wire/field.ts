import test from 'ava';
import {Panic, PeerError} from '../../src/base/errors.ts';
import {type Format, formats} from '../../src/conf/release.ts';
import type {AttributeList} from '../../src/wire/attribute-list.ts';
import {
	AttributeReader,
	type Field,
	FormatError,
	inFormats,
	type MessageOf,
	print,
	scan,
} from '../../src/wire/field.ts';

const NEWEST = '3.12';

/** Parses a list that contains one object and nothing else. */
function scanAll<const Fields extends readonly Field[]>(
	fields: Fields,
	list: AttributeList,
	format: Format = NEWEST,
): MessageOf<Fields> {
	const reader = new AttributeReader(list, format);
	const message = scan(fields, reader, 'thing');
	reader.finish('thing');
	return message;
}

/** Names of the attributes that are printed for a message. */
function namesIn(list: AttributeList): readonly string[] {
	return list.map(([name]) => name);
}

const intField = [{attr: 'n', type: 'int'}] as const;

test('an int is a C int that travels as an unsigned number', t => {
	for (const [text, value] of [
		['0', 0],
		['42', 42],
		['999999999', 999_999_999],
		['2147483647', 2_147_483_647],
		['4294967295', -1],
		['2147483648', -2_147_483_648],
		['4294967296', 0],
		['-1', -1],
		[' \t+7', 7],
		['0000000000000000000000012', 12],
	] as const) {
		t.is(scanAll(intField, [['n', text]]).n, value, text);
	}

	t.deepEqual(print(intField, {n: -1}, NEWEST), [['n', '4294967295']]);
	t.deepEqual(print(intField, {n: 2_147_483_647}, NEWEST), [['n', '2147483647']]);
});

test('what is not a number is rejected with the object and the field', t => {
	for (const text of ['', ' ', '7 ', '7x', '0x7', '1.5', '--1', '+-1', '\u{a0}1', '9'.repeat(41)]) {
		t.throws(
			() => scanAll(intField, [['n', text]]),
			{instanceOf: PeerError, message: `thing: n: "${text}" is not a number`},
			text,
		);
	}

	const long = 'x'.repeat(101);
	t.throws(() => scanAll(intField, [['n', long]]), {
		message: `thing: n: "${long.slice(0, 100)}" is not a number`,
	});
});

test('a long is a C long that travels as an unsigned number', t => {
	const fields = [{attr: 'n', type: 'long'}] as const;
	for (const [text, value] of [
		['4294967296', 4_294_967_296n],
		['9223372036854775807', 9_223_372_036_854_775_807n],
		['18446744073709551615', -1n],
		['-2', -2n],
	] as const) {
		t.is(scanAll(fields, [['n', text]]).n, value, text);
	}

	t.deepEqual(print(fields, {n: -1n}, NEWEST), [['n', '18446744073709551615']]);
});

test('a string is passed on as it is', t => {
	const fields = [{attr: 's', type: 'string'}] as const;
	for (const s of ['', 'text', ' \n\u{ff}']) {
		t.deepEqual(scanAll(fields, [['s', s]]), {s});
		t.deepEqual(print(fields, {s}, NEWEST), [['s', s]]);
	}
});

test('data travels as base64', t => {
	const fields = [{attr: 'd', type: 'data'}] as const;
	t.deepEqual(scanAll(fields, [['d', 'AP9h']]).d, Buffer.from([0, 255, 97]));
	t.deepEqual(print(fields, {d: Uint8Array.of(0, 255, 97)}, NEWEST), [['d', 'AP9h']]);
	t.throws(() => scanAll(fields, [['d', 'AP9']]), {
		instanceOf: PeerError,
		message: 'thing: d: malformed base64 data',
	});
});

test('a list of strings is a count and the strings, under names that do not depend on the field', t => {
	const fields = [{attr: 'words', type: 'argv'}] as const;
	const list = [
		['argv_size', '2'],
		['argv_value', 'a'],
		['argv_value', ''],
	] as const;
	t.deepEqual(scanAll(fields, list), {words: ['a', '']});
	t.deepEqual(print(fields, {words: ['a', '']}, NEWEST), list);
	t.deepEqual(print(fields, {words: []}, NEWEST), [['argv_size', '0']]);
	t.throws(() => scanAll(fields, list.slice(0, 2)), {
		instanceOf: FormatError,
		message: 'thing: wanted "argv_value", got the end of the list (format 3.12)',
	});
});

test('a repeated object is a count and the objects', t => {
	const fields = [{attr: 'pairs', type: 'repeat', fields: intField}] as const;
	const list = [
		['count', '2'],
		['n', '1'],
		['n', '2'],
	] as const;
	t.deepEqual(scanAll(fields, list), {pairs: [{n: 1}, {n: 2}]});
	t.deepEqual(print(fields, {pairs: [{n: 1}, {n: 2}]}, NEWEST), list);
	t.throws(
		() =>
			scanAll(fields, [
				['count', '1'],
				['m', '1'],
			]),
		{
			instanceOf: FormatError,
			message: 'pairs: wanted "n", got "m" (format 3.12)',
		},
	);
});

for (const [type, counter] of [
	['argv', 'argv_size'],
	['repeat', 'count'],
] as const) {
	test(`the count of ${type} is at most 1024, and not negative`, t => {
		const fields: readonly Field[] =
			type === 'argv' ? [{attr: 'many', type}] : [{attr: 'many', type, fields: intField}];
		for (const count of ['1025', '4294967295', '-1']) {
			t.throws(
				() => scanAll(fields, [[counter, count]]),
				{instanceOf: PeerError, message: `thing: many: bad count ${Number(count) | 0}`},
				count,
			);
		}

		const elements = Array.from({length: 1024}, () => [type === 'argv' ? 'argv_value' : 'n', '7'] as const);
		const message: Readonly<Record<string, unknown>> = scanAll(fields, [[counter, '1024'], ...elements]);
		t.is((message['many'] as readonly unknown[]).length, 1024);
	});
}

const optional = [
	{attr: 'extra', type: 'optional', fields: intField},
	{attr: 'end', type: 'int'},
] as const satisfies readonly Field[];

test('an optional object is a flag, and its fields unless the flag is zero', t => {
	const without = [
		['extra', '0'],
		['end', '1'],
	] as const;
	t.deepEqual(scanAll(optional, without), {extra: undefined, end: 1});
	t.deepEqual(print(optional, {extra: undefined, end: 1}, NEWEST), without);
	t.deepEqual(print(optional, {end: 1}, NEWEST), without);

	const present = [
		['extra', '1'],
		['n', '5'],
		['end', '1'],
	] as const;
	t.deepEqual(scanAll(optional, present), {extra: {n: 5}, end: 1});
	t.deepEqual(scanAll(optional, [['extra', '2'], ...present.slice(1)]), {extra: {n: 5}, end: 1});
	t.deepEqual(print(optional, {extra: {n: 5}, end: 1}, NEWEST), present);
	t.throws(() => scanAll(optional, [['end', '1']]), {
		instanceOf: FormatError,
		message: 'thing: wanted "extra", got "end" (format 3.12)',
	});
});

test('a feature that a build does not have is neither expected nor printed', t => {
	const fields = [
		{attr: 'extra', type: 'optional', build: true, fields: intField},
		{attr: 'end', type: 'int'},
	] as const satisfies readonly Field[];
	const absent = [['end', '1']] as const;
	const message = scanAll(fields, absent);
	t.false('extra' in message);
	t.deepEqual(print(fields, message, NEWEST), absent);

	const zero = [['extra', '0'], ...absent] as const;
	t.true('extra' in scanAll(fields, zero));
	t.deepEqual(print(fields, scanAll(fields, zero), NEWEST), zero);
	const present = [['extra', '1'], ['n', '5'], ...absent] as const;
	t.deepEqual(print(fields, scanAll(fields, present), NEWEST), present);
});

const changing = [
	{attr: 'always', type: 'int'},
	{attr: 'old', type: 'int', until: '3.8.0'},
	{attr: 'new', type: 'int', since: '3.8.0'},
	{attr: 'between', type: 'int', since: '3.6', until: '3.9'},
	{attr: 'patched', type: 'int', since: '3.5.20', except: ['3.6', '3.8.0']},
] as const satisfies readonly Field[];

/* Which of the fields above each format has. */
const present: Readonly<Record<Format, string>> = {
	'3.4': 'always old',
	'3.5.20': 'always old patched',
	'3.6': 'always old between',
	'3.6.10': 'always old between patched',
	'3.8.0': 'always new between',
	'3.8.1': 'always new between patched',
	'3.9': 'always new patched',
	'3.10': 'always new patched',
	'3.11': 'always new patched',
	'3.12': 'always new patched',
};

for (const format of formats) {
	test(`format ${format} has the fields that since, until and except select`, t => {
		const names = present[format].split(' ');
		const all = {always: 1, old: 2, new: 3, between: 4, patched: 5};
		const list = print(changing, all, format);
		t.deepEqual(namesIn(list), names);
		t.deepEqual(Object.keys(scanAll(changing, list, format)), names);
	});
}

test('inFormats adds a range to each field of a group', t => {
	const group = [
		{attr: 'a', type: 'int'},
		{attr: 'b', type: 'string'},
	] as const satisfies readonly Field[];
	const fields = [...inFormats({since: '3.9'}, group), {attr: 'c', type: 'int'}] as const;
	t.deepEqual(namesIn(print(fields, {a: 1, b: '', c: 2}, '3.9')), ['a', 'b', 'c']);
	t.deepEqual(namesIn(print(fields, {c: 2}, '3.8.1')), ['c']);
});

test('an unexpected attribute is an error with both names, the object and the format', t => {
	t.throws(() => scanAll(intField, [['m', '1']], '3.6'), {
		instanceOf: FormatError,
		message: 'thing: wanted "n", got "m" (format 3.6)',
	});
	t.throws(() => scanAll(intField, []), {
		instanceOf: FormatError,
		message: 'thing: wanted "n", got the end of the list (format 3.12)',
	});
	t.throws(
		() =>
			scanAll(intField, [
				['n', '1'],
				['n', '2'],
			]),
		{
			instanceOf: FormatError,
			message: 'thing: wanted the end of the list, got "n" (format 3.12)',
		},
	);
	t.throws(() => scanAll(intField, [['m'.repeat(200), '1']]), {
		message: `thing: wanted "n", got "${'m'.repeat(100)}" (format 3.12)`,
	});
});

test('a message that lacks a field of the format is not printed', t => {
	t.throws(() => print(changing, {always: 1, old: 2}, '3.8.0'), {
		instanceOf: Panic,
		message: 'field new is missing (format 3.8.0)',
	});
});
