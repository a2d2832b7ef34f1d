/*
 * The reports of doctor on working and broken configurations of instances that are never
 * started. doctor-agrees-with-postfix.ts tests that Postfix behaves as reported.
 */

import {execFileSync, spawnSync} from 'node:child_process';
import {chmodSync, chownSync, cpSync, mkdirSync, rmSync, writeFileSync} from 'node:fs';
import {join, relative} from 'node:path';
import test from 'ava';
import {makeCertificates} from '../../postfix/lib/certificates.ts';
import {mailVersion} from '../../postfix/lib/instance.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {type Instance, instance, proto} from '../helpers/instance.ts';

const project = join(import.meta.dirname, '..', '..');
const asRoot = process.getuid?.() === 0 ? test : test.skip;

const GOOD_MAIN = 'smtp_tls_security_level = may\nsmtp_tls_connection_reuse = yes\n';
const GOOD_MASTER = proto.replace(/^#tlsproxy/m, 'tlsproxy');

/* Postfix 3.7 renamed this parameter. */
const CLIENT_LEVEL =
	execFileSync('postconf', ['-d', 'tlsproxy_client_security_level'], {encoding: 'utf8', stdio: 'pipe'}) === ''
		? 'tlsproxy_client_level'
		: 'tlsproxy_client_security_level';

interface Outcome {
	readonly status: number | null;
	readonly stdout: string;
	readonly stderr: string;
}

function run(command: string, args: readonly string[], uid?: number): Outcome {
	const {status, stdout, stderr} = spawnSync(command, args, {
		encoding: 'utf8',
		cwd: '/',
		...(uid === undefined ? {} : {uid}),
	});
	return {status, stdout, stderr};
}

/** Runs doctor. Its output is returned in one line. */
function doctor(directory: string, ...destinations: readonly string[]): Outcome {
	const outcome = run(join(project, 'postfix', 'doctor'), ['-c', directory, ...destinations]);
	return {...outcome, stdout: outcome.stdout.replaceAll(/\s+/g, ' ').trim()};
}

interface Configuration {
	readonly main?: string;
	/** Edits the master.cf of Debian, in which the stock service is active. */
	readonly master?: (text: string) => string;
	readonly prepare?: (it: Instance) => Promise<void> | void;
	readonly destinations?: readonly string[];
}

function make({main = '', master = text => text}: Configuration): Instance {
	/* Settings of the test replace the usual ones: postconf(1) warns about duplicates. */
	const names = new Set([...main.matchAll(/^(\w+)\s*=/gm)].map(([, name]) => name));
	const usual = GOOD_MAIN.split('\n').filter(line => !names.has(line.split(' ')[0]));
	return instance(master(GOOD_MASTER), `${usual.join('\n')}\n${main}`);
}

const silent = test.macro({
	async exec(t, configuration: Configuration) {
		using it = make(configuration);
		await configuration.prepare?.(it);
		t.deepEqual(doctor(it.directory, ...(configuration.destinations ?? [])), {
			status: 0,
			stdout: '',
			stderr: '',
		});
	},
	title: (condition = '') => `doctor reports nothing for ${condition}`,
});

const finds = test.macro({
	async exec(t, configuration: Configuration, cause: RegExp, repair: RegExp) {
		using it = make(configuration);
		await configuration.prepare?.(it);
		const {status, stdout, stderr} = doctor(it.directory, ...(configuration.destinations ?? []));
		t.is(status, 1, stderr);
		t.is(stderr, '');
		t.true(stdout.startsWith(`doctor: ${it.directory}: one finding 1. `), stdout);
		t.regex(stdout, cause);
		t.regex(stdout, repair);
	},
	title: (condition = '') => `doctor reports the cause: ${condition}`,
});

test('doctor evaluates functions in main.cf if the release has them', t => {
	using it = make({
		main: 'smtp_tls_connection_reuse = ${{${domain_to_ascii{é.test}}}=={xn--9ca.test}?{yes}:{no}}\n',
	});
	const {status, stdout, stderr} = doctor(it.directory);
	t.is(stdout, '');
	/* Before 3.11, Postfix rejects this main.cf. */
	const hasFunctions = releaseFeatures(mailVersion()).domainFunctions;
	t.is(status, hasFunctions ? 0 : 2, stderr);
	t.regex(stderr, hasFunctions ? /^$/ : /macro processing error/);
});

/* A service whose line is commented out is inactive, with its options. */
function without(name: string): (text: string) => string {
	return text => text.replace(new RegExp(`^${name}\\s+unix`, 'm'), '#$&');
}

function column(name: string, number: number, value: string): (text: string) => string {
	return text =>
		text.replace(new RegExp(`^(${name}\\s+unix(?:\\s+\\S+){${number - 1}}\\s+)\\S+`, 'm'), `$1${value}`);
}

function added(...lines: readonly string[]): (text: string) => string {
	return text => `${text.trimEnd()}\n${lines.join('\n')}\n`;
}

/** Registers the program with postfix/install. */
function installed(it: Instance, ...options: readonly string[]): void {
	const {status, stderr} = run(join(project, 'postfix', 'install'), ['-c', it.directory, ...options]);
	if (status !== 0) {
		throw new Error(stderr);
	}
}

test('stock in the master.cf of Debian', silent, {});
test('a relay host with a policy', silent, {
	main: 'relayhost = [mail.example.com]:587\nsmtp_tls_policy_maps = inline:{ { [mail.example.com]:587 = encrypt } }\n',
});
test('correct cache destinations', silent, {
	main: 'smtp_connection_cache_destinations = mail.example.com, /etc/postfix/names, hash:/etc/postfix/table\n',
});
test('longer time limits that match', silent, {
	main: 'smtp_connection_cache_time_limit = 30s\nconnection_cache_ttl_limit = 1m\n',
});
test('one transport with connection reuse, and others without', silent, {
	main: `smtp_tls_connection_reuse = no\nsmtp_tls_security_level =\n${CLIENT_LEVEL} = may\n`,
	master: added(
		'reusing unix - - n - - smtp',
		'  -o smtp_tls_connection_reuse=yes',
		'  -o smtp_tls_security_level=encrypt',
	),
});
test('reuse for some destinations only', silent, {
	main: 'smtp_tls_connection_reuse = no\nsmtp_tls_policy_maps = inline:{ { example.com = encrypt connection_reuse=yes } }\n',
});
asRoot('this program instead of stock', silent, {
	master: without('tlsproxy'),
	prepare: it => installed(it, '-l', '2'),
});
asRoot('this program in addition to stock, in a chroot jail, with three identities', silent, {
	master: text =>
		added(
			'one unix - - n - - smtp -o tlsproxy_service_name=tlsproxyn -o smtp_tls_cert_file=$config_directory/cert.pem',
			'  -o smtp_tls_key_file=$config_directory/key.pem',
			'two unix - - n - - smtp -o tlsproxy_service_name=tlsproxyn -o smtp_tls_CAfile=$config_directory/ca.pem',
		)(text),
	async prepare(it) {
		await makeCertificates(it.directory, 'client.example');
		installed(it, '-s', 'tlsproxyn', '-C', 'y', '-l', '3');
	},
});

test(
	'connection reuse is off',
	finds,
	{main: 'smtp_tls_connection_reuse = no\n'},
	/smtp_tls_connection_reuse is off \(smtp\/unix, relay\/unix\)\. smtp\(8\) does not use tlsproxy\(8\)/,
	/postconf -c \S+ -e "smtp_tls_connection_reuse=yes"$/,
);
test(
	'connection reuse is off in master.cf',
	finds,
	{
		main: 'smtp_tls_connection_reuse = no\n',
		master: text =>
			text.replace(/^relay /m, '#$&').replace(/^smtp\s+unix.*$/m, '$&\n  -o smtp_tls_connection_reuse=no'),
	},
	/smtp_tls_connection_reuse is off \(smtp\/unix\)/,
	/postconf -c \S+ -P "smtp\/unix\/smtp_tls_connection_reuse=yes"$/,
);
test(
	'TLS is off',
	finds,
	{
		main: `smtp_tls_security_level = none\nlmtp_tls_security_level = may\n${CLIENT_LEVEL} = may\n`,
		master: without('relay'),
	},
	/smtp_tls_security_level is "none" \(smtp\/unix\)\. Mail is sent in cleartext/,
	/-e "smtp_tls_security_level=may"/,
);
test(
	'TLS was never turned on',
	finds,
	{main: `smtp_tls_security_level =\n${CLIENT_LEVEL} = may\n`, master: without('relay')},
	/smtp_tls_security_level is empty/,
	/-e "smtp_tls_security_level=may"/,
);
test(
	'an unknown security level',
	finds,
	{main: 'smtp_tls_security_level = high\n', master: without('relay')},
	/"high", which is not a security level/,
	/-e "smtp_tls_security_level=may"/,
);
test(
	'wrapper mode without encryption',
	finds,
	{main: 'smtp_tls_wrappermode = yes\n', master: without('relay')},
	/smtp_tls_wrappermode is on, with smtp_tls_security_level "may"/,
	/-e "smtp_tls_security_level=encrypt"/,
);
test(
	'STARTTLS is hidden',
	finds,
	{main: 'smtp_discard_ehlo_keywords = silent-discard, starttls\n', master: without('relay')},
	/smtp_discard_ehlo_keywords contains STARTTLS/,
	/-e "smtp_discard_ehlo_keywords=silent-discard"/,
);
test(
	'EHLO is never sent',
	finds,
	{main: 'smtp_never_send_ehlo = yes\n', master: without('relay')},
	/smtp_never_send_ehlo is on/,
	/-e "smtp_never_send_ehlo=no"/,
);
test(
	'a misspelled parameter',
	finds,
	{main: 'smtp_tls_conection_reuse = yes\n'},
	/main\.cf or master\.cf contains "smtp_tls_conection_reuse=yes", and Postfix \S+ has no parameter of that name/,
	/-X "smtp_tls_conection_reuse"/,
);
test(
	'the policy of the relay host',
	finds,
	{
		main: 'relayhost = [mail.example.com]:587\nsmtp_tls_policy_maps = inline:{ { [mail.example.com]:587 = encrypt connection_reuse=no } }\n',
		master: without('relay'),
	},
	/Reuse is off: the policy of \[mail\.example\.com\]:587 in inline:\{.*\} is "encrypt connection_reuse=no" \(smtp\/unix\)/,
	/remove "connection_reuse=no"/,
);
test(
	'a policy for the host of the relay host, without brackets and port',
	finds,
	{
		main: 'relayhost = [mail.example.com]:587\nsmtp_tls_policy_maps = inline:{ { mail.example.com = secure } }\n',
		master: without('relay'),
	},
	/has a policy for mail\.example\.com, and the next-hop is \[mail\.example\.com\]:587 \(smtp\/unix\)\. .*does not apply/,
	/write \[mail\.example\.com\]:587 instead of mail\.example\.com/,
);
test(
	'the policy of a parent domain of a destination',
	finds,
	{
		main: 'smtp_tls_policy_maps = inline:{ { .example.com = none } }\n',
		master: without('relay'),
		destinations: ['mail.example.com'],
	},
	/TLS is off: the policy of mail\.example\.com/,
	/edit inline:/,
);

test(
	'the service is commented out',
	finds,
	{master: without('tlsproxy')},
	/no active service tlsproxy\/unix.*Mail is deferred, and at security level "may" it is sent in cleartext later/,
	/postfix\/install -c \S+ or, for stock: postconf -c \S+ -M tlsproxy\/unix="tlsproxy unix - - n - 0 tlsproxy"$/,
);
test(
	'another service name',
	finds,
	{main: 'tlsproxy_service_name = proxy\n'},
	/no active service proxy\/unix, which tlsproxy_service_name names \(smtp\/unix, relay\/unix\)/,
	/-e "tlsproxy_service_name=tlsproxy"/,
);
test(
	'a service on the network',
	finds,
	{master: text => without('tlsproxy')(text).concat('tlsproxy inet n - n - 0 tlsproxy\n')},
	/The service tlsproxy has the type inet, not unix/,
	/postfix\/install -c/,
);
test(
	'a public service',
	finds,
	{master: column('tlsproxy', 1, 'n')},
	/tlsproxy\/unix is not private, and clients connect to private\/tlsproxy/,
	/-F tlsproxy\/unix\/private=y/,
);
test(
	'a disabled service',
	finds,
	{main: 'master_service_disable = inet, !scache/unix, tlsproxy/unix\n'},
	/master_service_disable turns tlsproxy\/unix off/,
	/-e master_service_disable=/,
);
test(
	'a process limit for stock',
	finds,
	{master: column('tlsproxy', 5, '2')},
	/process limit of 2, and stock tlsproxy\(8\) must have no limit/,
	/-F tlsproxy\/unix\/process_limit=0/,
);
test(
	'the default process limit for stock',
	finds,
	{master: column('tlsproxy', 5, '-')},
	/process limit of 100, and stock/,
	/process_limit=0/,
);
asRoot(
	'a process limit of 1 for this program',
	finds,
	{master: without('tlsproxy'), prepare: it => installed(it, '-l', '1')},
	/tlsproxy\/unix has a process limit of 1\. All handshakes wait for one processor core/,
	/-F tlsproxy\/unix\/process_limit=2/,
);
test(
	'another program',
	finds,
	{master: column('tlsproxy', 6, 'smtpd')},
	/tlsproxy\/unix runs smtpd, which is not tlsproxy\(8\)/,
	/-F tlsproxy\/unix\/command=tlsproxy/,
);

/** A copy of the program in the directory of the instance, and a line in master.cf that runs it. */
function copied(change: (program: string) => void): Configuration {
	return {
		master: without('tlsproxy'),
		prepare(it) {
			const program = join(it.directory, 'program');
			mkdirSync(program);
			cpSync(join(project, 'dist', 'tlsproxy'), join(program, 'tlsproxy'));
			mkdirSync(join(program, 'lib'));
			writeFileSync(join(program, 'lib', 'main.js'), '');
			const daemons = run('postconf', ['-dh', 'daemon_directory']).stdout.trim();
			writeFileSync(
				it.masterCf,
				`${it.read()}tlsproxy unix - - n - 2 ${relative(daemons, join(program, 'tlsproxy'))}\n`,
			);
			change(program);
		},
	};
}

test(
	'a copy of this program in master.cf',
	silent,
	copied(() => undefined),
);
test(
	'a program that does not exist',
	finds,
	copied(program => rmSync(join(program, 'tlsproxy'))),
	/The program of tlsproxy\/unix does not exist: \S+\/tlsproxy\. master\(8\) cannot start it/,
	/postfix\/install -c/,
);
test(
	'a program whose directory does not exist',
	finds,
	{master: column('tlsproxy', 6, '../../../absent/tlsproxy')},
	/The program of tlsproxy\/unix does not exist: \/usr\/absent\/tlsproxy|does not exist: \/absent\/tlsproxy/,
	/postfix\/install -c/,
);
test(
	'a program that is not executable',
	finds,
	copied(program => chmodSync(join(program, 'tlsproxy'), 0o644)),
	/is not an executable file: \S+\/program\/tlsproxy/,
	/chmod 755 \S+\/program\/tlsproxy/,
);
asRoot(
	'a program that another user owns',
	finds,
	copied(program => chownSync(join(program, 'tlsproxy'), 1, 1)),
	/program\/tlsproxy is not owned by root, and master\(8\) runs \S+ as root/,
	/chown root \S+\/tlsproxy/,
);
test(
	'a file of the program that other users can write to',
	finds,
	copied(program => chmodSync(join(program, 'lib', 'main.js'), 0o666)),
	/main\.js is writable by users other than root/,
	/chmod go-w \S+\/main\.js/,
);
test(
	'the client role is disabled, because only a transport sets a security level',
	finds,
	{
		main: 'smtp_tls_security_level =\nsmtp_tls_connection_reuse = no\n',
		master: added(
			'reusing unix - - n - - smtp -o smtp_tls_connection_reuse=yes -o smtp_tls_security_level=encrypt',
		),
	},
	/tlsproxy_client_(security_)?level is empty for tlsproxy\/unix, which turns its client role off \(reusing\/unix use TLS\)/,
	/-e "tlsproxy_client_(security_)?level=may"/,
);

test(
	'the cache service is missing',
	finds,
	{master: without('scache')},
	/no service scache\/unix, where connections are stored/,
	/-M scache\/unix="scache unix - - n - 1 scache"/,
);
test(
	'another name for the cache service',
	finds,
	{main: 'connection_cache_service_name = cache\n'},
	/no service cache\/unix/,
	/-e connection_cache_service_name=scache/,
);
test(
	'more than one cache',
	finds,
	{master: column('scache', 5, '3')},
	/scache\/unix has a process limit of 3/,
	/-F scache\/unix\/process_limit=1/,
);
test(
	'the cache service is disabled',
	finds,
	{main: 'master_service_disable = scache/unix\n'},
	/master_service_disable turns scache\/unix off/,
	/-e master_service_disable=/,
);
test(
	'nothing is stored',
	finds,
	{main: 'smtp_connection_cache_on_demand = no\n', master: without('relay')},
	/smtp_connection_cache_on_demand is off, and smtp_connection_cache_destinations is empty/,
	/-e "smtp_connection_cache_on_demand=yes"/,
);
test(
	'brackets in cache destinations, from the relay host',
	finds,
	{
		main: 'relayhost = [mail.example.com]:587\nsmtp_connection_cache_destinations = $relayhost, example.org, [192.0.2.1]\n',
		master: without('relay'),
	},
	/contains "\[mail\.example\.com\]:587", "\[192\.0\.2\.1\]".*searches this list for the name without brackets and port/,
	/-e "smtp_connection_cache_destinations=mail\.example\.com, example\.org, 192\.0\.2\.1"/,
);
test(
	'a time limit above that of the cache',
	finds,
	{main: 'smtp_connection_cache_time_limit = 1m\n', master: without('relay')},
	/cache_time_limit is 60 s, and connection_cache_ttl_limit is 2 s.*still closes connections after 2 s/,
	/-e connection_cache_ttl_limit=60s/,
);
test(
	'a cache time limit that is too short',
	finds,
	{main: 'smtp_connection_cache_time_limit = 1s\n', master: without('relay')},
	/smtp_connection_cache_time_limit is 1 s/,
	/-e "smtp_connection_cache_time_limit=2s"/,
);
test(
	'a reuse time limit that is too short',
	finds,
	{main: 'smtp_connection_reuse_time_limit = 3s\n', master: without('relay')},
	/reuse_time_limit is 3 s.*made more than 3 s ago is closed instead of stored/,
	/-e "smtp_connection_reuse_time_limit=300s"/,
);
test(
	'a reuse count limit that is too small',
	finds,
	{main: 'smtp_connection_reuse_count_limit = 1\n', master: without('relay')},
	/reuse_count_limit is 1 \(.*closed after 2 deliveries/,
	/-e "smtp_connection_reuse_count_limit=0"/,
);
test(
	'a delay between deliveries',
	finds,
	{main: 'default_destination_rate_delay = 1m\n', master: without('relay')},
	/smtp_destination_rate_delay is 60 s, and connections are stored for 2 s/,
	/-e smtp_connection_cache_time_limit=62s postconf \S+ \S+ -e connection_cache_ttl_limit=62s/,
);
test(
	'unlimited concurrency',
	finds,
	{main: 'smtp_destination_concurrency_limit = 0\n', master: without('relay')},
	/smtp_destination_concurrency_limit is 0, which is unlimited/,
	/-e smtp_destination_concurrency_limit=20/,
);

test(
	'a CAfile that does not exist',
	finds,
	{main: 'smtp_tls_CAfile = /absent/ca.pem\n', master: without('relay')},
	/smtp_tls_CAfile is \/absent\/ca\.pem, which does not exist \(smtp\/unix\)/,
	/-e "smtp_tls_CAfile="/,
);
asRoot(
	'a key that belongs to another certificate',
	finds,
	{
		main: 'smtp_tls_cert_file = $config_directory/cert.pem\nsmtp_tls_key_file = $config_directory/ca-key.pem\n',
		master: without('relay'),
		async prepare(it) {
			await makeCertificates(it.directory, 'client.example');
		},
	},
	/The key in \S+\/ca-key\.pem does not belong to the certificate in \S+\/cert\.pem/,
	/smtp_tls_key_file=/,
);
test(
	'an identity that differs from that of stock',
	finds,
	{
		master: text => added('other unix - - n - - smtp -o smtp_tls_CAfile=$config_directory/main.cf')(text),
	},
	/Stock tlsproxy\(8\) has one identity, and that of other\/unix differs: smtp_tls_CAfile\..*unexpected settings/,
	/-e "tlsproxy_client_CAfile=\S+\/main\.cf"/,
);
test(
	'a CApath directory that does not exist inside the chroot jail',
	finds,
	{
		main: 'smtp_tls_security_level = secure\nsmtp_tls_CApath = /usr\n',
		master: text => without('relay')(column('tlsproxy', 3, 'y')(text)),
	},
	/tlsproxy\/unix runs in a jail, and \/usr does not exist there: \S+\/queue\/usr \(smtp\/unix\)/,
	/-F tlsproxy\/unix\/chroot=n/,
);

test('doctor lists several findings, in the order of the repair', t => {
	using it = instance('smtp unix - - n - - smtp\n');
	const {status, stdout} = doctor(it.directory);
	t.is(status, 1);
	t.regex(
		stdout,
		/4 findings 1\. master\.cf has no active service.* 2\. smtp_tls_connection_reuse is off.* 4\. master\.cf has no service scache/,
	);
});

test('doctor reports a release of Postfix before 3.4', t => {
	using it = make({});
	const directory = join(it.directory, 'bin');
	mkdirSync(directory);
	writeFileSync(join(directory, 'postconf'), '#!/bin/sh\necho mail_version = 3.3.22\n', {mode: 0o755});
	const {status, stdout} = spawnSync(join(project, 'postfix', 'doctor'), ['-c', it.directory], {
		encoding: 'utf8',
		env: {PATH: `${directory}:/usr/bin:/bin`},
	});
	t.is(status, 1);
	t.regex(stdout, /Postfix 3\.3\.22 cannot reuse TLS connections/);
});

asRoot('doctor works for any user', t => {
	using it = make({main: 'smtp_tls_connection_reuse = no\n'});
	const {status, stdout, stderr} = run(join(project, 'postfix', 'doctor'), ['-c', it.directory], 65_534);
	t.is(status, 1, stderr);
	t.regex(stdout, /smtp_tls_connection_reuse is off/);
});

for (const [condition, args, message] of [
	['no instance', [], /^doctor: fatal: no configuration directory\nusage: doctor -c/],
	['an unknown option', ['-x'], /'-x'[^]*\nusage: doctor -c/],
	[
		'a directory that does not exist',
		['-c', '/nonexistent'],
		/^doctor: fatal: \/nonexistent: no such directory/,
	],
] as const) {
	test(`doctor fails with ${condition}`, t => {
		const {status, stdout, stderr} = run(join(project, 'postfix', 'doctor'), args);
		t.is(status, 2);
		t.is(stdout, '');
		t.regex(stderr, message);
	});
}

test('doctor fails if postconf(1) fails', t => {
	using it = make({main: 'broken\n'});
	const {status, stderr} = doctor(it.directory);
	t.is(status, 2);
	t.regex(stderr, /postconf\(1\) failed: .*missing '=' after attribute name/s);
});

test('doctor reports a finding for several services once', t => {
	using it = make({main: 'smtp_connection_reuse_time_limit = 3s\n'});
	t.regex(
		doctor(it.directory).stdout,
		/one finding 1\. smtp_connection_reuse_time_limit is 3 s \(smtp\/unix, relay\/unix\)\./,
	);
});
