/* These tests run as root. Each enters a jail in a child process, which cannot leave it. */
import {execFileSync, spawn} from 'node:child_process';
import {once} from 'node:events';
import {chmodSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import test, {type ExecutionContext} from 'ava';
import {ConfigurationError} from '../../src/base/errors.ts';
import {enterJail, mailOwner} from '../../src/sandbox/jail.ts';

/** The numeric ids of the account, from id(1). */
const id = (option: string): number =>
	Number(execFileSync('id', [option, 'postfix'], {encoding: 'utf8'}).trim());
const uid = id('-u');
const gid = id('-g');

function directory(t: ExecutionContext): string {
	const path = mkdtempSync(join(tmpdir(), 'jail-'));
	t.teardown(() => rmSync(path, {recursive: true}));
	chmodSync(path, 0o755);
	return path;
}

/**
 * Starts a program that prints one line of JSON. It runs until the end of the test.
 *
 * @param wrapper - command that starts it.
 */
async function run(t: ExecutionContext, program: string, ...wrapper: readonly string[]) {
	const source = `
		import {enterJail, mailOwner} from ${JSON.stringify(new URL('../../src/sandbox/jail.ts', import.meta.url).href)};
		import {chroot} from ${JSON.stringify(new URL('../../src/ffi/libc/libc.ts', import.meta.url).href)};
		import {refuse} from ${JSON.stringify(new URL('../helpers/service-manager-filter.ts', import.meta.url).href)};
		import {existsSync, readFileSync, writeFileSync} from 'node:fs';
		const print = value => { process.stdout.write(JSON.stringify(value) + '\\n'); };
		const refused = run => { try { run(); return false; } catch { return true; } };
		${program}
		process.stdin.resume();
	`;
	const node = [process.execPath, '--input-type=module', '--eval', source];
	const [command = '', ...args] = [...wrapper, ...node];
	const child = spawn(command, args, {stdio: ['pipe', 'pipe', 'inherit']});
	t.teardown(() => child.kill('SIGKILL'));
	const [line] = (await once(createInterface(child.stdout), 'line', {
		signal: AbortSignal.timeout(60_000),
	})) as [string];
	const pid = child.pid ?? 0;
	const status = readFileSync(`/proc/${pid}/status`, 'utf8');
	return {
		printed: JSON.parse(line) as unknown,
		root: readlinkSync(`/proc/${pid}/root`),
		status: (name: string): string | undefined => new RegExp(`^${name}:\\t(.*?) *$`, 'm').exec(status)?.[1],
	};
}

test('mailOwner returns the ids that id(1) prints', t => {
	t.deepEqual(mailOwner('postfix'), {name: 'postfix', uid, gid});
});

test('mailOwner rejects an account that does not exist', t => {
	for (const name of ['nosuch', '', String(uid), 'postfi', 'postfix:x']) {
		t.throws(() => mailOwner(name), {instanceOf: ConfigurationError, message: `unknown user: ${name}`});
	}
});

test('mailOwner rejects root', t => {
	t.throws(() => mailOwner('root'), {
		instanceOf: ConfigurationError,
		message: 'parameter mail_owner: user root has privileged user or group ID',
	});
});

test('enterJail changes all user and group ids, the root directory and the working directory', async t => {
	const root = directory(t);
	writeFileSync(join(root, 'inside'), '');
	const {printed, status, ...jailed} = await run(
		t,
		`enterJail(${JSON.stringify(root)}, mailOwner('postfix'));
		print([process.getuid(), process.getgid(), process.cwd(), existsSync('inside'), existsSync('/inside'), existsSync('/etc')]);`,
	);
	t.deepEqual(printed, [uid, gid, '/', true, true, false]);
	t.is(jailed.root, root);
	t.is(status('Uid'), `${uid}\t${uid}\t${uid}\t${uid}`);
	t.is(status('Gid'), `${gid}\t${gid}\t${gid}\t${gid}`);
	t.is(status('Groups'), String(gid));
	for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) {
		t.regex(status(set) ?? '', /^0+$/, set);
	}

	t.is(status('NoNewPrivs'), '1');
});

test('a process cannot leave the jail or regain its privileges', async t => {
	const root = directory(t);
	mkdirSync(join(root, 'deeper'));
	const {printed, ...jailed} = await run(
		t,
		`enterJail(${JSON.stringify(root)}, mailOwner('postfix'));
		print({
			setuid: refused(() => process.setuid(0)),
			seteuid: refused(() => process.seteuid(0)),
			setgid: refused(() => process.setgid(0)),
			setegid: refused(() => process.setegid(0)),
			setgroups: refused(() => process.setgroups([0])),
			chroot: chroot('deeper') !== 0,
			kill: refused(() => process.kill(${process.pid}, 0)),
			above: refused(() => readFileSync('../../etc/passwd')),
			write: refused(() => writeFileSync('file', '')),
		});`,
	);
	t.deepEqual(printed, {
		setuid: true,
		seteuid: true,
		setgid: true,
		setegid: true,
		setgroups: true,
		chroot: true,
		kill: true,
		above: true,
		write: true,
	});
	t.is(jailed.root, root);
});

/** A command that starts another command with a different /etc/group. */
function withGroupFile(file: string): readonly string[] {
	return ['unshare', '--mount', 'sh', '-c', 'mount --bind "$0" /etc/group && exec "$@"', file];
}

/* Administrators add the mail owner to groups that can read a key or use a socket. */
test('enterJail sets all groups of the account, and none of root', async t => {
	const groups = join(directory(t), 'group');
	writeFileSync(
		groups,
		`root:x:0:postfixed\nfirst:x:4242:postfix\nsecond:x:4243:daemon,postfix\nother:x:4244:daemon\n`,
	);
	const {status} = await run(
		t,
		`process.setgroups([0, 4244]); enterJail(undefined, mailOwner('postfix')); print(true);`,
		...withGroupFile(groups),
	);
	const seen = status('Groups')?.split(' ').map(Number);
	t.deepEqual(
		seen?.toSorted((a, b) => a - b),
		[gid, 4242, 4243].toSorted((a, b) => a - b),
	);
});

test('enterJail without a directory drops privileges and keeps the directories', async t => {
	const {printed, root, status} = await run(
		t,
		`const cwd = process.cwd();
		enterJail(undefined, mailOwner('postfix'));
		print([process.cwd() === cwd, existsSync('/etc/passwd'), refused(() => readFileSync('/etc/shadow'))]);`,
	);
	t.deepEqual(printed, [true, true, true]);
	t.is(root, '/');
	t.is(status('Uid'), `${uid}\t${uid}\t${uid}\t${uid}`);
	t.is(status('NoNewPrivs'), '1');
});

test('enterJail without an account keeps running as root in the jail', async t => {
	const path = directory(t);
	const {root, status} = await run(t, `enterJail(${JSON.stringify(path)}, undefined); print(true);`);
	t.is(root, path);
	t.is(status('Uid'), '0\t0\t0\t0');
	t.is(status('NoNewPrivs'), '1');
});

test('enterJail rejects a directory that does not exist', t => {
	t.throws(() => enterJail('/nonexistent/jail', undefined), {
		instanceOf: ConfigurationError,
		message: 'chroot(/nonexistent/jail): No such file or directory',
	});
});

test('enterJail fails unless the process is root', async t => {
	const {printed} = await run(
		t,
		`process.setuid(${uid});
		const account = mailOwner('postfix');
		const reason = run => { try { run(); return ''; } catch (error) { return [error.constructor.name, error.message]; } };
		print([reason(() => enterJail('/', account)), reason(() => enterJail('/', undefined))]);`,
	);
	const [asAccount, asNobody] = printed as ReadonlyArray<readonly [name: string, message: string]>;
	t.is(asAccount?.[0], 'ConfigurationError');
	t.regex(asAccount?.[1] ?? '', new RegExp(`^setgid\\(${gid}\\): .*EPERM`));
	t.deepEqual(asNobody, ['ConfigurationError', 'chroot(/): Operation not permitted']);
});

/* If a step fails, the steps before it have taken effect, and no further step is made. */
const stopsAt = test.macro<
	[call: string, message: string, done: ReadonlyArray<'gid' | 'groups' | 'root' | 'uid'>]
>({
	async exec(t, call, message, done) {
		const root = directory(t);
		const {printed, status, ...jailed} = await run(
			t,
			`process.setgroups([0, 4244]);
			refuse(${JSON.stringify(call)});
			try { enterJail(${JSON.stringify(root)}, mailOwner('postfix')); print('no'); } catch (error) { print(error.message); }`,
		);
		t.regex(String(printed), new RegExp(`^${message}`));
		t.is(status('Gid')?.split('\t')[1], String(done.includes('gid') ? gid : 0));
		t.is(status('Groups'), done.includes('groups') ? String(gid) : '0 4244');
		t.is(jailed.root, done.includes('root') ? root : '/');
		t.is(status('Uid')?.split('\t')[1], String(done.includes('uid') ? uid : 0));
		t.is(status('NoNewPrivs'), '0');
	},
	title(_, call) {
		return `enterJail stops with an error if ${call} fails`;
	},
});

test(stopsAt, 'setgid', `setgid\\(${gid}\\): .*EPERM`, []);
test(stopsAt, 'setgroups', 'initgroups: .*EPERM', ['gid']);
test(stopsAt, 'chroot', 'chroot\\(.*\\): Operation not permitted', ['gid', 'groups']);
test(stopsAt, 'setuid', `setuid\\(${uid}\\): .*EPERM`, ['gid', 'groups', 'root']);
test(stopsAt, 'prctl', 'prctl\\(PR_SET_NO_NEW_PRIVS\\): Operation not permitted', [
	'gid',
	'groups',
	'root',
	'uid',
]);
