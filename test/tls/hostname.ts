import test from 'ava';
import {isHostname, lowercase} from '../../src/tls/hostname.ts';

const valid = [
	'localhost',
	'mx.example.com',
	'1.2.3.x',
	'1.2.3-4',
	'under_score.example',
	'_tcp.example',
	'xn--bcher-kva.example',
	`${'a'.repeat(63)}.example`,
	Array.from({length: 51}, () => 'abcd').join('.'),
];
const invalid = [
	'',
	'.',
	'1.2.3.4',
	'mx..example',
	'.mx.example',
	'mx.example.',
	'-mx.example',
	'mx-.example',
	'mx.example-',
	'm*x.example',
	'mx.example:25',
	'm\u00fcller.example',
	'mx example',
	`${'a'.repeat(64)}.example`,
	Array.from({length: 52}, () => 'abcd').join('.'),
];

for (const name of valid) {
	test(`isHostname accepts ${name.slice(0, 40)} (${name.length} characters)`, t => {
		t.true(isHostname(name));
	});
}

for (const name of invalid) {
	test(`isHostname rejects "${name.slice(0, 40)}" (${name.length} characters)`, t => {
		t.false(isHostname(name));
	});
}

test('lowercase leaves the bytes of other scripts alone', t => {
	t.is(lowercase('MX.Example.ORG[1.2.3.4]:25'), 'mx.example.org[1.2.3.4]:25');
	const [upper, lower] = ['BÜCHER', 'bÜcher'].map(text => Buffer.from(text).toString('latin1'));
	t.is(lowercase(upper ?? ''), lower ?? '');
});
