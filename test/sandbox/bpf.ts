import test from 'ava';
import {
	SECCOMP_RET_ALLOW as ALLOW,
	assemble,
	failWith,
	SECCOMP_RET_KILL_PROCESS as KILL,
	type Rule,
} from '../../src/sandbox/bpf.ts';
import {type Architecture, syscallNames, syscallNumber} from '../../src/sandbox/syscalls.ts';
import {evaluate} from '../helpers/bpf.ts';

/* Source: linux/audit.h. */
const X86_64 = 0xc000003e;
const AARCH64 = 0xc00000b7;
const I386 = 0x40000003;
const ARM = 0x40000028;

const audit: Readonly<Record<Architecture, number>> = {x64: X86_64, arm64: AARCH64};
const architectures = ['x64', 'arm64'] as const;

/** The action for a call with a number on x86-64. */
function actionFor(rules: readonly Rule[], number: number, ...args: ReadonlyArray<number | bigint>): number {
	return evaluate(assemble('x64', rules, KILL), {arch: X86_64, number, args});
}

test('assemble returns an array of struct sock_filter', t => {
	t.deepEqual(
		Buffer.from(assemble('arm64', [{call: 'close'}], KILL))
			.toString('hex')
			.match(/.{16}/g),
		[
			'2000000004000000',
			'15000100b70000c0',
			'0600000000000080',
			'2000000000000000',
			'1500000139000000',
			'060000000000ff7f',
			'0600000000000080',
		],
	);
});

for (const arch of architectures) {
	test(`a filter allows calls that have a rule, and no others, on ${arch}`, t => {
		for (const call of syscallNames) {
			const number = syscallNumber(arch, call);
			const filter = assemble(arch, [{call}], KILL);
			for (let other = 0; other < 500; other++) {
				t.is(evaluate(filter, {arch: audit[arch], number: other}), other === number ? ALLOW : KILL);
			}
		}
	});

	test(`a filter kills callers of other architectures on ${arch}, even if a rule allows the call`, t => {
		const filter = assemble(
			arch,
			syscallNames.map(call => ({call})),
			ALLOW,
		);
		for (const other of [X86_64, AARCH64, I386, ARM, 0]) {
			for (const number of [0, 1, 57, 63, 231]) {
				t.is(evaluate(filter, {arch: other, number}), other === audit[arch] ? ALLOW : KILL);
			}
		}
	});
}

test('a filter kills callers of the x32 ABI', t => {
	const filter = assemble('x64', [{call: 'read'}, {call: 'write'}], ALLOW);
	for (const number of [0x40000000, 0x40000001, 0x400001ff, 0xffffffff]) {
		t.is(evaluate(filter, {arch: X86_64, number}), KILL);
	}

	t.is(evaluate(filter, {arch: X86_64, number: 0x3fffffff}), ALLOW);
});

test('assemble ignores rules for calls that the architecture does not have', t => {
	t.is(syscallNumber('arm64', 'open'), undefined);
	t.deepEqual(assemble('arm64', [{call: 'open'}, {call: 'stat'}], KILL), assemble('arm64', [], KILL));
});

test('a filter compares an argument with each of several values', t => {
	const rules: readonly Rule[] = [{call: 'fcntl', when: [{argument: 1, oneOf: [3, 4, 7]}]}];
	for (let command = 0; command < 10; command++) {
		t.is(actionFor(rules, 72, 9, command, 3), [3, 4, 7].includes(command) ? ALLOW : KILL);
	}
});

test('a filter compares the lower half of an int, as the kernel does', t => {
	const rules: readonly Rule[] = [{call: 'socket', when: [{argument: 0, oneOf: [1]}]}];
	t.is(actionFor(rules, 41, 1), ALLOW);
	t.is(actionFor(rules, 41, 0xffffffff00000001n), ALLOW);
	t.is(actionFor(rules, 41, 0x100000002n), KILL);
});

test('a filter rejects an argument with one of the forbidden bits', t => {
	const rules: readonly Rule[] = [{call: 'openat', when: [{argument: 2, without: 0o1103}]}];
	t.is(actionFor(rules, 257, -100, 0, 0o2000000), ALLOW);
	for (const bit of [0o1, 0o2, 0o100, 0o1000]) {
		t.is(actionFor(rules, 257, -100, 0, 0o2000000 | bit), KILL);
	}
});

test('a filter requires that all checks of a rule succeed', t => {
	const rules: readonly Rule[] = [
		{
			call: 'prctl',
			when: [
				{argument: 0, oneOf: [1, 2]},
				{argument: 1, without: 0x4},
				{argument: 3, oneOf: [9]},
			],
		},
		{call: 'read'},
	];
	t.is(actionFor(rules, 157, 1, 0, 0, 9), ALLOW);
	t.is(actionFor(rules, 157, 2, 3, 0, 9), ALLOW);
	t.is(actionFor(rules, 157, 3, 0, 0, 9), KILL);
	t.is(actionFor(rules, 157, 1, 4, 0, 9), KILL);
	t.is(actionFor(rules, 157, 1, 0, 0, 8), KILL);
	t.is(actionFor(rules, 0), ALLOW);
});

test('a filter returns the action of the rule, or the default action if a check fails', t => {
	const rules: readonly Rule[] = [
		{call: 'socket', when: [{argument: 0, oneOf: [2]}], action: failWith(97)},
		{call: 'read', action: failWith(38)},
	];
	t.is(actionFor(rules, 41, 2), 0x00050061);
	t.is(actionFor(rules, 41, 1), KILL);
	t.is(actionFor(rules, 0), 0x00050026);
});

test('the first rule for a call applies', t => {
	t.is(actionFor([{call: 'read', action: failWith(1)}, {call: 'read'}], 0), 0x00050001);
});
