import test from 'ava';
import {ConfigurationError, Panic} from '../../src/base/errors.ts';
import {Configuration} from '../../src/conf/configuration.ts';
import {releaseFeatures} from '../../src/conf/release.ts';

function configuration(values: Readonly<Record<string, string>>, version = '3.7.11'): Configuration {
	return new Configuration(
		new Map(
			Object.entries({
				mail_version: version,
				config_directory: '/some/where',
				compatibility_level: '0',
				syslog_facility: 'mail',
				...values,
			}),
		),
	);
}

for (const version of ['3.4.29', '3.10.13', '3.12-20260821', '3.8-RC1']) {
	test(`Configuration has the features of mail_version ${version}`, t => {
		t.deepEqual(configuration({}, version).features, releaseFeatures(version));
	});
}

test('Configuration rejects a mail_version that is not a release', t => {
	t.throws(() => configuration({}, 'unknown'), {
		instanceOf: ConfigurationError,
		message: 'parameter mail_version: unrecognized value: unknown',
	});
	t.throws(() => new Configuration(new Map()), {instanceOf: ConfigurationError});
});

test('getters expand and convert values', t => {
	const parameters = configuration({
		max_use: '${mine?{$mine}:{100}}',
		mine: '7',
		max_idle: '2m',
		smtpd_use_tls: 'Yes',
		syslog_name: 'postfix/$service_name',
		service_name: 'proxy',
	});
	t.is(parameters.integer('max_use'), 7);
	t.is(Number(parameters.seconds('max_idle')), 120);
	t.true(parameters.boolean('smtpd_use_tls'));
	t.is(parameters.string('syslog_name'), 'postfix/proxy');
	t.is(parameters.configDirectory, '/some/where');
});

test('getters accept names of their type only', t => {
	const parameters = configuration({mail_owner: 'postfix'});
	// @ts-expect-error a string parameter is not an integer
	t.throws(() => parameters.integer('mail_owner'), {instanceOf: ConfigurationError});
});

test('Configuration.has depends on the release', t => {
	const values = {tlsproxy_client_level: 'may', tls_config_file: 'default'};
	t.true(configuration(values, '3.6.20').has('tlsproxy_client_level'));
	t.false(configuration(values, '3.7.11').has('tlsproxy_client_level'));
	t.true(configuration(values, '3.7.11').has('tls_config_file'));
	t.false(configuration(values, '3.4.29').has('tls_config_file'));
	t.false(configuration(values, '3.7.11').has('max_use'));
});

test('a getter panics for a parameter that the release does not have', t => {
	t.throws(() => configuration({}).boolean('tlsproxy_tls_enable_rpk'), {
		instanceOf: Panic,
		message: 'Postfix 3.7 has no parameter tlsproxy_tls_enable_rpk',
	});
});

test('a getter fails for a parameter that the release should have and postconf did not print', t => {
	t.throws(() => configuration({}).integer('max_use'), {
		instanceOf: ConfigurationError,
		message: 'postconf: unknown parameter: max_use',
	});
});

test('a cipher list can be empty if the release allows it', t => {
	const values = {tls_low_cipherlist: ''};
	t.is(configuration(values, '3.8.20').string('tls_low_cipherlist'), '');
	t.throws(() => configuration(values).string('tls_low_cipherlist'), {
		message: 'bad string length 0 < 1: tls_low_cipherlist = ',
	});
});

test('Configuration.check accepts good values', t => {
	t.notThrows(() => configuration({max_use: '100', max_idle: '5m', smtpd_use_tls: 'no'}).check());
});

const rejects = test.macro({
	exec(t, name: string, value: string, message: string, version?: string) {
		const parameters = configuration({[name]: value}, version);
		t.throws(() => parameters.check(), {instanceOf: ConfigurationError, message});
	},
	title(_, name: string, value: string, _message: string, version?: string) {
		return `Configuration.check rejects ${name}=${value} in ${version ?? '3.7.11'}`;
	},
});

test(rejects, 'max_use', '0', 'invalid max_use parameter value 0 < 1');
test(rejects, 'max_idle', '10 s', 'parameter max_idle: bad time value or unit: 10 s');
test(rejects, 'tlsproxy_watchdog_timeout', '9', 'invalid tlsproxy_watchdog_timeout: 9 (min 10)');
test(rejects, 'smtpd_use_tls', 'maybe', 'bad boolean configuration: smtpd_use_tls = maybe');
test(rejects, 'syslog_name', '', 'bad string length 0 < 1: syslog_name = ');
test(rejects, 'compatibility_level', '3.x', 'malformed compatibility level syntax: "3.x"');
test(
	rejects,
	'compatibility_level',
	'3.6',
	'bad numerical configuration: compatibility_level = 3.6',
	'3.5.25',
);
test(
	rejects,
	'syslog_facility',
	'nope',
	'file /some/where/main.cf: parameter syslog_facility: unrecognized value: nope',
);
test(rejects, 'smtp_tls_CAfile', '${x', 'dictionary mail_dict: macro processing error');

test('Configuration.check ignores parameters that the release does not have', t => {
	t.notThrows(() => configuration({tlsproxy_tls_enable_rpk: 'maybe'}).check());
});
