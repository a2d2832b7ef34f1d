import {execFileSync} from 'node:child_process';
import test from 'ava';
import {isIn, type NameOf, parameterNames, parameterOf, type TimeUnit} from '../../src/conf/parameters.ts';
import {compareReleases} from '../../src/conf/release.ts';

test('compareReleases compares numbers, not text', t => {
	t.true(compareReleases('3.9', '3.10') < 0);
	t.true(compareReleases('4.0', '3.12') > 0);
	t.is(compareReleases('3.7', '3.7'), 0);
});

test('isIn is true from the first to the last release of a parameter', t => {
	const renamed = parameterOf('tlsproxy_client_level');
	t.true(isIn('3.4', renamed));
	t.true(isIn('3.6', renamed));
	t.false(isIn('3.7', renamed));
	const newer = parameterOf('tlsproxy_tls_enable_rpk');
	t.false(isIn('3.8', newer));
	t.true(isIn('3.9', newer));
	t.true(isIn('3.99', newer));
});

test('parameterNames lists each parameter once, those of tlsproxy(8) last', t => {
	t.is(new Set(parameterNames).size, parameterNames.length);
	const first = parameterNames.findIndex(name => name.startsWith('tlsproxy_'));
	t.true(first > 0);
	t.deepEqual(
		parameterNames.slice(first).filter(name => !name.startsWith('tlsproxy_')),
		[],
	);
});

test('each time parameter has the unit of its default', t => {
	for (const name of parameterNames) {
		const {type, unit} = parameterOf(name);
		const value =
			type === 'time' ? execFileSync('postconf', ['-dh', name], {encoding: 'utf8'}).trim() : undefined;
		t.is(unit, value?.at(-1) as TimeUnit | undefined, name);
	}
});

test('NameOf accepts names of one type only', t => {
	const integer: NameOf<'integer'> = 'max_use';
	// @ts-expect-error a string parameter is not an integer
	const wrong: NameOf<'integer'> = 'mail_owner';
	t.is(parameterOf(integer).type, 'integer');
	t.is(parameterOf(wrong).type, 'string');
});
