import test from 'ava';
import {ConfigurationError} from '../../src/base/errors.ts';
import {
	booleanArgument,
	limitArgument,
	pathArgument,
	serviceArgumentNames,
} from '../../src/conf/service-arguments.ts';

test('limitArgument is zero, no limit, if the argument is absent', t => {
	for (const name of ['client_handshake_count_limit', 'handshake_count_limit'] as const) {
		t.true(serviceArgumentNames.includes(name));
		t.is(limitArgument(new Map(), name), 0);
	}
});

test('limitArgument is the number in the argument', t => {
	const given = new Map([
		['client_handshake_count_limit', '50'],
		['handshake_count_limit', '0'],
	]);
	t.is(limitArgument(given, 'client_handshake_count_limit'), 50);
	t.is(limitArgument(given, 'handshake_count_limit'), 0);
});

const rejects = test.macro({
	exec(t, value: string, message: string) {
		t.throws(() => limitArgument(new Map([['handshake_count_limit', value]]), 'handshake_count_limit'), {
			instanceOf: ConfigurationError,
			message,
		});
	},
	title(_, value: string) {
		return `limitArgument rejects "${value}"`;
	},
});

test(rejects, '', 'bad numerical configuration: handshake_count_limit = ');
test(rejects, 'many', 'bad numerical configuration: handshake_count_limit = many');
test(rejects, '5x', 'bad numerical configuration: handshake_count_limit = 5x');
test(rejects, '4294967296', 'bad numerical configuration: handshake_count_limit = 4294967296');
test(rejects, '-1', 'invalid handshake_count_limit parameter value -1 < 0');

test('booleanArgument is the value of the argument, or its default', t => {
	t.true(booleanArgument(new Map(), 'fallback'));
	t.true(booleanArgument(new Map(), 'seccomp'));
	t.true(booleanArgument(new Map([['seccomp', 'yes']]), 'seccomp'));
	t.false(booleanArgument(new Map([['seccomp', 'no']]), 'seccomp'));
});

test('booleanArgument rejects other values than yes and no', t => {
	t.throws(() => booleanArgument(new Map([['seccomp', 'off']]), 'seccomp'), {
		instanceOf: ConfigurationError,
		message: 'bad boolean configuration: seccomp = off',
	});
});

test('pathArgument is undefined if the argument is absent or empty', t => {
	t.is(pathArgument(new Map(), 'json_log'), undefined);
	t.is(pathArgument(new Map([['json_log', '']]), 'json_log'), undefined);
	t.is(pathArgument(new Map([['json_log', '/var/log/x']]), 'json_log'), '/var/log/x');
});
