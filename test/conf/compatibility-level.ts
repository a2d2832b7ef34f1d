import test from 'ava';
import {ConfigurationError} from '../../src/base/errors.ts';
import {compareLevels, parseLevel} from '../../src/conf/compatibility-level.ts';

test('parseLevel accepts one to three numbers', t => {
	t.deepEqual(parseLevel('2'), {major: 2, minor: 0, patch: 0});
	t.deepEqual(parseLevel('3.10'), {major: 3, minor: 10, patch: 0});
	t.deepEqual(parseLevel('3.6.1023'), {major: 3, minor: 6, patch: 1023});
});

for (const text of ['', 'x', '3.', '3.6.', '3.6.1.0', '-1', '3.1024', '3.6.1024', '3.6x', '3 ']) {
	test(`parseLevel rejects ${JSON.stringify(text)}`, t => {
		t.throws(() => parseLevel(text), {
			instanceOf: ConfigurationError,
			message: `malformed compatibility level syntax: "${text}"`,
		});
	});
}

test('compareLevels compares numbers, not text', t => {
	t.true(compareLevels(parseLevel('3.9'), parseLevel('3.10')) < 0);
	t.true(compareLevels(parseLevel('4'), parseLevel('3.10')) > 0);
	t.true(compareLevels(parseLevel('3.6.1'), parseLevel('3.6')) > 0);
	t.is(compareLevels(parseLevel('3.6.0'), parseLevel('3.6')), 0);
});
