import test from 'ava';
import fc from 'fast-check';
import type {AttributeList} from '../../src/wire/attribute-list.ts';
import {settingsKey} from '../../src/wire/settings-key.ts';

const lists = [
	'chain_files',
	'log_level',
	'protocols',
	'tls_dane_digests',
	'tls_disable_workarounds',
	'tls_eecdh_auto_curves',
	'tls_ffdhe_auto_groups',
	'tls_ssl_options',
];
const texts = [
	'cert_file',
	'key_file',
	'CAfile',
	'CApath',
	'mdalg',
	'tls_high_cipherlist',
	'cache_type',
	'config_file',
];
/* Few characters, separators among them, and those that a setting consists of. */
const value = fc.string({
	unit: fc.constantFrom('a', 'b', ' ', '\t', ',', '\n', '\0', '=', ':', '1'),
	maxLength: 6,
});
const settings = (names: readonly string[]) =>
	fc.array(fc.tuple(fc.constantFrom(...names), value), {maxLength: 4}) as fc.Arbitrary<AttributeList>;

test('lists are compared by their elements', t => {
	for (const name of lists) {
		const keys = ['a b', 'a,b', ' a\tb ', 'a,\r\n\tb,', 'a  b'].map(text => settingsKey([[name, text]]));
		t.is(new Set(keys).size, 1, name);
		const others = ['a b', 'b a', 'a', 'ab', '', ' ', 'a\u00A0b', 'a\vb'].map(text =>
			settingsKey([[name, text]]),
		);
		t.is(new Set(others).size, others.length, name);
	}
});

test('settings that are no lists are compared as text', t => {
	fc.assert(
		fc.property(settings(texts), settings(texts), (one, other) => {
			t.is(settingsKey(one) === settingsKey(other), JSON.stringify(one) === JSON.stringify(other));
		}),
		{numRuns: 2000},
	);
});

test('two lists of settings have the same key only if elements and text are the same', t => {
	const meaning = (list: AttributeList): string =>
		JSON.stringify(
			list.map(([name, text]) =>
				lists.includes(name) && text !== ''
					? [name, text.split(/[ \t\r\n,]+/).filter(word => word !== '')]
					: [name, text],
			),
		);
	fc.assert(
		fc.property(settings([...lists, ...texts]), settings([...lists, ...texts]), (one, other) => {
			t.is(settingsKey(one) === settingsKey(other), meaning(one) === meaning(other));
		}),
		{numRuns: 2000},
	);
});
