import {chmod, mkdtemp, rm, utimes, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {execa} from 'execa';
import {ConfigurationError} from '../../src/base/errors.ts';
import {foldSpace} from '../../src/base/text.ts';
import type {Configuration} from '../../src/conf/configuration.ts';
import {toSeconds} from '../../src/conf/convert.ts';
import {type NameOf, parameterNames, parameterOf} from '../../src/conf/parameters.ts';
import {type ConfigurationSource, readConfiguration} from '../../src/conf/postconf.ts';
import {minorRelease} from '../helpers/release.ts';

const postconf = '/usr/sbin/postconf';

const names = {serviceName: 'proxy', processName: 'tlsproxy'};

/** Makes a configuration directory that is removed after the test. */
async function configDirectory(t: ExecutionContext, mainCf: string, masterCf = ''): Promise<string> {
	const directory = await mkdtemp(join(tmpdir(), 'postconf-'));
	t.teardown(() => rm(directory, {recursive: true}));
	await writeFile(join(directory, 'main.cf'), mainCf);
	await writeFile(join(directory, 'master.cf'), masterCf);
	/* postconf(1) waits if main.cf has changed less than a second ago. */
	await utimes(join(directory, 'main.cf'), 1, 1);
	return directory;
}

/* Since 3.6, a compatibility level is a version number. */
const hasLevels = minorRelease() >= 6;
const newest = hasLevels ? '3.6' : '2';

/** A shell script that replaces postconf(1). */
async function command(t: ExecutionContext, ...lines: readonly string[]): Promise<string> {
	const path = join(await configDirectory(t, ''), 'postconf');
	await writeFile(path, `#!/bin/sh\n${lines.join('\n')}\n`);
	await chmod(path, 0o755);
	return path;
}

function read(source: Partial<ConfigurationSource>): Promise<Configuration> {
	return readConfiguration({...names, overrides: [], ...source});
}

/** The value of a parameter as text, as postconf -x prints it. */
function printed(configuration: Configuration, name: (typeof parameterNames)[number], like: string): string {
	const {type} = parameterOf(name);
	switch (type) {
		case 'string':
			return foldSpace(configuration.string(name as NameOf<'string'>));
		case 'integer':
			return String(configuration.integer(name as NameOf<'integer'>));
		case 'boolean':
			return configuration.boolean(name as NameOf<'boolean'>) ? 'yes' : 'no';
		case 'time':
			return configuration.seconds(name as NameOf<'time'>) === toSeconds(name, like, {}) ? like : 'another';
		default:
			return type satisfies never;
	}
}

const agrees = test.macro({
	async exec(t, _condition: string, mainCf: string) {
		const directory = await configDirectory(t, mainCf);
		const configuration = await read({configDirectory: directory});
		const {stdout} = await execa(postconf, ['-c', directory, '-x']);
		const expected = new Map(
			stdout.split('\n').map(line => [line.split(' =')[0] ?? '', line.replace(/^\S+ = ?/, '')]),
		);
		const present = parameterNames.filter(name => configuration.has(name));
		t.true(present.length > 110);
		for (const name of present) {
			const like = expected.get(name) ?? 'nothing';
			t.is(printed(configuration, name, like), like, name);
		}
		t.deepEqual(
			parameterNames.filter(
				name => !present.includes(name) && expected.has(name) && !mainCf.includes(`${name} =`),
			),
			[],
		);
		t.notThrows(() => configuration.check());
	},
	title(_, condition: string) {
		return `readConfiguration agrees with postconf -x on ${condition}`;
	},
});

test(agrees, 'an empty main.cf', '');
test(agrees, 'compatibility level 1', 'compatibility_level = 1\n');
test(agrees, `compatibility level ${newest}`, `compatibility_level = ${newest}\n`);
test(
	agrees,
	'many settings',
	`compatibility_level = ${newest}
tls_home = /etc/ssl/\${myhostname}
myhostname = mx.example.com
smtp_tls_chain_files =
	$tls_home/key.pem,
# between
	$tls_home/chain.pem
smtp_tls_security_level = \${{$compatibility_level} ${hasLevels ? '>=level' : '>='} {${newest}} ? {dane} : {may}}
smtpd_tls_security_level = may
smtpd_tls_cert_file = \${tls_home?{$tls_home/cert.pem}:{none}}
smtpd_tls_exclude_ciphers = aNULL, MD5 = x
tls_preempt_cipherlist = yes
max_idle = 2h
ipc_timeout = 60
max_use = 1000
multi_instance_name = postfix-out
unused = 5
`,
);
test(
	agrees,
	'names of an older release',
	'tlsproxy_client_level = may\ntlsproxy_client_policy = hash:/etc/postfix/policy\nsmtp_tls_loglevel = $$1\n',
);

test('settings on the command line replace others, and the last one for a name applies', async t => {
	const directory = await configDirectory(t, 'max_use = 10\nmax_idle = 10\n');
	const configuration = await read({
		configDirectory: directory,
		overrides: [
			['max_use', '20'],
			['max_use', '30'],
		],
	});
	t.is(configuration.integer('max_use'), 30);
	t.is(Number(configuration.seconds('max_idle')), 10);
});

test('readConfiguration adds the parameters that describe the process', async t => {
	const directory = await configDirectory(
		t,
		'syslog_name = $service_name/$process_name/$process_id\nprocess_name = x\nsmtp_tls_CAfile = $config_directory/ca\n',
	);
	const configuration = await read({configDirectory: directory, overrides: [['service_name', 'y']]});
	t.is(configuration.string('syslog_name'), `proxy/tlsproxy/${process.pid}`);
	t.is(configuration.string('smtp_tls_CAfile'), `${directory}/ca`);
	t.is(configuration.configDirectory, directory);
});

test('readConfiguration finds names of main.cf that only the command line refers to', async t => {
	const directory = await configDirectory(
		t,
		'mine = $other/key\nother = ${base?{$base}:{/etc}}\nbase = /srv\nmail_name = M\n',
	);
	const configuration = await read({
		configDirectory: directory,
		overrides: [
			['smtp_tls_key_file', '${mine}$nowhere'],
			['smtp_tls_cert_file', '${given:$(other)}'],
			['smtp_tls_CAfile', '$given/$mail_name'],
			['given', ''],
		],
	});
	t.is(configuration.string('smtp_tls_key_file'), '/srv/key');
	t.is(configuration.string('smtp_tls_cert_file'), '/srv');
	t.is(configuration.string('smtp_tls_CAfile'), '/M');
});

test('readConfiguration runs postconf once if all names are known', async t => {
	const directory = await configDirectory(t, '');
	const count = join(directory, 'count');
	const counting = await command(t, `echo called >>${count}`, `exec ${postconf} "$@"`);
	const overrides = [
		['syslog_name', 'postfix/${service_name}$process_id$config_directory$myhostname'],
	] as const;
	await read({postconf: counting, configDirectory: directory, overrides});
	t.is((await execa('cat', [count])).stdout, 'called');
});

test('readConfiguration reports the error of postconf in main.cf', async t => {
	const directory = await configDirectory(t, 'max_use = 10\njunk\n');
	await t.throwsAsync(read({configDirectory: directory}), {
		instanceOf: ConfigurationError,
		message: `${directory}/main.cf, line 2: missing '=' after attribute name: "junk"`,
	});
});

test('readConfiguration uses MAIL_CONFIG if no directory is given', async t => {
	const directory = await configDirectory(t, 'max_use = 11\n');
	process.env['MAIL_CONFIG'] = directory;
	t.teardown(() => {
		delete process.env['MAIL_CONFIG'];
	});
	const configuration = await read({});
	t.is(configuration.integer('max_use'), 11);
	t.is(configuration.configDirectory, directory);
});

test('check() rejects a value that stock rejects', async t => {
	const directory = await configDirectory(t, '');
	const configuration = await read({configDirectory: directory, overrides: [['max_idle', '10 s']]});
	t.throws(() => configuration.check(), {
		instanceOf: ConfigurationError,
		message: 'parameter max_idle: bad time value or unit: 10 s',
	});
});

test('readConfiguration accepts lines that arrive in parts, values that are empty or contain an equals sign, and other lines', async t => {
	const fake = await command(
		t,
		"printf 'mail_version = 3.11.7\\nsmtp_tls_CAfile =\\nsmtp_tls_CApath = a = b\\nnonsense\\ntls_ssl_opt'",
		"sleep 0.1; printf 'ions = no_ticket'",
	);
	const configuration = await read({postconf: fake});
	t.is(configuration.features.release, '3.11.7');
	t.is(configuration.string('smtp_tls_CAfile'), '');
	t.is(configuration.string('smtp_tls_CApath'), 'a = b');
	t.is(configuration.string('tls_ssl_options'), 'no_ticket');
});

test('postconf inherits the standard descriptors only', async t => {
	const fake = await command(t, 'echo mail_version = 3.7.11', 'cd /proc/self/fd', 'echo smtp_tls_CAfile = *');
	const script = `
		import {readConfiguration} from '${new URL('../../src/conf/postconf.ts', import.meta.url).href}';
		const source = {postconf: '${fake}', overrides: [], serviceName: 'a', processName: 'b'};
		process.stdout.write((await readConfiguration(source)).string('smtp_tls_CAfile'));
	`;
	/* As with master(8): pipes and sockets from 3 on. The shell uses 3 for the directory, and one for its script. */
	const {stdout} = await execa(process.execPath, ['--input-type=module', '--eval', script], {
		stdio: ['ignore', 'pipe', 'inherit', 'pipe', 'pipe', 'pipe', 'pipe'],
	});
	const descriptors = stdout.split(' ');
	t.true(descriptors.includes('2'));
	t.deepEqual(
		['4', '5', '6'].filter(descriptor => descriptors.includes(descriptor)),
		[],
	);
});

test('readConfiguration reports a postconf that cannot be run', async t => {
	await t.throwsAsync(read({postconf: '/nowhere/postconf'}), {
		instanceOf: ConfigurationError,
		message: '/nowhere/postconf: spawn /nowhere/postconf ENOENT',
	});
});

test('readConfiguration reports a postconf that fails without an error message', async t => {
	await t.throwsAsync(read({postconf: await command(t, 'exit 3')}), {
		instanceOf: ConfigurationError,
		message: /\/postconf: exit status 3$/,
	});
});

test('readConfiguration reports a postconf that prints nothing', async t => {
	await t.throwsAsync(read({postconf: await command(t, 'exit 0')}), {
		instanceOf: ConfigurationError,
		message: 'parameter mail_version: unrecognized value: ',
	});
});

test('readConfiguration waits ten seconds for postconf', async t => {
	await t.throwsAsync(read({postconf: await command(t, 'exec sleep 60')}), {
		instanceOf: ConfigurationError,
		message: /\/postconf: no answer within 10 seconds$/,
	});
});

/*
 * Only bad values are compared: stock ends before it uses its descriptors. With a good
 * value it would serve.
 */
const stock = '/usr/lib/postfix/sbin/tlsproxy';

for (const override of [
	'max_use=x',
	'max_use=0',
	'max_use=99999999999',
	'max_idle=0',
	'max_idle=',
	'max_idle=s',
	'max_idle=10 s',
	'max_idle=4000w',
	'smtpd_use_tls=maybe',
	'syslog_name=',
	'tlsproxy_watchdog_timeout=5',
	/* Postfix 3.5 checks this value after it has used its descriptors. */
	...(hasLevels ? ['compatibility_level=x.y', 'smtp_tls_CAfile=${{1} <level {x}?a}'] : []),
	'syslog_facility=MAIL',
	'smtp_tls_CAfile=${x',
]) {
	test(`Configuration.check rejects ${override} with the message of stock`, async t => {
		const directory = await configDirectory(t, `compatibility_level = ${newest}\n`);
		const {stderr} = await execa(stock, ['-z', '-t', 'unix', '-V', '-o', override], {
			env: {MAIL_CONFIG: directory},
			stdin: 'ignore',
			reject: false,
			timeout: 10_000,
		});
		const [name = '', value = ''] = override.split(/=(.*)/s);
		const configuration = await read({configDirectory: directory, overrides: [[name, value]]});
		t.throws(() => configuration.check(), {message: /fatal: (.*)$/m.exec(stderr)?.[1] ?? 'nothing'});
	});
}
