import test from 'ava';
import fc from 'fast-check';
import {cacheKey} from '../../src/base/cache-key.ts';

/* Parts made of few characters: separators, digits, and those of the encoding itself. */
const part = fc.string({
	unit: fc.constantFrom('a', '0', '1', '2', ':', ' ', '\n', '&', '\0', '\uD800'),
	maxLength: 4,
});
const parts = fc.array(part, {maxLength: 4});

/* The parts of a key, read back by their lengths. */
function partsOf(key: string): readonly string[] {
	const found: string[] = [];
	for (let rest = key; rest !== ''; ) {
		const [head = '', digits = ''] = /^(\d+):/.exec(rest) ?? [];
		const end = head.length + Number(digits);
		found.push(rest.slice(head.length, end));
		rest = rest.slice(end);
	}

	return found;
}

test('the parts can be read back from a key: no two lists have the same one', t => {
	fc.assert(
		fc.property(parts, list => {
			t.deepEqual(partsOf(cacheKey(...list)), list);
		}),
		{numRuns: 2000},
	);
});

test('two lists have the same key only if they are equal', t => {
	fc.assert(
		fc.property(parts, parts, (one, other) => {
			t.is(cacheKey(...one) === cacheKey(...other), JSON.stringify(one) === JSON.stringify(other));
		}),
		{numRuns: 2000},
	);
});

test('text moved from one part to the next changes the key, whatever the separator', t => {
	for (const separator of [' ', '\n', '&', '\0', ',', ':', '']) {
		t.not(cacheKey(`a${separator}b`, 'c'), cacheKey('a', `b${separator}c`));
		t.not(cacheKey('a', 'b'), cacheKey(`a${separator}b`));
		t.not(cacheKey('a', ''), cacheKey('a'));
		t.not(cacheKey(''), cacheKey());
	}
});
