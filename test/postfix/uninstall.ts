/*
 * The result of uninstall if the service is still in use, and after postconf(1) has edited
 * master.cf. The instances are never started; postconf(1) reads the result.
 * test/releases/package tests that mail is delivered afterwards.
 */

import {spawnSync} from 'node:child_process';
import {chmodSync, existsSync, mkdirSync, statSync, writeFileSync} from 'node:fs';
import {availableParallelism} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {type Instance, instance, proto} from '../helpers/instance.ts';

const project = join(import.meta.dirname, '..', '..');
const asRoot = process.getuid?.() === 0 ? test : test.skip;
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

interface Outcome {
	readonly status: number | null;
	readonly stdout: string;
	readonly stderr: string;
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {PATH}): Outcome {
	return spawnSync(command, args, {encoding: 'utf8', cwd: '/', env});
}

function runCommand(name: string, it: Instance, ...args: readonly string[]): Outcome {
	return run(join(project, 'postfix', name), ['-c', it.directory, ...args]);
}

function install(t: ExecutionContext, it: Instance, ...args: readonly string[]): string {
	const {status, stdout, stderr} = runCommand('install', it, ...args);
	t.is(status, 0, stderr);
	return stdout;
}

/** Runs postconf(1), which must succeed. Blanks and tabs are folded. */
function postconf(t: ExecutionContext, it: Instance, ...args: readonly string[]): string {
	const {status, stdout, stderr} = run('postconf', ['-c', it.directory, ...args]);
	t.is(status, 0, stderr);
	return stdout.replaceAll(/[ \t]+/g, ' ');
}

/** The active line of a service, as postconf(1) prints it, with each option on one line. */
function service(t: ExecutionContext, it: Instance, name = 'tlsproxy'): string {
	return postconf(t, it, '-M', `${name}/unix`);
}

function otherServices(t: ExecutionContext, it: Instance): readonly string[] {
	return postconf(t, it, '-M')
		.split('\n')
		.filter(text => !text.startsWith('tlsproxy '))
		.toSorted();
}

const [, commented = ''] = /^#(tlsproxy .*)$/m.exec(proto) ?? [];
/** The service that is commented out in the master.cf of Debian. */
const stock = `${commented.replaceAll(/[ \t]+/g, ' ')}\n`;
const ourCommand = /^tlsproxy unix .* \S+\/dist\/tlsproxy\b/;

test('the master.cf of Debian contains the service in a comment', t => {
	t.regex(stock, /^tlsproxy unix - - [yn] - 0 tlsproxy\n$/);
});

/* With the service in use. */

const use = test.macro({
	exec(
		t,
		main: string,
		prepare: (t: ExecutionContext, it: Instance) => void,
		reason: string,
		repair: string,
	) {
		using it = instance(proto, main);
		install(t, it);
		prepare(t, it);
		const before = it.read();

		const here = (text: string) => text.replaceAll('DIR', it.directory);
		const refused = runCommand('uninstall', it, '--exact');
		t.is(refused.status, 1);
		t.is(refused.stdout, '');
		t.true(refused.stderr.includes(`service tlsproxy/unix is in use:\n`), refused.stderr);
		t.true(refused.stderr.includes(`  ${here(reason)}\n`), refused.stderr);
		t.true(refused.stderr.includes(`\n  ${here(repair)}\n`), refused.stderr);
		t.is(it.read(), before);

		const unrelated = otherServices(t, it);
		const done = runCommand('uninstall', it);
		t.is(done.status, 0, done.stderr);
		t.true(
			done.stdout.includes("service tlsproxy/unix is still in use, Postfix's tlsproxy(8) takes over:\n"),
			done.stdout,
		);
		t.true(done.stdout.includes(`  ${here(reason)}\n`), done.stdout);
		t.is(service(t, it), stock);
		t.deepEqual(otherServices(t, it), unrelated);
		t.notRegex(it.read(), /postfix-tlsproxy/);

		/* Now install replaces the line of Postfix, and uninstall restores it. */
		const restored = it.read();
		install(t, it);
		t.is(runCommand('uninstall', it).status, 0);
		t.is(it.read(), restored);
	},
	title: (condition = '') => `stock tlsproxy(8) takes over, and --exact fails, with ${condition}`,
});

const nothing = (): void => undefined;
asRoot(
	'smtp_tls_connection_reuse',
	use,
	'smtp_tls_connection_reuse = Yes\n',
	nothing,
	'smtp/unix: smtp_tls_connection_reuse = Yes',
	'postconf -c DIR -e smtp_tls_connection_reuse=no',
);
asRoot(
	'a parameter that refers to another',
	use,
	'mine = yes\nother = ${mine}\nsmtp_tls_connection_reuse = $other\n',
	nothing,
	'smtp/unix: smtp_tls_connection_reuse = $other',
	'postconf -c DIR -e smtp_tls_connection_reuse=no',
);
asRoot(
	'a parameter whose value depends on another',
	use,
	'mine = yes\nsmtp_tls_connection_reuse = ${mine?{yes}:{no}}\n',
	nothing,
	'smtp/unix: smtp_tls_connection_reuse = ${mine?{yes}:{no}}',
	'postconf -c DIR -e smtp_tls_connection_reuse=no',
);
asRoot(
	'one transport in master.cf',
	use,
	'',
	(t, it) => postconf(t, it, '-P', 'relay/unix/smtp_tls_connection_reuse=yes'),
	'relay/unix: smtp_tls_connection_reuse = yes',
	'postconf -c DIR -P "relay/unix/smtp_tls_connection_reuse=no"',
);
asRoot(
	'lmtp',
	use,
	'lmtp_tls_connection_reuse = yes\n',
	nothing,
	'lmtp/unix: lmtp_tls_connection_reuse = yes',
	'postconf -c DIR -e lmtp_tls_connection_reuse=no',
);
asRoot(
	'a policy table',
	use,
	'smtp_tls_policy_maps = texthash:$config_directory/policy\n',
	(_, it) => writeFileSync(join(it.directory, 'policy'), 'a.test encrypt connection_reuse=yes\n'),
	'smtp/unix: connection_reuse=yes in smtp_tls_policy_maps = texthash:DIR/policy',
	'remove connection_reuse=yes from texthash:DIR/policy',
);
asRoot(
	'TLS in postscreen(8)',
	use,
	'smtpd_tls_security_level = may\n',
	(t, it) => postconf(t, it, '-M', 'smtp/inet=smtp inet n - y - 1 postscreen'),
	'smtp/inet: postscreen_tls_security_level = may',
	'postconf -c DIR -e postscreen_tls_security_level=none',
);

asRoot('a policy table that cannot be listed counts as in use, and --exact prints a note', t => {
	const main = 'smtp_tls_policy_maps = tcp:127.0.0.1:9\n';
	using it = instance(proto, main);
	install(t, it);
	const exact = runCommand('uninstall', it, '--exact');
	t.is(exact.status, 0, exact.stderr);
	t.regex(exact.stdout, /note: these tables cannot be listed:\n.*smtp_tls_policy_maps = tcp:127\.0\.0\.1:9/);
	t.is(it.read(), proto);
	install(t, it);
	t.regex(
		runCommand('uninstall', it).stdout,
		/smtp_tls_policy_maps = tcp:127\.0\.0\.1:9 may have connection_reuse/,
	);
	t.is(service(t, it), stock);
});

for (const [condition, main] of [
	['no client uses the service', ''],
	['clients use another service', 'smtp_tls_connection_reuse = yes\ntlsproxy_service_name = another\n'],
	['a policy table does not enable connection reuse', 'smtp_tls_policy_maps = static:encrypt\n'],
	['postscreen(8) is not used', 'smtpd_tls_security_level = may\n'],
] as const) {
	asRoot(`every byte is restored if ${condition}`, t => {
		using it = instance(proto, main);
		install(t, it);
		const {status, stdout, stderr} = runCommand('uninstall', it);
		t.is(status, 0, stderr);
		t.true(stdout.includes('removed service tlsproxy/unix\n'), stdout);
		t.is(it.read(), proto);
	});
}

asRoot(
	'stock tlsproxy(8) takes over a service of another name, with its options, without the arguments of this program',
	t => {
		using it = instance(`${proto}mine unix - - n - - smtp\n  -o tlsproxy_service_name=tlsproxyn\n`, '');
		install(t, it, '-s', 'tlsproxyn');
		postconf(t, it, '-P', 'mine/unix/smtp_tls_connection_reuse=yes');
		const [line = ''] = /^tlsproxyn.*$/m.exec(it.read()) ?? [];
		writeFileSync(
			it.masterCf,
			it.read().replace(line, `${line} -v -o a=b\n  -o { c = d e }\n# why\n  -of=g json=/x -o h=i`),
		);
		const {status, stderr} = runCommand('uninstall', it, '-s', 'tlsproxyn');
		t.is(status, 0, stderr);
		t.is(
			service(t, it, 'tlsproxyn').replaceAll(/\n\s*/g, ' ').trim(),
			`${stock.replace('tlsproxy', 'tlsproxyn').trim()} -v -o a=b -o {c=d e} -o f=g`,
		);
	},
);

asRoot('without a comment in master.cf, a default line is used', t => {
	const bare = proto.replace(/^#tlsproxy.*\n/m, '');
	using it = instance(bare, `smtp_tls_connection_reuse = yes\nmeta_directory = /nonexistent\n`);
	install(t, it);
	t.is(runCommand('uninstall', it).status, 0);
	t.is(service(t, it), 'tlsproxy unix - - n - 0 tlsproxy\n');
	t.is(it.read().split('\n').length, bare.split('\n').length + 1);
});

asRoot('uninstall fails if the service is in use and stock tlsproxy(8) is missing', t => {
	using it = instance(proto, 'smtp_tls_connection_reuse = yes\n');
	install(t, it);
	const daemons = join(it.directory, 'daemons');
	mkdirSync(daemons);
	postconf(t, it, '-e', `daemon_directory=${daemons}`);
	const before = it.read();
	const {status, stderr} = runCommand('uninstall', it);
	t.is(status, 1);
	t.true(stderr.includes(`${daemons}/tlsproxy, which would take over, is missing`), stderr);
	t.is(it.read(), before);
});

asRoot('uninstall works without a runtime, with a minimal PATH', t => {
	using it = instance();
	install(t, it);
	const bin = join(it.directory, 'bin');
	mkdirSync(bin);
	for (const tool of 'awk cat cmp cp diff grep id mkdir mktemp mv readlink rm sed sort sync tail tr'.split(
		' ',
	)) {
		const path = ['/usr/bin', '/bin'].map(directory => join(directory, tool)).find(file => existsSync(file));
		writeFileSync(join(bin, tool), `#!/bin/sh\nexec ${path} "$@"\n`, {mode: 0o755});
	}

	/* The command adds the standard directories to PATH, where Postfix is. */
	const {status, stdout, stderr} = run(join(project, 'postfix', 'uninstall'), ['-c', it.directory], {
		PATH: bin,
	});
	t.is(status, 0, stderr);
	t.true(stdout.includes('removed service tlsproxy/unix\n'));
	t.is(it.read(), proto);
});

/* Puts a script in front of a Postfix command in PATH. */
function fake(it: Instance, name: string, script: string): NodeJS.ProcessEnv {
	const bin = join(it.directory, 'bin');
	mkdirSync(bin, {recursive: true});
	writeFileSync(join(bin, name), `#!/bin/sh\n${script}`);
	chmodSync(join(bin, name), 0o755);
	return {PATH: `${bin}:${PATH}`};
}

asRoot('after a reload that fails, master.cf is restored', t => {
	using it = instance(proto, 'smtp_tls_connection_reuse = yes\n');
	install(t, it);
	chmodSync(it.masterCf, 0o640);
	const before = it.read();
	const env = fake(it, 'postfix', 'case $3 in reload) echo "no way" >&2; exit 1 ;; esac\n');
	const {status, stderr} = run(join(project, 'postfix', 'uninstall'), ['-c', it.directory, '-r'], env);
	t.is(status, 1);
	t.is(
		stderr,
		`uninstall: fatal: postfix -c ${it.directory} reload: no way\n${it.directory}/master.cf was restored\n`,
	);
	t.is(it.read(), before);
	t.is(statSync(it.masterCf).mode & 0o777, 0o640);

	using other = instance();
	const installed = run(
		join(project, 'postfix', 'install'),
		['-c', other.directory, '-r'],
		fake(other, 'postfix', 'case $3 in reload) echo "no way" >&2; exit 1 ;; esac\n'),
	);
	t.is(installed.status, 1);
	t.true(installed.stderr.endsWith(`no way\n${other.masterCf} was restored\n`), installed.stderr);
	t.is(other.read(), proto);
});

/* Edits by postconf(1), which moves the line because other comments follow the end marker. */

const following = '# about the next\nnext unix - - n - - smtp\n';

/** An instance with the service in use, edited by postconf(1). */
function edited(t: ExecutionContext, args: readonly string[]): Instance {
	const it = instance(proto, 'smtp_tls_connection_reuse = yes\nsmtp_tls_security_level = may\n');
	install(t, it, '-l', '4');
	writeFileSync(it.masterCf, it.read() + following);
	const replacement = args.map(arg =>
		arg.replace('PROGRAM', () => /\S+\/dist\/tlsproxy/.exec(service(t, it))?.[0] ?? ''),
	);
	postconf(t, it, ...replacement);
	return it;
}

function doctor(it: Instance): string {
	return runCommand('doctor', it).stdout.replaceAll(/\s+/g, ' ');
}

interface Kept {
	readonly limit?: string;
	readonly chroot?: string;
	readonly options?: string;
}

const keeps = test.macro({
	exec(t, edit: readonly string[], {limit = '4', chroot = 'n', options = ''}: Kept) {
		using it = edited(t, edit);
		const unrelated = otherServices(t, it);
		const now = service(t, it);
		t.regex(now, ourCommand);

		/* doctor accepts it. */
		t.notRegex(doctor(it), /tlsproxy\/unix/);

		/* install keeps the edits, and moves the line back into its block. */
		install(t, it);
		t.is(service(t, it), now);
		t.regex(
			now,
			new RegExp(`^tlsproxy unix - - ${chroot} - ${limit} \\S+${options.replaceAll(/[{}]/g, '\\$&')}\n$`),
		);
		t.regex(it.read(), /taken out again[^\n]*\ntlsproxy .*\n( .*\n)*# END postfix-tlsproxy tlsproxy\n/);
		t.deepEqual(otherServices(t, it), unrelated);
		t.regex(install(t, it), /nothing changed/);

		/* Uninstalled without a second install. */
		using other = edited(t, edit);
		const {status, stdout, stderr} = runCommand('uninstall', other);
		t.is(status, 0, stderr);
		t.true(stdout.includes('takes over'), stdout);
		t.is(service(t, other), stock.replace('\n', `${options}\n`));
		t.deepEqual(otherServices(t, other), unrelated);

		/* Uninstalled after the second install. */
		t.is(runCommand('uninstall', it).status, 0);
		t.is(it.read(), other.read());
		t.notRegex(doctor(it), /tlsproxy\/unix/);

		/* Uninstalled while not in use. */
		using third = edited(t, edit);
		postconf(t, third, '-e', 'smtp_tls_connection_reuse=no');
		const exact = runCommand('uninstall', third, '--exact');
		t.is(exact.status, 0, exact.stderr);
		t.is(service(t, third), '');
		t.deepEqual(otherServices(t, third), unrelated);
		t.notRegex(third.read(), /postfix-tlsproxy/);
		if (edit[1]?.startsWith('tlsproxy/') === true) {
			t.is(third.read(), proto + following);
		}
	},
	title: (condition = '') => `install, doctor and uninstall understand postconf ${condition}`,
});

const program = 'PROGRAM';
asRoot('-F process_limit', keeps, ['-F', 'tlsproxy/unix/process_limit=9'], {limit: '9'});
asRoot('-F chroot', keeps, ['-F', 'tlsproxy/unix/chroot=y'], {chroot: 'y'});
asRoot('-P', keeps, ['-P', 'tlsproxy/unix/ipc_timeout=600s', 'tlsproxy/unix/tlsproxy_watchdog_timeout=20s'], {
	options: ' -o ipc_timeout=600s -o tlsproxy_watchdog_timeout=20s',
});
asRoot('-M, the whole line', keeps, ['-M', `tlsproxy/unix=tlsproxy unix - - n - 7 ${program} -o a=b`], {
	limit: '7',
	options: ' -o a=b',
});
asRoot(
	'-F of the previous service, which moves into the block',
	keeps,
	['-F', 'mailman/unix/process_limit=9'],
	{},
);
asRoot('-F of the next service', keeps, ['-F', 'next/unix/process_limit=9'], {});

asRoot(
	'doctor reports a service that postconf(1) has removed or commented out, and install adds it again',
	t => {
		for (const edit of [
			['-MX', 'tlsproxy/unix'],
			['-M#', 'tlsproxy/unix'],
		]) {
			using it = edited(t, edit);
			t.is(service(t, it), '');
			t.regex(doctor(it), /no active service tlsproxy\/unix/);
			const before = it.read();
			install(t, it);
			t.regex(service(t, it), ourCommand);
			writeFileSync(it.masterCf, before);
			const {status, stdout, stderr} = runCommand('uninstall', it);
			t.is(status, 0, stderr);
			t.true(stdout.includes('takes over'), stdout);
			t.is(service(t, it), stock);
			t.notRegex(doctor(it), /tlsproxy\/unix/);
			t.notRegex(it.read(), /postfix-tlsproxy/);
		}
	},
);

asRoot('a service whose command postconf(1) has changed back to stock is not changed', t => {
	using it = edited(t, ['-F', 'tlsproxy/unix/command=tlsproxy']);
	postconf(t, it, '-F', 'tlsproxy/unix/process_limit=0');
	const now = service(t, it);
	t.is(now, 'tlsproxy unix - - n - 0 tlsproxy\n');
	const before = it.read();
	const exact = runCommand('uninstall', it, '--exact');
	t.is(exact.status, 1);
	t.regex(exact.stderr, /was changed to run tlsproxy, not this program.*:\n {2}\d+: tlsproxy/);
	t.is(it.read(), before);

	const {status, stdout, stderr} = runCommand('uninstall', it);
	t.is(status, 0, stderr);
	t.regex(stdout, /service tlsproxy\/unix was edited to run tlsproxy, and stays/);
	t.is(service(t, it), now);
	t.notRegex(it.read(), /postfix-tlsproxy/);

	/* install replaces that line, with the default limit, and uninstall restores it. */
	writeFileSync(it.masterCf, before);
	install(t, it);
	t.regex(
		service(t, it),
		new RegExp(`^tlsproxy unix - - n - ${Math.max(2, availableParallelism())} \\S+/dist/tlsproxy\n$`),
	);
	t.is(runCommand('uninstall', it).status, 0);
	t.is(service(t, it), now);
});

asRoot('the commands fail if postconf(1) has renamed the service, and print the lines', t => {
	using it = edited(t, ['-F', 'tlsproxy/unix/service=renamed']);
	const before = it.read();
	t.regex(doctor(it), /no active service tlsproxy\/unix/);
	for (const command of ['install', 'uninstall']) {
		const {status, stdout, stderr} = runCommand(command, it);
		t.deepEqual([status, stdout], [1, ''], stderr);
		t.regex(
			stderr,
			/service tlsproxy\/unix is missing, and service renamed\/unix runs this program: .*postconf -F renamed\/unix\/service=tlsproxy.*:\n {2}\d+: renamed +unix[^]*\n {2}\d+: # BEGIN.*\n {2}\d+: # END/,
		);
		t.is(it.read(), before);
	}

	/* The command in the message corrects it. */
	postconf(t, it, '-F', 'renamed/unix/service=tlsproxy');
	t.is(runCommand('uninstall', it).status, 0);
	t.is(service(t, it), stock);
});

const refuses = test.macro({
	exec(t, change: (text: string) => string, message: RegExp) {
		using it = instance(proto, 'smtp_tls_connection_reuse = yes\n');
		install(t, it);
		writeFileSync(it.masterCf, change(it.read()));
		const before = it.read();
		for (const more of [[], ['--exact']]) {
			const {status, stdout, stderr} = runCommand('uninstall', it, ...more);
			t.deepEqual([status, stdout], [1, '']);
			t.regex(stderr, message);
		}

		t.is(it.read(), before);
	},
	title: (condition = '') => `uninstall fails with ${condition}`,
});

asRoot(
	'a service without markers',
	refuses,
	text => text.replaceAll(/^# (BEGIN|END) .*\n/gm, ''),
	/service tlsproxy\/unix runs this program, and install did not write it[^]*\n {2}\d+: tlsproxy +unix/,
);
asRoot(
	'a block without its end',
	refuses,
	text => text.replace(/^# END .*\n/m, ''),
	/marker comments of service tlsproxy\/unix are damaged[^]*\n {2}\d+: # BEGIN/,
);
asRoot(
	'a service that is defined twice',
	refuses,
	text => `${text}tlsproxy unix - - n - 0 tlsproxy\n`,
	/defined more than once[^]*\n {2}\d+: tlsproxy +unix.*dist\/tlsproxy\n {2}\d+: tlsproxy unix - - n - 0 tlsproxy\n/,
);

asRoot('options that were added later are kept with the line that install replaced', t => {
	const text = proto.replace(/^#(tlsproxy .*)$/m, '$1\n  -o a=b');
	using it = instance(text, '');
	install(t, it);
	postconf(t, it, '-P', 'tlsproxy/unix/c=d');
	t.is(runCommand('uninstall', it).status, 0);
	t.is(service(t, it), stock.replace('\n', ' -o a=b -o c=d\n'));
	writeFileSync(it.masterCf, text);
	install(t, it);
	postconf(t, it, '-P', 'tlsproxy/unix/c=d');
	t.is(runCommand('uninstall', it, '--exact').status, 0);
	t.is(it.read(), text);
});

asRoot('a replaced line that runs this program is restored by --exact only', t => {
	const hand = 'tlsproxy unix - - n - 5 ../../elsewhere/tlsproxy\n';
	using it = instance(hand, '');
	install(t, it);
	const {status, stderr} = runCommand('uninstall', it);
	t.is(status, 1);
	t.regex(stderr, /the line that install replaced also runs this program/);
	t.is(runCommand('uninstall', it, '--exact').status, 0);
	t.is(it.read(), hand);
});

for (const args of [['-x'], ['--exakt'], ['-s', 'a b'], ['-s', '../x'], ['more'], ['-p', '/x'], ['-s']]) {
	asRoot(`uninstall rejects ${args.join(' ')}`, t => {
		using it = instance();
		const {status, stderr} = runCommand('uninstall', it, ...args);
		t.is(status, 1);
		t.regex(stderr, /^uninstall: fatal: [^]*('|usage:|invalid)/);
	});
}
