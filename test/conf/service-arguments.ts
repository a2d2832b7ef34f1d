import test from 'ava';
import {ConfigurationError} from '../../src/base/errors.ts';
import {
	booleanArgument,
	limitArgument,
	pathArgument,
	serviceArgumentNames,
} from '../../src/conf/service-arguments.ts';

test('limitWord is zero, no limit, for a word that is absent', t => {
	for (const name of ['client_handshake_count_limit', 'handshake_count_limit'] as const) {
		t.true(serviceArgumentNames.includes(name));
		t.is(limitArgument(new Map(), name), 0);
	}
});

test('limitWord is the number of the word', t => {
	const words = new Map([
		['client_handshake_count_limit', '50'],
		['handshake_count_limit', '0'],
	]);
	t.is(limitArgument(words, 'client_handshake_count_limit'), 50);
	t.is(limitArgument(words, 'handshake_count_limit'), 0);
});

const refuses = test.macro({
	exec(t, value: string, message: string) {
		t.throws(() => limitArgument(new Map([['handshake_count_limit', value]]), 'handshake_count_limit'), {
			instanceOf: ConfigurationError,
			message,
		});
	},
	title(_, value: string) {
		return `limitWord refuses "${value}"`;
	},
});

test(refuses, '', 'bad numerical configuration: handshake_count_limit = ');
test(refuses, 'many', 'bad numerical configuration: handshake_count_limit = many');
test(refuses, '5x', 'bad numerical configuration: handshake_count_limit = 5x');
test(refuses, '4294967296', 'bad numerical configuration: handshake_count_limit = 4294967296');
test(refuses, '-1', 'invalid handshake_count_limit parameter value -1 < 0');

test('booleanWord says yes or no, and yes to seccomp when it is absent', t => {
	t.true(booleanArgument(new Map(), 'seccomp'));
	t.true(booleanArgument(new Map([['seccomp', 'yes']]), 'seccomp'));
	t.false(booleanArgument(new Map([['seccomp', 'no']]), 'seccomp'));
});

test('booleanWord refuses what is neither', t => {
	t.throws(() => booleanArgument(new Map([['seccomp', 'off']]), 'seccomp'), {
		instanceOf: ConfigurationError,
		message: 'bad boolean configuration: seccomp = off',
	});
});

test('pathWord takes an empty path for none', t => {
	t.is(pathArgument(new Map(), 'json_log'), undefined);
	t.is(pathArgument(new Map([['json_log', '']]), 'json_log'), undefined);
	t.is(pathArgument(new Map([['json_log', '/var/log/x']]), 'json_log'), '/var/log/x');
});
