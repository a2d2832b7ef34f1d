/*
 * Registration as a function of the text of master.cf, with many texts; and as a command, on
 * instances that are never started. postconf(1) reads the result.
 */

import {spawnSync} from 'node:child_process';
import {
	chmodSync,
	chownSync,
	cpSync,
	existsSync,
	lstatSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	rmSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from 'node:fs';
import {availableParallelism, tmpdir} from 'node:os';
import {basename, join, relative} from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import {entries, register} from '../../postfix/lib/master-cf.ts';
import {UsageError} from '../../postfix/lib/usage-error.ts';
import {type Instance, instance, proto} from '../helpers/instance.ts';
import {runUninstall} from '../helpers/uninstall.ts';

const project = join(import.meta.dirname, '..', '..');
const wanted = {service: 'tlsproxy', command: '../../x/tlsproxy', defaultLimit: 3};
const asRoot = process.getuid?.() === 0 ? test : test.skip;

/** The text after uninstall. */
function unregistered(text: string, service = 'tlsproxy', ...more: readonly string[]): string {
	const {status, stderr, text: after} = runUninstall(text, ['-s', service, ...more]);
	if (status !== 0 || stderr !== '') {
		throw new Error(stderr);
	}

	return after;
}

/** The text after install. A second install must not change it. */
function registered(text: string, options: Partial<Parameters<typeof register>[1]> = {}): string {
	const {text: after} = register(text, {...wanted, ...options});
	if (register(after, {...wanted, ...options}).text !== after) {
		throw new Error('a second registration changes something');
	}

	return after;
}

/** The active line of a service, with blanks folded. */
function line(text: string, service = 'tlsproxy'): string | undefined {
	const found = entries(text).find(({name, type}) => name === service && type === 'unix');
	return found === undefined
		? undefined
		: text
				.split('\n')
				.slice(...found.lines)
				.filter(physical => !/^\s*(#|$)/.test(physical))
				.join(' ')
				.replaceAll(/\s+/g, ' ')
				.trim();
}

const restores = test.macro({
	exec(t, text: string, expected: string) {
		const after = registered(text);
		t.is(line(after), expected);
		t.is(unregistered(after, 'tlsproxy', '--exact'), text);
		const again = registered(after, {chroot: 'y', limit: 9, command: 'elsewhere/tlsproxy'});
		t.true(line(again)?.startsWith('tlsproxy unix - - y - 9 elsewhere/tlsproxy'));
		t.is(unregistered(again, 'tlsproxy', '--exact'), text);
	},
	title: (condition = '') => `install and uninstall restore every byte of ${condition}`,
});

const added = 'tlsproxy unix - - n - 3 ../../x/tlsproxy';
asRoot('an empty file', restores, '', added);
asRoot('a file of one newline', restores, '\n', added);
asRoot('a file without the service', restores, 'smtp unix - - n - - smtp\n', added);
asRoot('a file without a newline at its end', restores, 'smtp unix - - n - - smtp', added);
asRoot('a comment without a newline at its end', restores, '# end', added);
asRoot('a file that ends in blank lines', restores, 'smtp unix - - n - - smtp\n\n  \n', added);
asRoot(
	'a file whose last service has options',
	restores,
	'smtp unix - - n - - smtp\n  -o x=y\n# -o z=a',
	added,
);
asRoot(
	'a commented-out line',
	restores,
	'#tlsproxy  unix  -  -  y  -  0  tlsproxy\nsmtp unix - - n - - smtp\n',
	added,
);
asRoot(
	'an active line, and keep its chroot column',
	restores,
	'a unix - - n - - smtp\ntlsproxy\tunix  -  -  y  -  0  tlsproxy\nz unix - - n - - smtp\n',
	'tlsproxy unix - - y - 3 ../../x/tlsproxy',
);
asRoot(
	'an active line with the default chroot column',
	restores,
	'tlsproxy unix - - - - 0 tlsproxy\n',
	'tlsproxy unix - - - - 3 ../../x/tlsproxy',
);
asRoot(
	'an active line at the end, without newline',
	restores,
	'a unix - - n - - smtp\ntlsproxy unix - - n - 0 tlsproxy',
	added,
);
asRoot(
	'an active line with options, and keep them',
	restores,
	'tlsproxy unix y - n - 0 tlsproxy -v\n  -o a=b\n# why\n\n  -o c=d\n# about the next\nz unix - - n - - smtp\n',
	`${added} -v -o a=b -o c=d`,
);
asRoot(
	'options at the end, without newline',
	restores,
	'tlsproxy unix - - n - 0 tlsproxy\n -o a=b',
	`${added} -o a=b`,
);
asRoot(
	'columns on several lines',
	restores,
	'tlsproxy unix\n  - -\n# in between\n n - 0\n\ttlsproxy -o { a = b }\n -o c=d\n',
	`${added} -o { a = b } -o c=d`,
);
asRoot(
	'lines that end in carriage return and newline',
	restores,
	'a unix - - n - - smtp\r\ntlsproxy unix - - n - 0 tlsproxy\r\n -o a=b\r\n',
	`${added} -o a=b`,
);
asRoot(
	'a line of this program that install did not write',
	restores,
	'tlsproxy unix - - n - 7 ../../old/tlsproxy\n',
	added,
);
asRoot(
	'bytes that are not UTF-8',
	restores,
	'# \u00ff\u0080\u00e9\ntlsproxy unix - - n - 0 tlsproxy\n# \u00fe',
	added,
);

test('register adds the block at the end of the file', t => {
	t.is(
		register('a unix - - n - - smtp', wanted).text,
		'a unix - - n - - smtp\n' +
			'# BEGIN postfix-tlsproxy tlsproxy (the file had no newline at its end)\n' +
			'# Made by install, taken out again by uninstall. Options may be added below the service.\n' +
			'tlsproxy  unix    -       -       n       -       3       ../../x/tlsproxy\n' +
			'# END postfix-tlsproxy tlsproxy\n',
	);
});

test('register keeps the lines that it replaces as comments', t => {
	t.true(
		register('tlsproxy unix - - n - 0 tlsproxy\n  -o a=b\n', wanted).text.includes(
			'\n#was: tlsproxy unix - - n - 0 tlsproxy\n#was:   -o a=b\n',
		),
	);
});

asRoot('register keeps the limit, the chroot column and added options of an earlier registration', t => {
	const first = register('', {...wanted, chroot: 'y', limit: 7}).text;
	const edited = first.replace('../../x/tlsproxy\n', '../../x/tlsproxy\n  -o a=b\n');
	t.is(line(registered(edited)), 'tlsproxy unix - - y - 7 ../../x/tlsproxy -o a=b');
	t.is(unregistered(registered(edited)), '');
});

asRoot('register supports several services in one file', t => {
	const text = 'a unix - - n - - smtp';
	const both = registered(registered(text), {service: 'tlsproxyn'});
	t.is(line(both), added);
	t.is(line(both, 'tlsproxyn'), added.replace('tlsproxy', 'tlsproxyn'));
	const one = unregistered(both, 'tlsproxyn');
	t.is(unregistered(one), text);
});

asRoot('uninstall keeps lines that were added after a block in a file without a final newline', t => {
	const after = `${registered('a unix - - n - - smtp')}z unix - - n - - smtp\n`;
	t.is(unregistered(after), 'a unix - - n - - smtp\nz unix - - n - - smtp\n');
	const replaced = `${registered('tlsproxy unix - - n - 0 tlsproxy')}z unix - - n - - smtp\n`;
	t.is(unregistered(replaced), 'tlsproxy unix - - n - 0 tlsproxy\nz unix - - n - - smtp\n');
});

const refuses = test.macro({
	exec(t, text: string, message: RegExp) {
		t.throws(() => register(text, wanted), {instanceOf: UsageError, message});
	},
	title: (condition = '') => `register fails with ${condition}`,
});

test(
	'a service of another type',
	refuses,
	'tlsproxy inet n - n - - smtpd\n',
	/tlsproxy\/inet in line 1 does not have the type unix/,
);
test(
	'a service that is not private',
	refuses,
	'\ntlsproxy unix n - n - 0 tlsproxy\n',
	/line 2 is not private/,
);
test(
	'a service that runs another program',
	refuses,
	'tlsproxy unix - - n - 0 smtp\n',
	/runs smtp, not tlsproxy/,
);
test(
	'a service that is defined twice',
	refuses,
	'tlsproxy unix - - n - 0 tlsproxy\n'.repeat(2),
	/defined twice, in lines 1 and 2/,
);
test(
	'a second definition outside of the block',
	refuses,
	`${register('', wanted).text}tlsproxy unix - - n - 0 tlsproxy\n`,
	/defined twice, in lines 3 and 5/,
);
test('a block without end', refuses, '# BEGIN postfix-tlsproxy tlsproxy\n', /damaged[^]*\n {2}1: # BEGIN/);
test('a block without beginning', refuses, '# END postfix-tlsproxy tlsproxy\n', /damaged[^]*\n {2}1: # END/);
test(
	'a line after the block that continues another service',
	refuses,
	`a unix - - n - - smtp\n${register('', wanted).text.replace(/^tlsproxy.*\n/m, '')}  -o a=b\n`,
	/a line after the block of tlsproxy\/unix continues another service[^]*\n {2}5: {3}-o a=b/,
);
test(
	'a service that was renamed',
	refuses,
	register('', wanted).text.replace(/^tlsproxy /m, 'renamed '),
	/renamed\/unix runs this program: restore its name[^]*\n {2}3: renamed +unix/,
);

test('register moves options after the end marker into the block', t => {
	const text = `${register('', wanted).text}# x\n  -o a=b\n`;
	t.is(line(registered(text)), `${added} -o a=b`);
	t.true(registered(text).endsWith('# x\n  -o a=b\n# END postfix-tlsproxy tlsproxy\n'));
});

/* Lines of real files. A comment or an empty line is valid at any position, even in front of options. */
const otherLines = fc.constantFrom(
	'smtp      inet  n       -       y       -       -       smtpd\n',
	'smtp unix - - n - - smtp\n  -o a=b\n',
	'relay unix - - n - - smtp\n# x\n\n\t-o { b = c }\n',
	'#tlsproxy  unix  -       -       y       -       0       tlsproxy\n',
	'tlsproxyn unix - - n - 0 tlsproxy\n',
	'127.0.0.1:submission inet n - n - - smtpd\n -o x=y\r\n',
	'\n',
	' \t\n',
	'#\n',
);
const noise = fc.stringMatching(/^[ -~\u0080-\u00ff]{0,20}$/).map(text => `#${text}\n`);
const part = fc.oneof(otherLines, noise);
const serviceLines = fc.constantFrom(
	'',
	'tlsproxy unix - - y - 0 tlsproxy\n',
	'tlsproxy unix - - n - 0 tlsproxy -o a=b\n# y\n  -o c=d\n',
	'tlsproxy\n unix - - - - 5 ../sbin/tlsproxy\n\n -v\n',
);
const parts = fc.array(part, {maxLength: 6}).map(list => list.join(''));
const file = fc
	.tuple(parts, serviceLines, parts, fc.boolean())
	.map(([head, service, tail, newline]) =>
		newline ? head + service + tail : (head + service + tail).replace(/\n$/, ''),
	);
const option = fc.record(
	{
		chroot: fc.constantFrom('y' as const, 'n' as const),
		limit: fc.nat(99),
		command: fc.constantFrom('a/tlsproxy', 'b/tlsproxy'),
	},
	{requiredKeys: []},
);

asRoot('uninstall restores any file after any registrations', t => {
	fc.assert(
		fc.property(file, fc.array(option, {minLength: 1, maxLength: 3}), (text, options) => {
			const after = options.reduce((current, next) => registered(current, next), text);
			t.is(unregistered(after), text);
		}),
		{numRuns: 40},
	);
});

function ended(text: string): string {
	return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}

asRoot('uninstall changes only the block if the rest of the file was edited', t => {
	fc.assert(
		fc.property(file, part, part, (text, before, following) => {
			/* Text that is appended must not change the last line: add the missing newline first. */
			const rest = ended(text);
			const after = ended(registered(text));
			t.is(unregistered(before + after + following), before + rest + following);
		}),
		{numRuns: 40},
	);
});

/* The last line of the file may get a newline. */
function otherEntries(text: string): ReadonlyArray<readonly [string, string, string]> {
	return entries(text)
		.filter(({name}) => name !== 'tlsproxy')
		.map(({name, command, rest}) => [name, command, rest.trimEnd()]);
}

test('register does not change other services', t => {
	fc.assert(
		fc.property(file, text => {
			t.deepEqual(otherEntries(registered(text)), otherEntries(text));
		}),
	);
});

/* The commands. */

interface Outcome {
	readonly status: number | null;
	readonly stdout: string;
	readonly stderr: string;
}

function run(
	command: string,
	args: readonly string[],
	more: {readonly uid?: number; readonly env?: NodeJS.ProcessEnv} = {},
): Outcome {
	return spawnSync(command, args, {encoding: 'utf8', cwd: '/', ...more});
}

function install(...args: readonly string[]): Outcome {
	return run(join(project, 'postfix', 'install'), args);
}

function uninstall(...args: readonly string[]): Outcome {
	return run(join(project, 'postfix', 'uninstall'), args);
}

/** The services in master.cf, as postconf(1) prints them, with blanks folded. */
function postconf(directory: string, service?: string): string {
	const {stdout} = run('postconf', ['-c', directory, '-M', ...(service === undefined ? [] : [service])], {
		env: {PATH: '/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin'},
	});
	return stdout.replaceAll(/[ \t]+/g, ' ');
}

function daemonDirectory(directory: string): string {
	return run('/usr/sbin/postconf', ['-c', directory, '-hx', 'daemon_directory']).stdout.trim();
}

/** A project directory with a program that consists of dummy files. */
function fakeProject(parent: string): string {
	const home = join(parent, 'project');
	mkdirSync(join(home, 'dist', 'lib'), {recursive: true});
	cpSync(join(project, 'postfix'), join(home, 'postfix'), {recursive: true});
	symlinkSync(join(project, 'src'), join(home, 'src'));
	writeFileSync(join(home, 'dist', 'tlsproxy'), '#!/bin/sh\n', {mode: 0o755});
	for (const name of [
		'main.js',
		'package.json',
		'program.js',
		'launch.js',
		'launch.pl',
		'offer',
		'supervisor.pl',
	]) {
		writeFileSync(join(home, 'dist', 'lib', name), name === 'package.json' ? '{}' : '');
	}

	writeFileSync(join(home, 'dist', 'lib', 'node'), `#!/bin/sh\nexec '${process.execPath}' "$@"\n`, {
		mode: 0o755,
	});
	return home;
}

asRoot('install registers the program in the master.cf of Debian, and uninstall restores it', t => {
	using it = instance();
	const before = postconf(it.directory);
	const done = install('-c', it.directory);
	t.is(done.status, 0, done.stderr);
	t.is(done.stderr, '');
	t.true(done.stdout.includes(`install: ${it.masterCf}: added service tlsproxy/unix\n`));
	t.true(done.stdout.includes(`postfix -c ${it.directory} reload\n`));
	t.true(done.stdout.includes('smtp_tls_connection_reuse is off'));
	const command = relative(daemonDirectory(it.directory), join(project, 'dist', 'tlsproxy'));
	const limit = Math.max(2, availableParallelism());
	t.is(postconf(it.directory, 'tlsproxy/unix'), `tlsproxy unix - - n - ${limit} ${command}\n`);
	t.true(postconf(it.directory).startsWith(before));
	t.true(existsSync(join(daemonDirectory(it.directory), command)));

	const undone = uninstall('-c', it.directory);
	t.is(undone.status, 0, undone.stderr);
	t.true(undone.stdout.includes('removed service tlsproxy/unix\n'));
	t.is(it.read(), proto);
	t.is(postconf(it.directory), before);
});

asRoot('install replaces an active stock line, and keeps its chroot column', t => {
	/* Up to Debian 13, the service runs in a chroot jail. */
	const active = proto.replace(/^#(tlsproxy\s+unix\s+-\s+-\s+)[yn]/m, '$1y');
	using it = instance(active, 'smtp_tls_connection_reuse = yes\n');
	const done = install('-c', it.directory, '-l', '4');
	t.is(done.status, 0, done.stderr);
	t.true(done.stdout.includes('replaced service tlsproxy/unix\n'));
	t.false(done.stdout.includes('is off'));
	t.regex(postconf(it.directory, 'tlsproxy/unix'), /^tlsproxy unix - - y - 4 \.\.\/\S*\/tlsproxy\n$/);
	const undone = uninstall('-c', it.directory);
	t.true(undone.stdout.includes('restored service tlsproxy/unix\n'));
	t.is(it.read(), active);
});

asRoot('a second install changes nothing, and reports it', t => {
	using it = instance();
	install('-c', it.directory, '-l', '5', '-C', 'y');
	const [text, {ino, mtimeMs}] = [it.read(), statSync(it.masterCf)];
	const again = install('-c', it.directory);
	t.is(again.status, 0);
	t.true(again.stdout.includes('is already registered, nothing changed\n'));
	t.is(it.read(), text);
	t.like(statSync(it.masterCf), {ino, mtimeMs});
	const other = install('-c', it.directory, '-l', '6', '-C', 'n');
	t.true(other.stdout.includes('replaced service'));
	t.regex(postconf(it.directory, 'tlsproxy/unix'), / - - n - 6 /);
	uninstall('-c', it.directory);
	t.is(it.read(), proto);
});

asRoot('uninstall without a registered service changes nothing, and reports it', t => {
	using it = instance();
	const {status, stdout} = uninstall('-c', it.directory);
	t.is(status, 0);
	t.true(stdout.includes('was not installed by this program, nothing changed\n'));
	t.is(it.read(), proto);
});

asRoot('install -s registers a second service, and prints how clients select it', t => {
	using it = instance(proto.replace(/^#(tlsproxy\s+unix\s+-\s+-\s+)[yn]/m, '$1y'));
	const {stdout} = install('-c', it.directory, '-s', 'tlsproxyn');
	t.true(stdout.includes('  -o tlsproxy_service_name=tlsproxyn\n'));
	t.regex(postconf(it.directory, 'tlsproxyn/unix'), /^tlsproxyn unix - - n - \d+ \.\.\/\S*\/tlsproxy\n$/);
	t.is(postconf(it.directory, 'tlsproxy/unix'), 'tlsproxy unix - - y - 0 tlsproxy\n');
});

asRoot('install keeps owner and mode of master.cf, and leaves no temporary file', t => {
	using it = instance();
	chownSync(it.masterCf, 1, 2);
	chmodSync(it.masterCf, 0o640);
	install('-c', it.directory);
	t.like(statSync(it.masterCf), {uid: 1, gid: 2, mode: 0o100640});
	t.deepEqual(readdirSync(it.directory).toSorted(), ['main.cf', 'master.cf']);
});

asRoot('install replaces the target of a symbolic link', t => {
	using it = instance();
	using other = instance();
	rmSync(it.masterCf);
	symlinkSync(other.masterCf, it.masterCf);
	t.is(install('-c', it.directory).status, 0);
	t.true(lstatSync(it.masterCf).isSymbolicLink());
	t.true(other.read().includes('BEGIN postfix-tlsproxy'));
	uninstall('-c', it.directory);
	t.is(other.read(), proto);
});

asRoot('install -p copies the program to a directory, and only if the copy differs', t => {
	using it = instance();
	const home = fakeProject(it.directory);
	chownSync(join(home, 'dist', 'lib', 'main.js'), 1, 1);
	chmodSync(join(home, 'dist', 'lib', 'main.js'), 0o666);
	const target = join(it.directory, 'libexec', 'tlsproxy.d');
	const args = ['-c', it.directory, '-p', target];
	const done = run(join(home, 'postfix', 'install'), args);
	t.is(done.status, 0, done.stderr);
	t.true(done.stdout.includes(`install: copied the program to ${target}\n`));
	t.like(statSync(join(target, 'lib', 'main.js')), {uid: 0, gid: 0, mode: 0o100644});
	t.like(statSync(join(target, 'tlsproxy')), {uid: 0, mode: 0o100755});
	t.true(
		postconf(it.directory, 'tlsproxy/unix').endsWith(
			`${relative(daemonDirectory(it.directory), target)}/tlsproxy\n`,
		),
	);

	const again = run(join(home, 'postfix', 'install'), args);
	t.false(again.stdout.includes('copied'));
	t.true(again.stdout.includes('nothing changed'));

	writeFileSync(join(home, 'dist', 'lib', 'main.js'), 'new');
	const newer = run(join(home, 'postfix', 'install'), args);
	t.true(
		newer.stdout.includes('copied') &&
			newer.stdout.includes('nothing changed') &&
			newer.stdout.includes('reload'),
	);
	t.is(readFileSync(join(target, 'lib', 'main.js'), 'utf8'), 'new');
	t.deepEqual(readdirSync(join(it.directory, 'libexec')), ['tlsproxy.d']);

	const {stdout} = run(join(home, 'postfix', 'uninstall'), ['-c', it.directory]);
	t.true(stdout.includes(`the program is still in ${target}\n`));
});

asRoot('the commands of a copy work without the checkout, and register that copy', t => {
	using it = instance();
	const copy = join(it.directory, 'copy');
	cpSync(join(project, 'dist'), copy, {recursive: true});
	const commands = join(copy, 'lib', 'commands');
	const command = (name: string) =>
		run(join(copy, 'lib', 'node'), [join(commands, `${name}.js`), '-c', it.directory]);
	const done = command('install');
	t.is(done.status, 0, done.stderr);
	const column = relative(daemonDirectory(it.directory), join(copy, 'tlsproxy'));
	t.true(postconf(it.directory, 'tlsproxy/unix').endsWith(` ${column}\n`));
	t.regex(command('doctor').stdout, /smtp_tls_connection_reuse is off/);
	/* uninstall also works in a damaged copy. */
	writeFileSync(join(copy, 'lib', 'node'), '');
	const env = postfixOf(it);
	t.is(run(join(commands, 'uninstall'), ['-a'], {env}).status, 0);
	t.is(it.read(), proto);
});

const refusal = test.macro({
	exec(
		t,
		args: (it: Instance) => readonly string[],
		message: RegExp,
		prepare: (it: Instance) => string | undefined = () => undefined,
	) {
		using it = instance();
		const home = prepare(it) ?? project;
		const before = existsSync(it.masterCf) ? it.read() : undefined;
		const {status, stdout, stderr} = run(join(home, 'postfix', 'install'), args(it));
		t.is(status, 1);
		t.is(stdout, '');
		t.regex(stderr, message);
		t.true(stderr.startsWith('install: fatal: '));
		t.is(existsSync(it.masterCf) ? it.read() : undefined, before);
	},
	title: (condition = '') => `install fails with ${condition}`,
});

const usual = (it: Instance) => ['-c', it.directory];
asRoot('no configuration directory', refusal, () => [], /no configuration directory\nusage: install -c/);
asRoot('an unknown option', refusal, it => [...usual(it), '-x'], /'-x'[^]*\nusage: install -c/);
asRoot(
	'a directory that does not exist',
	refusal,
	() => ['-c', '/nonexistent'],
	/\/nonexistent: no such directory/,
);
asRoot(
	'a directory without main.cf',
	refusal,
	usual,
	/main\.cf: no such file/,
	it => rmSync(join(it.directory, 'main.cf')) ?? undefined,
);
asRoot(
	'a directory without master.cf',
	refusal,
	usual,
	/master\.cf: no such file/,
	it => rmSync(it.masterCf) ?? undefined,
);
asRoot(
	'a service name with a slash',
	refusal,
	it => [...usual(it), '-s', '../x'],
	/invalid service name: "\.\.\/x"/,
);
asRoot('a service name with a blank', refusal, it => [...usual(it), '-s', 'a b'], /invalid service name/);
asRoot('an empty service name', refusal, it => [...usual(it), '-s', ''], /invalid service name/);
asRoot(
	'a chroot option other than y and n',
	refusal,
	it => [...usual(it), '-C', 'yes'],
	/-C yes: y or n expected/,
);
asRoot('a limit that is not a number', refusal, it => [...usual(it), '-l', '-1x'], /fatal/);
asRoot('the service of smtp(8)', refusal, it => [...usual(it), '-s', 'relay'], /runs smtp, not tlsproxy/);
asRoot(
	'the name of a service on the network',
	refusal,
	it => [...usual(it), '-s', 'smtp'],
	/smtp\/inet in line \d+ does not have the type unix/,
);
asRoot(
	'a target directory that contains other files',
	refusal,
	it => [...usual(it), '-p', it.directory],
	/contains other files/,
);
asRoot(
	'a copy below a directory that another user owns',
	refusal,
	it => [...usual(it), '-p', join(it.directory, 'mine', 'x')],
	/mine is not owned by root/,
	it => {
		mkdirSync(join(it.directory, 'mine'));
		chownSync(join(it.directory, 'mine'), 1, 1);
		return undefined;
	},
);
asRoot(
	'a copy in a directory that other users can write to',
	refusal,
	it => [...usual(it), '-p', join(it.directory, 'open', 'x')],
	/open is writable by users other than root/,
	it => {
		mkdirSync(join(it.directory, 'open'));
		chmodSync(join(it.directory, 'open'), 0o777);
		return undefined;
	},
);
asRoot(
	'a path with a blank',
	refusal,
	it => [...usual(it), '-p', join(it.directory, 'a b')],
	/with blanks or braces/,
);
asRoot(
	'a program that is not built',
	refusal,
	usual,
	/the program is not built: .*main\.js is missing/,
	it => {
		const home = fakeProject(it.directory);
		rmSync(join(home, 'dist', 'lib', 'main.js'));
		return home;
	},
);
asRoot(
	'a checkout without any runtime',
	refusal,
	usual,
	/the program is not built: run "npm ci && npm run build"/,
	it => {
		const home = fakeProject(it.directory);
		rmSync(join(home, 'dist'), {recursive: true});
		return home;
	},
);
asRoot(
	'a program file that another user owns',
	refusal,
	usual,
	/main\.js is not owned by root[^]*-p DIRECTORY/,
	it => {
		const home = fakeProject(it.directory);
		chownSync(join(home, 'dist', 'lib', 'main.js'), 1, 1);
		return home;
	},
);
asRoot(
	'a program file that other users can write to',
	refusal,
	usual,
	/tlsproxy is writable by users other than root/,
	it => {
		const home = fakeProject(it.directory);
		chmodSync(join(home, 'dist', 'tlsproxy'), 0o777);
		return home;
	},
);
asRoot(
	'a program below a directory that another user owns',
	refusal,
	usual,
	/project is not owned by root/,
	it => {
		const home = fakeProject(it.directory);
		chownSync(home, 1, 1);
		return home;
	},
);
asRoot('a program that contains a symbolic link', refusal, usual, /extra is a symbolic link/, it => {
	const home = fakeProject(it.directory);
	symlinkSync('/etc/passwd', join(home, 'dist', 'lib', 'extra'));
	return home;
});

asRoot('install fails without root privileges, and changes nothing', t => {
	using it = instance();
	const {status, stderr} = run(join(project, 'postfix', 'install'), ['-c', it.directory], {uid: 65_534});
	t.is(status, 1);
	t.regex(stderr, /^install: fatal: this needs root privileges/);
	t.is(it.read(), proto);
});

asRoot('install fails with a release of Postfix before 3.4', t => {
	using it = instance();
	const directory = join(it.directory, 'bin');
	mkdirSync(directory);
	writeFileSync(
		join(directory, 'postconf'),
		'#!/bin/sh\necho mail_version = 3.3.22\necho daemon_directory = /\n',
		{mode: 0o755},
	);
	const {status, stderr} = run(join(project, 'postfix', 'install'), ['-c', it.directory], {
		env: {PATH: `${directory}:/usr/bin:/bin`},
	});
	t.is(status, 1);
	t.regex(stderr, /^install: fatal: Postfix 3\.3\.22 cannot reuse TLS connections: this needs Postfix 3\.4/);
	t.is(it.read(), proto);
});

asRoot('install fails if postconf(1) fails', t => {
	using it = instance();
	const directory = join(it.directory, 'bin');
	mkdirSync(directory);
	writeFileSync(join(directory, 'postconf'), '#!/bin/sh\necho broken >&2\nexit 1\n', {mode: 0o755});
	const {status, stderr} = run(join(project, 'postfix', 'install'), ['-c', it.directory], {
		env: {PATH: `${directory}:/usr/bin:/bin`},
	});
	t.is(status, 1);
	t.is(stderr, 'install: fatal: postconf(1) failed: broken\n');
	t.is(it.read(), proto);
});

asRoot('install accepts a relative configuration directory', t => {
	using it = instance();
	const name = basename(it.directory);
	const {status, stderr} = spawnSync(join(project, 'postfix', 'install'), ['-c', `./${name}`], {
		encoding: 'utf8',
		cwd: tmpdir(),
	});
	t.is(status, 0, stderr);
	t.regex(postconf(it.directory, 'tlsproxy/unix'), /^tlsproxy unix/);
});

function otherServices(directory: string): readonly string[] {
	return postconf(directory)
		.split('\n')
		.filter(service => !service.startsWith('tlsproxy '))
		.toSorted();
}

asRoot('postconf(1) finds the same services in any file, before and after install', t => {
	using it = instance('');
	fc.assert(
		fc.property(file, text => {
			writeFileSync(it.masterCf, text, 'latin1');
			const before = otherServices(it.directory);
			writeFileSync(it.masterCf, registered(text), 'latin1');
			t.deepEqual(otherServices(it.directory), before);
			t.regex(
				postconf(it.directory, 'tlsproxy/unix'),
				/^tlsproxy unix - - [-yn] - 3 \.\.\/\.\.\/x\/tlsproxy( .*)?\n$/,
			);
		}),
		{numRuns: 40},
	);
});

/* Makes an instance the default one: a postconf(1) in front of the real one prints its directory. */
function postfixOf(it: Instance): NodeJS.ProcessEnv {
	const directory = join(it.directory, 'bin');
	mkdirSync(directory);
	writeFileSync(
		join(directory, 'postconf'),
		`#!/bin/sh\ncase $* in\n"-dh config_directory") echo ${it.directory} ;;\n*) exec /usr/sbin/postconf "$@" ;;\nesac\n`,
		{mode: 0o755},
	);
	return {PATH: `${directory}:/usr/sbin:/usr/bin:/bin`};
}

asRoot(
	'uninstall -a removes the services of this copy from all instances, and keeps those of another copy',
	t => {
		using second = instance('smtp unix - - n - - smtp\n');
		using it = instance(proto, `multi_instance_directories = ${second.directory}, /nonexistent\n`);
		const env = postfixOf(it);
		const home = fakeProject(it.directory);
		run(join(home, 'postfix', 'install'), [
			'-c',
			it.directory,
			'-s',
			'another',
			'-p',
			join(it.directory, 'x'),
		]);
		const withAnother = it.read();
		install('-c', it.directory);
		install('-c', it.directory, '-s', 'tlsproxyn');
		install('-c', second.directory);

		const done = run(join(project, 'postfix', 'uninstall'), ['-a'], {env});
		t.is(done.status, 0, done.stderr);
		t.is(it.read(), withAnother);
		t.is(second.read(), 'smtp unix - - n - - smtp\n');
		t.is(done.stdout.match(/removed service/g)?.length, 3);
		t.is(done.stdout.match(/next: postfix -c \S+ reload\n/g)?.length, 2);
		t.notRegex(done.stdout, /nothing changed/);

		const again = run(join(project, 'postfix', 'uninstall'), ['-a', '-r'], {env});
		t.deepEqual([again.status, again.stdout, again.stderr], [0, '', '']);
	},
);

asRoot('uninstall -a changes no instance if install did not write a line, and prints that line', t => {
	using second = instance('smtp unix - - n - - smtp\n');
	using it = instance(proto, `multi_instance_directories = ${second.directory}\n`);
	const env = postfixOf(it);
	const command = relative(daemonDirectory(it.directory), join(project, 'dist', 'tlsproxy'));
	writeFileSync(second.masterCf, `${second.read()}hand unix - - n - 2 ${command}\n`);
	install('-c', it.directory);
	const before = [it.read(), second.read()];
	const {status, stdout, stderr} = run(join(project, 'postfix', 'uninstall'), ['-a'], {env});
	t.deepEqual([status, stdout], [1, '']);
	t.is(
		stderr,
		`uninstall: fatal: ${second.masterCf}: service hand/unix in line 2 runs this program, and install did not write it: remove the line first:\n  2: hand unix - - n - 2 ${command}\n`,
	);
	t.deepEqual([it.read(), second.read()], before);
});

asRoot('install -a changes nothing, and prints the instances to reload', t => {
	using it = instance();
	const env = postfixOf(it);
	install('-c', it.directory);
	const before = it.read();
	const {status, stdout} = run(join(project, 'postfix', 'install'), ['-a'], {env});
	t.is(status, 0);
	t.is(stdout, `install: next: postfix -c ${it.directory} reload\n`);
	t.is(it.read(), before);
	/* The instance is not running. */
	t.is(run(join(project, 'postfix', 'install'), ['-a', '-r'], {env}).stdout, '');
});

for (const [command, args] of [
	['install', ['-a', '-c', '/etc/postfix']],
	['install', ['-a', '-l', '3']],
	['uninstall', ['-a', '-s', 'tlsproxy']],
] as const) {
	asRoot(`${command} rejects ${args.join(' ')}`, t => {
		const {status, stderr} = run(join(project, 'postfix', command), args);
		t.is(status, 1);
		t.regex(stderr, /fatal: -a selects all instances/);
	});
}
