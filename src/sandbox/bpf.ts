/*++
/* NAME
/*	bpf 3
/* SUMMARY
/*	assemble seccomp filters
/* DESCRIPTION
/*	A filter is a BPF program that the kernel runs for each system
/*	call. It examines the number and the arguments of the call, and
/*	returns an action. assemble() makes a filter from a list of rules.
/*	The first rule for a call applies. A call that has no rule, or
/*	whose arguments do not satisfy the checks of its rule, gets the
/*	default action.
/*
/*	The numbers of calls depend on the architecture. A process that
/*	makes a call of another architecture, or of the x32 ABI of x86-64,
/*	is killed.
/*
/*	A filter cannot examine memory that an argument points to: it could
/*	change between the check and the call.
/* SEE ALSO
/*	seccomp(2), linux/filter.h, linux/seccomp.h, linux/audit.h
/*--*/

import {type Architecture, type SyscallName, syscallNumber} from './syscalls.ts';

/** Actions. Source: linux/seccomp.h. */
export const SECCOMP_RET_KILL_PROCESS = 0x80000000;
export const SECCOMP_RET_ALLOW = 0x7fff0000;
const SECCOMP_RET_ERRNO = 0x00050000;

/** The action that makes a call fail with an error number. */
export function failWith(code: number): number {
	return SECCOMP_RET_ERRNO | (code & 0xffff);
}

/** A condition for the argument at a position. The lower 32 bits are compared: the kernel ignores the others of an int. */
export type Check =
	| {readonly argument: number; readonly oneOf: readonly number[]}
	/** None of these bits is set. */
	| {readonly argument: number; readonly without: number};

/** The action for a call. */
export interface Rule {
	readonly call: SyscallName;
	/** All checks must succeed; defaultAction the default action applies. */
	readonly when?: readonly Check[];
	/** By default, SECCOMP_RET_ALLOW. */
	readonly action?: number;
}

/** An instruction: struct sock_filter of linux/filter.h. */
interface Instruction {
	readonly code: number;
	/** Number of instructions to skip if a comparison is true, or false. */
	readonly jt: number;
	readonly jf: number;
	readonly k: number;
}

/** Size of an instruction in bytes. */
export const INSTRUCTION_SIZE = 8;

/* Codes: class, size or operation, and operand mode. Source: linux/bpf_common.h. */
const LOAD_WORD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_GREATER_OR_EQUAL = 0x35;
const JUMP_ANY_BIT = 0x45;
const RETURN = 0x06;

/* Offsets in struct seccomp_data. Both architectures are little-endian. Source: linux/seccomp.h. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const ARGUMENTS = 16;

/* Values of the architectures. Source: linux/audit.h. */
const AUDIT_ARCH: Readonly<Record<Architecture, number>> = {x64: 0xc000003e, arm64: 0xc00000b7};
/* Set in the numbers of calls of the x32 ABI. Source: asm/unistd.h. */
const X32_SYSCALL_BIT = 0x40000000;

/**
 * Assembles a filter.
 *
 * @param rules - in the order in which they are checked: the most frequent calls should be first. Rules for
 * calls that the architecture does not have are ignored.
 * @param defaultAction - for all other calls.
 * @returns an array of struct sock_filter.
 */
export function assemble(arch: Architecture, rules: readonly Rule[], defaultAction: number): Uint8Array {
	const instructions = [
		load(ARCHITECTURE),
		jump(JUMP_EQUAL, AUDIT_ARCH[arch], 1, 0),
		ret(SECCOMP_RET_KILL_PROCESS),
		load(NUMBER),
		...(arch === 'x64'
			? [jump(JUMP_GREATER_OR_EQUAL, X32_SYSCALL_BIT, 0, 1), ret(SECCOMP_RET_KILL_PROCESS)]
			: []),
		...rules.flatMap(rule => ruleCode(arch, rule, defaultAction)),
		ret(defaultAction),
	];
	return encode(instructions);
}

/* The number of the call is loaded before this code, and still is after it if the rule is for another call. */
function ruleCode(
	arch: Architecture,
	{call, when = [], action = SECCOMP_RET_ALLOW}: Rule,
	defaultAction: number,
): readonly Instruction[] {
	const number = syscallNumber(arch, call);
	if (number === undefined) {
		return [];
	}

	const body = [...when.flatMap(check => checkCode(check, ret(defaultAction))), ret(action)];
	return [jump(JUMP_EQUAL, number, 0, body.length), ...body];
}

/* Continues after its end if the check succeeds. */
function checkCode(check: Check, failure: Instruction): readonly Instruction[] {
	const low = ARGUMENTS + 8 * check.argument;
	if ('oneOf' in check) {
		const {oneOf} = check;
		return [
			load(low),
			...oneOf.map((value, index) => jump(JUMP_EQUAL, value, oneOf.length - index, 0)),
			failure,
		];
	}

	return [load(low), jump(JUMP_ANY_BIT, check.without, 0, 1), failure];
}

function load(offset: number): Instruction {
	return {code: LOAD_WORD, jt: 0, jf: 0, k: offset};
}

function jump(code: number, k: number, jt: number, jf: number): Instruction {
	return {code, jt, jf, k};
}

function ret(k: number): Instruction {
	return {code: RETURN, jt: 0, jf: 0, k};
}

function encode(instructions: readonly Instruction[]): Uint8Array {
	const bytes = new Uint8Array(instructions.length * INSTRUCTION_SIZE);
	const view = new DataView(bytes.buffer);
	instructions.forEach(({code, jt, jf, k}, index) => {
		const at = index * INSTRUCTION_SIZE;
		view.setUint16(at, code, true);
		view.setUint8(at + 2, jt);
		view.setUint8(at + 3, jf);
		view.setUint32(at + 4, k, true);
	});
	return bytes;
}
