import {execFileSync} from 'node:child_process';
import {mkdtempSync, rmSync, utimesSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {postconfLines} from '../../src/conf/postconf.ts';
import {parsePostconfOutput} from '../../src/conf/postconf-output.ts';

test('parsePrinted gives the lines of three commands', t => {
	t.deepEqual(parsePostconfOutput('myhostname = a.example\nmax_idle = 1s\n\0smtp unix\nlmtp unix\n\0\0'), {
		parameters: ['myhostname = a.example', 'max_idle = 1s'],
		master: {services: ['smtp unix', 'lmtp unix'], settings: []},
	});
});

for (const [what, text] of [
	['nothing', ''],
	['the output of a command that has failed', 'myhostname = a.example\n'],
	['the output of two commands', 'myhostname = a.example\n\0smtp unix\n\0'],
	['a third that has failed in the middle', 'myhostname = a.example\n\0smtp unix\n\0smtp/unix/'],
	['something behind the third', 'myhostname = a.example\n\0smtp unix\n\0\0x'],
	['four commands', 'a = b\n\0\0\0\0'],
] as const) {
	test(`parsePrinted makes nothing of ${what}`, t => {
		t.is(parsePostconfOutput(text), undefined);
	});
}

/* All but the process id, which is that of postconf(1), each time. */
function others(lines: readonly string[] = []): readonly string[] {
	return lines.filter(line => !line.startsWith('process_id ='));
}

/* Nobody would notice that it does not, but for the time that a start takes. */
test('offer of the built program prints what parsePrinted wants', async t => {
	const directory = mkdtempSync(join(tmpdir(), 'printed-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	writeFileSync(join(directory, 'main.cf'), 'myhostname = a.example\n');
	writeFileSync(
		join(directory, 'master.cf'),
		'smtp unix - - n - - smtp\n  -o smtp_tls_loglevel=1\ntlsproxy unix - - n - 0 tlsproxy\n',
	);
	/* Postfix waits while main.cf is younger than a second. */
	utimesSync(join(directory, 'main.cf'), 1, 1);

	const offer = join(import.meta.dirname, '..', '..', 'dist', 'lib', 'offer');
	const text = execFileSync(offer, {encoding: 'utf8', env: {MAIL_CONFIG: directory}});
	const postconf = async (...options: readonly string[]) =>
		await postconfLines(['-c', directory, ...options]);
	const printed = parsePostconfOutput(text);
	t.deepEqual(others(printed?.parameters), others(await postconf()));
	t.deepEqual(printed?.master, {services: await postconf('-M'), settings: await postconf('-P')});
	t.is(parsePostconfOutput(text)?.master.settings.length, 1);
});
