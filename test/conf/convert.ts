import test from 'ava';
import {ConfigurationError} from '../../src/base/errors.ts';
import {type Limits, toBoolean, toInteger, toSeconds, toText} from '../../src/conf/convert.ts';

type Convert = (name: string, value: string, limits: Limits) => unknown;

const converts = test.macro({
	exec(t, convert: Convert, value: string, limits: Limits, expected: unknown) {
		t.is(convert('max_thing', value, limits), expected);
	},
	title(_, convert: Convert, value: string, limits: Limits, expected: unknown) {
		return `${convert.name} converts "${value}" with limits ${JSON.stringify(limits)} to ${String(expected)}`;
	},
});

const rejects = test.macro({
	exec(t, convert: Convert, value: string, limits: Limits, message: string) {
		t.throws(() => convert('max_thing', value, limits), {instanceOf: ConfigurationError, message});
	},
	title(_, convert: Convert, value: string, limits: Limits) {
		return `${convert.name} rejects "${value}" with limits ${JSON.stringify(limits)}`;
	},
});

test(converts, toText, '', {}, '');
test(converts, toText, ' a ', {minLength: 1}, ' a ');
test(rejects, toText, '', {minLength: 1}, 'bad string length 0 < 1: max_thing = ');

test(converts, toInteger, '100', {min: 1}, 100);
test(converts, toInteger, '-5', {}, -5);
test(converts, toInteger, ' +7', {max: 7}, 7);
test(converts, toInteger, '2147483647', {}, 2_147_483_647);
test(converts, toInteger, '-2147483648', {}, -2_147_483_648);
for (const value of [
	'',
	'x',
	'5x',
	'5 ',
	'0x10',
	'1e3',
	'2147483648',
	'-2147483649',
	'99999999999999999999',
]) {
	test(rejects, toInteger, value, {}, `bad numerical configuration: max_thing = ${value}`);
}
test(rejects, toInteger, '0', {min: 1}, 'invalid max_thing parameter value 0 < 1');
test(rejects, toInteger, '8', {max: 7}, 'invalid max_thing parameter value 8 > 7');

test(converts, toBoolean, 'yes', {}, true);
test(converts, toBoolean, 'NO', {}, false);
for (const value of ['', 'maybe', '1', ' yes']) {
	test(rejects, toBoolean, value, {}, `bad boolean configuration: max_thing = ${value}`);
}

test(converts, toSeconds, '10', {}, 10);
test(converts, toSeconds, '10', {unit: 'h'}, 36_000);
test(converts, toSeconds, '10s', {unit: 'h'}, 10);
test(converts, toSeconds, '10sec', {}, 10);
test(converts, toSeconds, '2m', {}, 120);
test(converts, toSeconds, '2h', {}, 7200);
test(converts, toSeconds, '2d', {}, 172_800);
test(converts, toSeconds, '2w', {}, 1_209_600);
test(converts, toSeconds, 's', {}, 0);
test(converts, toSeconds, '2147483647', {}, 2_147_483_647);
test(converts, toSeconds, '3549w', {}, 2_146_435_200);
for (const value of ['', 'x', '10 s', '-5', '1.5h', '10S', '2147483648', '3550w', '3551w', '35791394m']) {
	test(rejects, toSeconds, value, {}, `parameter max_thing: bad time value or unit: ${value}`);
}
test(rejects, toSeconds, '0', {min: 1}, 'invalid max_thing: 0 (min 1)');
test(rejects, toSeconds, '2m', {max: 100}, 'invalid max_thing: 120 (max 100)');
