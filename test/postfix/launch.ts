/*
 * The program that a worker is started by: what it finds out, and what it leaves to the
 * program that it becomes.
 */
import {spawnSync} from 'node:child_process';
import {existsSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {denying} from '../helpers/master.ts';

const project = join(import.meta.dirname, '..', '..');
const launch = join(project, 'dist', 'lib', 'launch');

/** Exit status of a command; the name of the signal that has ended it. */
function endOf(command: string, ...args: readonly string[]): number | NodeJS.Signals | null {
	const {status, signal} = spawnSync(command, args);
	return signal ?? status;
}

/** The same on a host that denies something. */
function endDenied(what: string, ...args: readonly string[]): number | NodeJS.Signals | null {
	const [command = '', ...others] = denying(what);
	return endOf(command, ...others, launch, ...args);
}

test('launch says that this host denies nothing', t => {
	t.is(endOf(launch), 0);
	t.is(endOf(launch, 'seccomp'), 0);
});

for (const what of ['write-execute by prctl', 'write-execute by seccomp']) {
	test(`launch finds out that a host denies ${what}`, t => {
		t.not(endDenied(what), 0);
		t.is(endDenied(what, 'seccomp'), 0);
	});
}

test('launch finds out that seccomp(2) is death, or is not there', t => {
	t.is(endDenied('seccomp by death', 'seccomp'), 'SIGSYS');
	t.not(endDenied('seccomp', 'seccomp'), 0);
	t.is(endDenied('seccomp by death'), 0);
});

test('launch becomes a program, with its arguments and its environment', t => {
	const script = 'console.log(JSON.stringify([process.pid, process.argv.slice(1), process.env.ABC]))';
	const {stdout, pid} = spawnSync(launch, [process.execPath, '-e', script, 'one', '', 'two words'], {
		env: {ABC: 'def'},
		encoding: 'utf8',
	});
	t.deepEqual(JSON.parse(stdout), [pid, ['one', '', 'two words'], 'def']);
});

test('launch fails when there is no such program', t => {
	t.false(existsSync('/nonexistent'));
	t.not(endOf(launch, '/nonexistent', 'argument'), 0);
});

test('what launch has become has an alarm before it, and no io_uring', t => {
	const script = `
		import {alarm, errno, syscall} from ${JSON.stringify(join(project, 'src', 'ffi', 'libc.ts'))};
		const ring = syscall(425, 1n, 0n, 0n);
		const error = errno();
		console.log(JSON.stringify([ring, error, alarm(0)]));`;
	const {stdout} = spawnSync(launch, [process.execPath, '--input-type=module', '-e', script], {
		encoding: 'utf8',
	});
	const ENOSYS = 38;
	const [ring, error, seconds] = JSON.parse(stdout) as readonly number[];
	t.deepEqual([ring, error], [-1, ENOSYS]);
	t.true(Number(seconds) > 0 && Number(seconds) <= 100);
});
