import {mkdtempSync, rmSync, utimesSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {execa} from 'execa';
import {mailVersion} from '../../postfix/lib/instance.ts';
import {ConfigurationError} from '../../src/base/errors.ts';
import {Configuration} from '../../src/conf/configuration.ts';
import {expand} from '../../src/conf/expand.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {loadMidna} from '../../src/roles/midna.ts';
import {domainToAscii} from '../../src/tls/midna-domain.ts';
import {collectLog} from '../helpers/openssl.ts';

const lookup = (): undefined => undefined;
const log = collectLog();

async function configuration(
	release: string,
	settings: Readonly<Record<string, string>> = {},
): Promise<Configuration> {
	const names = ['shlib_directory', 'daemon_directory'];
	const {stdout} = await execa`postconf -dh ${names}`;
	const values = stdout.split('\n');
	return new Configuration(
		new Map([
			...names.map((name, index) => [name, values[index] ?? ''] as const),
			['mail_version', release],
			['smtputf8_enable', 'yes'],
			['enable_idna2003_compatibility', 'no'],
			...Object.entries(settings),
		]),
	);
}

test.serial('a release without functions in main.cf converts names', async t => {
	t.true(loadMidna(await configuration('3.10.1')));
	t.is(domainToAscii(Buffer.from('é.test').toString('latin1')), 'xn--9ca.test');
	t.throws(() => expand('${domain_to_ascii{é.test}}', lookup), {instanceOf: ConfigurationError});
	t.deepEqual(log, []);
});

test.serial('smtputf8_enable has the value in main.cf', async t => {
	t.false(loadMidna(await configuration('3.10.1', {smtputf8_enable: 'no'})));
	t.deepEqual(log, []);
});

test.serial('a Postfix that is linked with OpenSSL and not with ICU has no EAI', async t => {
	const directory = mkdtempSync(join(tmpdir(), 'midna-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	const {stdout: openssl} = await execa`which openssl`;
	await execa`cp ${openssl} ${join(directory, 'smtp')}`;
	const directories = {shlib_directory: 'no', daemon_directory: directory};
	t.false(loadMidna(await configuration('3.10.1', directories)));
	t.deepEqual(log.splice(0), ['warning: smtputf8_enable is true, but EAI support is not compiled in']);
	t.false(loadMidna(await configuration('3.10.1', {...directories, smtputf8_enable: 'no'})));
	t.deepEqual(log, []);
});

/* Values and warnings of Postfix 3.11. */
const values: ReadonlyArray<
	readonly [text: string, value: string | undefined, ...warnings: readonly string[]]
> = [
	['${domain_to_ascii{bücher.test}}', 'xn--bcher-kva.test'],
	['${domain_to_ascii{Plain.Example}}', 'Plain.Example'],
	['${domain_to_ascii{xn--a/}}', 'xn--a/'],
	['${domain_to_utf8{xn--bcher-kva.test}}', 'bücher.test'],
	['${domain_to_utf8{PLAIN.test}}', 'plain.test'],
	['${domain_to_utf8{bü/cher.test}}', 'bü/cher.test'],
	['${domain_to_utf8{}}', ''],
	[
		'${domain_to_ascii{}}',
		undefined,
		'midna_domain_to_ascii_create: Problem translating domain "" to ASCII form: UIDNA_ERROR_EMPTY_LABEL',
		"bad domain argument in: 'domain_to_ascii{}'",
	],
	[
		'${domain_to_ascii{bü/cher.test}}',
		undefined,
		'midna_domain_to_ascii_create: Problem translating domain "bü/cher.test" to ASCII form: malformed ASCII label(s)',
		"bad domain argument in: 'domain_to_ascii{bü/cher.test}'",
	],
	[
		'${domain_to_utf8{a..b}}',
		undefined,
		'midna_domain_to_utf8_create: Problem translating domain "a..b" to UTF8 form: UIDNA_ERROR_EMPTY_LABEL',
		"bad domain argument in: 'domain_to_utf8{a..b}'",
	],
];

test.serial('the functions of main.cf return the values of Postfix 3.11', async t => {
	loadMidna(await configuration('3.11.0'));
	log.splice(0);
	for (const [text, value, ...warnings] of values) {
		let result: string | undefined;
		try {
			result = expand(text, lookup);
		} catch (reason) {
			const {cause} = reason as ConfigurationError;
			log.push(`warning: ${cause instanceof Error ? cause.message : ''}`);
		}

		t.is(result, value, text);
		t.deepEqual(
			log.splice(0),
			warnings.map(line => `warning: ${line}`),
			text,
		);
	}
});

test.serial('the functions of the installed Postfix return the same values', async t => {
	const directory = mkdtempSync(join(tmpdir(), 'midna-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	writeFileSync(join(directory, 'main.cf'), 'compatibility_level = 3.6\n');
	writeFileSync(join(directory, 'master.cf'), '');
	utimesSync(join(directory, 'main.cf'), 1, 1);
	for (const [text, value, ...warnings] of values) {
		const args = ['-c', directory, '-xh', '-o', `relayhost=${text}`, 'relayhost'];
		const {exitCode, stdout, stderr} = await execa('postconf', args, {reject: false});
		if (releaseFeatures(mailVersion()).domainFunctions) {
			t.is(exitCode === 0 ? stdout.trim() : undefined, value, text);
			for (const line of warnings) {
				/* postconf(1) prints only ASCII. */
				const printed = Buffer.from(line)
					.toString('latin1')
					.replaceAll(/[^ -~]/g, '?');
				t.true(stderr.includes(printed), `${text}: ${stderr}`);
			}
		} else {
			t.is(exitCode, 1);
			t.regex(stderr, /attribute name syntax error/);
		}
	}
});
