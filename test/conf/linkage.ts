import {copyFileSync, mkdirSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {execa} from 'execa';
import {Configuration} from '../../src/conf/configuration.ts';
import {linkedLibicuuc, linkedLibssl} from '../../src/conf/linkage.ts';

const directory = mkdtempSync(join(tmpdir(), 'linkage-'));
test.after.always(() => rmSync(directory, {recursive: true}));

function configuration(shlib: string, daemons: string): Configuration {
	return new Configuration(
		new Map([
			['mail_version', '3.7.11'],
			['shlib_directory', shlib],
			['daemon_directory', daemons],
		]),
	);
}

/** Directories of the installed Postfix. */
async function installed(name: string): Promise<string> {
	const {stdout} = await execa`postconf -dh ${name}`;
	return stdout;
}

test('the OpenSSL library of the installed Postfix is that of its TLS library', async t => {
	const found = linkedLibssl(
		configuration(await installed('shlib_directory'), await installed('daemon_directory')),
	);
	t.regex(found ?? '', /^libssl\.so\.(3|1\.1)$/);
});

test('without shared libraries of Postfix, the OpenSSL library is that of its daemons', async t => {
	const daemons = join(directory, 'daemons');
	mkdirSync(daemons);
	t.is(linkedLibssl(configuration('no', daemons)), undefined);
	copyFileSync((await execa`which openssl`).stdout, join(daemons, 'smtpd'));
	t.regex(linkedLibssl(configuration('no', daemons)) ?? '', /^libssl\.so\./);
});

test('the ICU library of the installed Postfix is that of its utility library', async t => {
	const found = linkedLibicuuc(
		configuration(await installed('shlib_directory'), await installed('daemon_directory')),
	);
	t.regex(found ?? '', /^libicuuc\.so\.\d+$/);
});

test('the ICU library is undefined if Postfix is not linked with one', t => {
	const daemons = join(directory, 'no-icu');
	mkdirSync(daemons);
	copyFileSync(process.execPath, join(daemons, 'smtp'));
	t.is(linkedLibicuuc(configuration('no', daemons)), undefined);
	t.is(linkedLibicuuc(configuration(daemons, daemons)), undefined);
});
