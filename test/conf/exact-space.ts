/* Compares the settings that exact-space.ts reads with the output of postconf(1): only white space may differ. */
import {mkdtempSync, rmSync, utimesSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {execa} from 'execa';
import fc from 'fast-check';
import {foldSpace} from '../../src/base/text.ts';
import {readMainCf, readMasterCf, type Values, withExactSpace} from '../../src/conf/exact-space.ts';
import {isIn, parameterNames, parameterOf} from '../../src/conf/parameters.ts';
import {postconfLines, readConfiguration} from '../../src/conf/postconf.ts';
import {valuesIn} from '../../src/conf/postconf-output.ts';
import {mailClients, readMasterFile} from '../../src/conf/services.ts';

interface Files {
	readonly main?: string;
	readonly master?: string;
}

function directoryWith(t: ExecutionContext, {main = '', master = ''}: Files): string {
	const directory = mkdtempSync(join(tmpdir(), 'exact-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	writeFileSync(join(directory, 'main.cf'), main);
	writeFileSync(join(directory, 'master.cf'), master);
	/* Postfix waits while main.cf is younger than a second. */
	utimesSync(join(directory, 'main.cf'), 1, 1);
	return directory;
}

test('main.cf: white space inside a value remains, and lines are joined without newlines', t => {
	const directory = directoryWith(t, {
		main: [
			'# a remark',
			' continues nothing = x',
			'list =',
			'\t/a,',
			'# between',
			'',
			'   # indented',
			'  /b  /c\t',
			'two = a  b',
			'two = a \t b',
			'equal==x = y',
			'  # the last',
			'empty =',
			'dos = a\r',
			'no value',
		].join('\n'),
	});
	t.deepEqual(
		[...readMainCf(directory)],
		[
			['list', '/a,  /b  /c'],
			['two', 'a \t b'],
			['equal', '=x = y'],
			['empty', ''],
			['dos', 'a'],
		],
	);
});

test('master.cf: settings of services in all their forms', t => {
	const directory = directoryWith(t, {
		master: [
			'smtp unix - - n - - smtp',
			'  -o a=b -o { c = d  e }',
			'# between',
			'  -of=g -v -o {h=i,',
			'\tj }',
			'other inet n - n - - smtpd -o x={ y  z } -o { v = { w } }',
			'short unix',
		].join('\n'),
	});
	t.deepEqual(
		[...readMasterCf(directory)],
		[
			['smtp/unix/a', 'b'],
			['smtp/unix/c', 'd  e'],
			['smtp/unix/f', 'g'],
			['smtp/unix/h', 'i,\tj'],
			['other/inet/x', '{ y  z }'],
			['other/inet/v', '{ w }'],
		],
	);
});

test('a value that has changed meanwhile is not replaced', t => {
	const printed: Values = new Map([
		['same', 'a b'],
		['changed', 'a b'],
		['gone', 'x'],
	]);
	const written: Values = new Map([
		['same', 'a\t b'],
		['changed', 'a  c'],
		['new', 'y'],
	]);
	t.deepEqual(
		[...withExactSpace(printed, written)],
		[
			['same', 'a\t b'],
			['changed', 'a b'],
			['gone', 'x'],
		],
	);
});

test('absent files change nothing', t => {
	t.is(readMainCf('/nonexistent').size, 0);
	t.is(readMasterCf('/nonexistent').size, 0);
});

const piece = fc.constantFrom('/a', ',', 'b.pem', '=', '#c', '-o', 'é', ':', '$$');
const space = fc.constantFrom(
	' ',
	'  ',
	'\t',
	' \t ',
	'\n ',
	'\n\t',
	'\n# remark\n ',
	'\n\n  ',
	'\n  # remark\n\t',
	'\r\n ',
);
/* The first character is not white space. */
const value = fc
	.tuple(
		fc.constantFrom('/a', 'b', 'c,'),
		fc.array(fc.tuple(space, piece), {maxLength: 5}),
		fc.option(space, {nil: ''}),
	)
	/* After a newline, "#" starts a comment. */
	.map(([first, rest, last]) => (first + rest.flat().join('') + last).replaceAll(/(\n[ \t]+)#c/g, '$1d'));

test('main.cf: postconf(1) prints the values that are read, with folded white space', async t => {
	const {stdout: version} = await execa('/usr/sbin/postconf', ['-dh', 'mail_version']);
	const [, release = ''] = /^(\d+\.\d+)/.exec(version) ?? [];
	const names = parameterNames.filter(
		name =>
			name.includes('_tls_') &&
			parameterOf(name).type === 'string' &&
			isIn(release as `${number}.${number}`, parameterOf(name)),
	);
	t.true(names.length > 30);
	await fc.assert(
		fc.asyncProperty(fc.array(value, {minLength: names.length, maxLength: names.length}), async values => {
			const main = names.map((name, index) => `${name} = ${values[index]}\n`).join('');
			const directory = directoryWith(t, {main});
			const printed = valuesIn(await postconfLines(['-c', directory, ...names]));
			const read = readMainCf(directory);
			t.deepEqual(
				names.map(name => [name, foldSpace(read.get(name) ?? 'absent')]),
				names.map(name => [name, printed.get(name)]),
			);
		}),
		{numRuns: 20},
	);
});

test('master.cf: postconf(1) prints the values that are read, with folded white space', async t => {
	const names = ['smtp_tls_cert_file', 'smtp_tls_key_file', 'smtp_tls_chain_files', 'smtp_tls_CAfile'];
	await fc.assert(
		fc.asyncProperty(fc.array(value, {minLength: 4, maxLength: 4}), async values => {
			const settings = names.map((name, index) => `  -o { ${name} = ${values[index]} }\n`).join('');
			const directory = directoryWith(t, {master: `out unix - - n - - smtp\n${settings}`});
			const printed = valuesIn(await postconfLines(['-c', directory, '-P']));
			const read = readMasterCf(directory);
			const keys = names.map(name => `out/unix/${name}`);
			t.deepEqual(
				keys.map(name => [name, foldSpace(read.get(name) ?? 'absent')]),
				keys.map(name => [name, printed.get(name)]),
			);
		}),
		{numRuns: 20},
	);
});

test('a client has the values of main.cf and master.cf with their white space', async t => {
	const directory = directoryWith(t, {
		main: 'smtp_tls_cert_file = /two  blanks\nsmtp_tls_chain_files =\n\t/k,\n\t$smtp_tls_cert_file\n',
		master: 'smtp unix - - n - - smtp\nout unix - - n - - smtp\n  -o { smtp_tls_key_file = /a\t\ttab }\n',
	});
	const configuration = await readConfiguration({
		configDirectory: directory,
		overrides: [],
		serviceName: 'tlsproxy',
		processName: 'tlsproxy',
	});
	t.is(configuration.string('tlsproxy_client_cert_file'), '/two  blanks');
	const [smtp, out] = mailClients(await readMasterFile(directory), configuration);
	t.is(smtp?.configuration.string('smtp_tls_chain_files'), '/k,\t/two  blanks');
	t.is(smtp?.configuration.string('smtp_tls_key_file'), '/two  blanks');
	t.is(out?.configuration.string('smtp_tls_key_file'), '/a\t\ttab');
});
