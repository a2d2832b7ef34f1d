/*
 * The launchers that start a worker: what they detect, and what they pass to the program
 * that they execute. There are two of them with the same behavior.
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

/** The state that the executed program reports. */
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
	const launch = (command: readonly string[], wrapper: readonly string[] = []) => {
		const [program = '', ...args] = [...wrapper, ...launcher, ...command];
		return spawnSync(program, args, {env: {ABC: 'def'}, encoding: 'utf8'});
	};
	const found = (wrapper: readonly string[] = []): Found =>
		JSON.parse(launch([node, '--expose-gc', '-e', FOUND, 'one', '', 'two words'], wrapper).stdout) as Found;

	test(`${name} executes a program with its flags, arguments and environment`, t => {
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
		test(`${name}: if the system denies ${what}, the JIT compiler is turned off`, t => {
			t.like(found(denying(what)), {flags: ['--jitless', '--expose-gc'], seccomp: 'process'});
		});
	}

	test(`${name}: if seccomp(2) kills the caller or is missing, the filter covers the main thread only`, t => {
		t.like(found(denying('seccomp by death')), {flags: ['--expose-gc'], seccomp: 'thread'});
		t.like(found(denying('seccomp')), {flags: ['--expose-gc'], seccomp: 'thread'});
	});

	test(`${name} fails if the program does not exist`, t => {
		t.not(launch(['/nonexistent', 'argument']).status, 0);
	});

	test(`${name}: the executed program has a pending alarm, and no io_uring`, t => {
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
