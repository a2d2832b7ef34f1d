import {copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {execa} from 'execa';
import {Configuration} from '../../src/conf/configuration.ts';
import {neededLibraries} from '../../src/conf/elf.ts';
import {libicuucOf, linkedLibssl} from '../../src/conf/linkage.ts';

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

test('what an executable file asks for is what the loader finds', async t => {
	const program = (await execa`which openssl`).stdout;
	const {stdout} = await execa`ldd ${program}`;
	const needed = neededLibraries(program);
	t.true(needed.some(name => name.startsWith('libssl.so.')));
	for (const name of needed) {
		t.true(stdout.includes(name), name);
	}
});

test('a file that is no program, is damaged or absent asks for nothing', async t => {
	const program = readFileSync((await execa`which openssl`).stdout);
	const text = join(directory, 'text');
	writeFileSync(text, '#!/bin/sh\n');
	const short = join(directory, 'short');
	writeFileSync(short, program.subarray(0, 100));
	const headless = join(directory, 'headless');
	writeFileSync(headless, Buffer.concat([program.subarray(0, 32), Buffer.alloc(8, 0xff)]));
	const empty = join(directory, 'empty');
	writeFileSync(empty, '');
	for (const path of [text, short, headless, empty, join(directory, 'absent'), directory]) {
		t.deepEqual(neededLibraries(path), [], path);
	}
});

test('the library of the installed Postfix is that of its own library for TLS', async t => {
	const found = linkedLibssl(
		configuration(await installed('shlib_directory'), await installed('daemon_directory')),
	);
	t.regex(found ?? '', /^libssl\.so\.(3|1\.1)$/);
});

test('without shared libraries of Postfix it is that of its daemons', async t => {
	const daemons = join(directory, 'daemons');
	mkdirSync(daemons);
	t.is(linkedLibssl(configuration('no', daemons)), undefined);
	copyFileSync((await execa`which openssl`).stdout, join(daemons, 'smtpd'));
	t.regex(linkedLibssl(configuration('no', daemons)) ?? '', /^libssl\.so\./);
});

test('the library for domain names of the installed Postfix is that of its utility library', async t => {
	const found = libicuucOf(
		configuration(await installed('shlib_directory'), await installed('daemon_directory')),
	);
	t.regex(found ?? '', /^libicuuc\.so\.\d+$/);
});

test('a Postfix that is linked with no library for domain names has none', t => {
	const daemons = join(directory, 'no-icu');
	mkdirSync(daemons);
	copyFileSync(process.execPath, join(daemons, 'smtp'));
	t.is(libicuucOf(configuration('no', daemons)), undefined);
	t.is(libicuucOf(configuration(daemons, daemons)), undefined);
});
