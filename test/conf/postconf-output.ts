import {execFileSync} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {postconfLines} from '../../src/conf/postconf.ts';
import {parsePostconfOutput, tablesIn, valuesIn} from '../../src/conf/postconf-output.ts';

test('valuesIn returns names and values, and ignores other lines', t => {
	t.deepEqual(
		[
			...valuesIn([
				'max_idle = 1s',
				'smtp_tls_CAfile =',
				'mail_name = a = b',
				'smtp/unix/x = y',
				'junk',
				' = z',
				'',
			]),
		],
		[
			['max_idle', '1s'],
			['smtp_tls_CAfile', ''],
			['mail_name', 'a = b'],
			['smtp/unix/x', 'y'],
		],
	);
});

test('tablesIn splits at commas and white space outside of braces', t => {
	t.deepEqual(tablesIn(''), []);
	t.deepEqual(tablesIn(' , '), []);
	t.deepEqual(tablesIn('hash:/a, texthash:/b\tinline:{ {a = b, c}, d=e }  btree:/c'), [
		'hash:/a',
		'texthash:/b',
		'inline:{ {a = b, c}, d=e }',
		'btree:/c',
	]);
});

test('parsePostconfOutput returns the lines of three commands', t => {
	t.deepEqual(parsePostconfOutput('myhostname = a.example\nmax_idle = 1s\n\0smtp unix\nlmtp unix\n\0\0'), {
		parameters: ['myhostname = a.example', 'max_idle = 1s'],
		master: {services: ['smtp unix', 'lmtp unix'], settings: []},
	});
});

for (const [what, text] of [
	['nothing', ''],
	['the output of a command that has failed', 'myhostname = a.example\n'],
	['the output of two commands', 'myhostname = a.example\n\0smtp unix\n\0'],
	['a third command that has failed', 'myhostname = a.example\n\0smtp unix\n\0smtp/unix/'],
	['text after the third', 'myhostname = a.example\n\0smtp unix\n\0\0x'],
	['four commands', 'a = b\n\0\0\0\0'],
] as const) {
	test(`parsePostconfOutput rejects ${what}`, t => {
		t.is(parsePostconfOutput(text), undefined);
	});
}

/* Lines without the process id, which is that of postconf(1). */
function withoutProcessId(lines: readonly string[] = []): readonly string[] {
	return lines.filter(line => !line.startsWith('process_id ='));
}

/* If this failed, the program would work all the same, but start slower. */
test('parsePostconfOutput accepts the output of prefetch-config.sh in the built program', async t => {
	const directory = mkdtempSync(join(tmpdir(), 'printed-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	writeFileSync(join(directory, 'main.cf'), 'myhostname = a.example\n');
	writeFileSync(
		join(directory, 'master.cf'),
		'smtp unix - - n - - smtp\n  -o smtp_tls_loglevel=1\ntlsproxy unix - - n - 0 tlsproxy\n',
	);
	/* postconf(1) waits if main.cf has changed less than a second ago. */
	utimesSync(join(directory, 'main.cf'), 1, 1);

	const script = join(import.meta.dirname, '..', '..', 'dist', 'lib', 'offer');
	const text = execFileSync(script, {encoding: 'utf8', env: {MAIL_CONFIG: directory}});
	const postconf = async (...options: readonly string[]) =>
		await postconfLines(['-c', directory, ...options]);
	const printed = parsePostconfOutput(text);
	t.deepEqual(withoutProcessId(printed?.parameters), withoutProcessId(await postconf()));
	t.deepEqual(printed?.master, {services: await postconf('-M'), settings: await postconf('-P')});
	t.is(parsePostconfOutput(text)?.master.settings.length, 1);
});

test('prefetch-config.sh searches for postconf in the places where readConfiguration does', t => {
	const [script = '', module = ''] = ['boot/prefetch-config.sh', 'conf/postconf.ts'].map(path =>
		readFileSync(new URL(`../../src/${path}`, import.meta.url), 'utf8'),
	);
	const [, places = ''] = /^for postconf in (.*); do$/m.exec(script) ?? [];
	const [line = ''] = /^const postconfPaths.*$/m.exec(module) ?? [];
	t.deepEqual(places.split(' '), line.match(/[\w/]+\/postconf\b/g));
});
