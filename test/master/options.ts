import test from 'ava';
import {ConfigurationError} from '../../src/base/errors.ts';
import {type Options, parseOptions} from '../../src/master/options.ts';

const defaults = {
	chroot: false,
	unprivileged: false,
	transport: 'unix',
	socketCount: 1,
	overrides: [],
	verbose: 0,
	stderrToo: false,
	serviceArguments: new Map(),
};

const accepts = test.macro({
	exec(t, line: readonly string[], expected: Readonly<Record<string, unknown>>) {
		t.deepEqual<Readonly<Record<string, unknown>>, Readonly<Record<string, unknown>>>(
			{...parseOptions(['-t', 'unix', ...line], ['metrics', 'limit'])},
			{...defaults, ...expected},
		);
	},
	title(_, line: readonly string[]) {
		return `parseOptions accepts ${line.length === 0 ? 'a transport alone' : line.join(' ')}`;
	},
});

test(accepts, [], {});
test(accepts, ['-u', '-c'], {unprivileged: true, chroot: true});
test(accepts, ['-cuvz'], {unprivileged: true, chroot: true, verbose: 1});
test(accepts, ['-l', '-z', '-d', '-D'], {});
test(accepts, ['-v', '-vv', '-V'], {verbose: 3, stderrToo: true});
test(accepts, ['-n', 'tp12'], {serviceName: 'tp12'});
test(accepts, ['-vntp12'], {verbose: 1, serviceName: 'tp12'});
test(accepts, ['-s', '2'], {socketCount: 2});
test(accepts, ['-s2x'], {socketCount: 2});
test(accepts, ['-r', '600'], {retirement: 600});
test(accepts, ['-t', 'UNIX'], {});
test(accepts, ['-i', '5m', '-m', '7', '-i30'], {
	overrides: [
		['max_idle', '5m'],
		['max_use', '7'],
		['max_idle', '30'],
	],
});
test(accepts, ['-o', 'a=b', '-oc=d', '-o', ' e = f=g '], {
	overrides: [
		['a', 'b'],
		['c', 'd'],
		['e', 'f=g'],
	],
});
test(accepts, ['-o', 'stress='], {overrides: [['stress', '']]});
test(accepts, ['metrics=no'], {serviceArguments: new Map([['metrics', 'no']])});
test(accepts, ['-v', '--', 'metrics=no', 'limit=', 'metrics = yes '], {
	verbose: 1,
	serviceArguments: new Map([
		['metrics', 'yes'],
		['limit', ''],
	]),
});

test('parseOptions accepts the options of master(8) for a service with another name', t => {
	const line = ['-z', '-n', 'tp12', '-t', 'unix', '-u', '-c', '-o', 'syslog_name=postfix/$service_name'];
	t.deepEqual<Options, Options>(parseOptions(line, []), {
		chroot: true,
		unprivileged: true,
		serviceName: 'tp12',
		transport: 'unix',
		socketCount: 1,
		overrides: [['syslog_name', 'postfix/$service_name']],
		verbose: 0,
		stderrToo: false,
		serviceArguments: new Map(),
	});
});

const refuses = test.macro({
	exec(t, line: readonly string[], message: string) {
		t.throws(() => parseOptions(line, ['metrics']), {instanceOf: ConfigurationError, message});
	},
	title(_, line: readonly string[]) {
		return `parseOptions refuses "${line.join(' ')}"`;
	},
});

test(refuses, [], 'no transport type specified');
test(refuses, ['-t', 'inet'], 'unsupported transport type: inet');
test(refuses, ['-tpass'], 'unsupported transport type: pass');
test(refuses, ['-Q'], 'invalid option: Q');
test(refuses, ['-vQ'], 'invalid option: Q');
test(refuses, ['-:'], 'invalid option: :');
test(refuses, ['--help'], 'invalid option: -');
test(refuses, ['-o'], 'invalid option: o');
test(refuses, ['-o', 'junk'], `invalid "-o junk" option value: missing '=' after attribute name`);
test(refuses, ['-o', 'a b=c'], `invalid "-o a b=c" option value: missing '=' after attribute name`);
test(refuses, ['-o', '=c'], 'invalid "-o =c" option value: missing attribute name');
test(refuses, ['-o', ' '], 'invalid "-o  " option value: missing attribute name');
test(refuses, ['-s', '0'], 'invalid socket_count: 0');
test(refuses, ['-sx'], 'invalid socket_count: x');
test(refuses, ['-r', '-1'], 'invalid retirement time: -1');
test(refuses, ['-S'], 'option -S is not supported: this program runs under master(8) only');
test(refuses, ['-t', 'unix', 'extra'], 'unexpected command-line argument: extra');
test(refuses, ['-t', 'unix', 'metric=1'], 'unexpected command-line argument: metric=1');
test(refuses, ['-t', 'unix', 'metrics=1', '-v'], 'unexpected command-line argument: -v');
test(refuses, ['-t', 'unix', '-', '-v'], 'unexpected command-line argument: -');
