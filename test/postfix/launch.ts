/*
 * What a worker is started by: what it finds out, and what it leaves to the program that
 * it becomes. There are two, and they do the same.
 */
import {spawnSync} from 'node:child_process';
import {join} from 'node:path';
import test from 'ava';
import {denying} from '../helpers/master.ts';

const project = join(import.meta.dirname, '..', '..');
const home = join(project, 'dist', 'lib');
const node = join(home, 'node');
const launchers: Readonly<Record<string, readonly string[]>> = {
	'launch.pl': ['/usr/bin/perl', join(home, 'launch.pl')],
	'launch.js': [node, '--jitless', join(home, 'launch.js')],
};

/** What the program that it becomes finds. */
interface Found {
	readonly pid: number;
	readonly flags: readonly string[];
	readonly args: readonly string[];
	readonly seccomp: string;
	readonly other: string;
}

const FOUND = `console.log(JSON.stringify({
	pid: process.pid,
	flags: process.execArgv.filter(flag => flag.startsWith('--jit') || flag.startsWith('--expose')),
	args: process.argv.slice(1),
	seccomp: process.env.TLSPROXY_SECCOMP,
	other: process.env.ABC,
}))`;

for (const [name, launcher] of Object.entries(launchers)) {
	const launch = (words: readonly string[], wrapper: readonly string[] = []) => {
		const [command = '', ...args] = [...wrapper, ...launcher, ...words];
		return spawnSync(command, args, {env: {ABC: 'def'}, encoding: 'utf8'});
	};
	const found = (wrapper: readonly string[] = []): Found =>
		JSON.parse(launch([node, '--expose-gc', '-e', FOUND, 'one', '', 'two words'], wrapper).stdout) as Found;

	test(`${name} becomes a program, with its flags, its arguments and its environment`, t => {
		const {pid, stdout} = launch([node, '--expose-gc', '-e', FOUND, 'one', '', 'two words']);
		t.deepEqual(JSON.parse(stdout), {
			pid,
			flags: ['--expose-gc'],
			args: ['one', '', 'two words'],
			seccomp: 'process',
			other: 'def',
		});
	});

	for (const what of ['write-execute by prctl', 'write-execute by seccomp']) {
		test(`${name}: where a host denies ${what}, without machine code`, t => {
			t.like(found(denying(what)), {flags: ['--jitless', '--expose-gc'], seccomp: 'process'});
		});
	}

	test(`${name}: where seccomp(2) is death, or is not there, without it`, t => {
		t.like(found(denying('seccomp by death')), {flags: ['--expose-gc'], seccomp: 'thread'});
		t.like(found(denying('seccomp')), {flags: ['--expose-gc'], seccomp: 'thread'});
	});

	test(`${name} fails when there is no such program`, t => {
		t.not(launch(['/nonexistent', 'argument']).status, 0);
	});

	test(`${name}: what it has become has an alarm before it, and no io_uring`, t => {
		const script = `
			import {alarm, errno, syscall} from ${JSON.stringify(join(project, 'src', 'ffi', 'libc', 'libc.ts'))};
			const ring = syscall(425, 1n, 0n, 0n);
			const error = errno();
			console.log(JSON.stringify([ring, error, alarm(0)]));`;
		const {stdout} = launch([node, '--input-type=module', '-e', script]);
		const ENOSYS = 38;
		const [ring, error, seconds] = JSON.parse(stdout) as readonly number[];
		t.deepEqual([ring, error], [-1, ENOSYS]);
		t.true(Number(seconds) > 0 && Number(seconds) <= 100);
	});
}
