/*++
/* NAME
/*	bpf 3
/* SUMMARY
/*	assembler of seccomp filters
/* DESCRIPTION
/*	A filter is a program of the kernel's: it looks at the number and
/*	the arguments of each system call, and answers what becomes of
/*	the call. assemble() makes one of a list of rules. The first rule
/*	for a call decides; a call without a rule, or whose arguments are
/*	not those of its rule, gets the answer for all others.
/*
/*	Calls of another architecture have other numbers: whoever makes
/*	one, or one of the x32 variety of x86-64, is killed.
/*
/*	Only numbers can be looked at. What a pointer points to can change
/*	between the look and the call, and is not visible here.
/* SEE ALSO
/*	seccomp(2), linux/filter.h, linux/seccomp.h, linux/audit.h
/*--*/

import {type Architecture, type SyscallName, syscallNumber} from './syscalls.ts';

/** Answers of a filter. Source: linux/seccomp.h. */
export const SECCOMP_RET_KILL_PROCESS = 0x80000000;
export const SECCOMP_RET_ALLOW = 0x7fff0000;
const SECCOMP_RET_ERRNO = 0x00050000;

/** The call is not made, and fails with an error number. */
export function failWith(code: number): number {
	return SECCOMP_RET_ERRNO | (code & 0xffff);
}

/** What an argument, by its position, has to be like. The lower 32 bits are all that the kernel takes of an int. */
export type Check =
	| {readonly argument: number; readonly oneOf: readonly number[]}
	/** None of these bits is set. */
	| {readonly argument: number; readonly without: number};

/** What becomes of a call. */
export interface Rule {
	readonly call: SyscallName;
	/** All of them must hold. */
	readonly when?: readonly Check[];
	/** SECCOMP_RET_ALLOW unless it says otherwise. */
	readonly answer?: number;
}

/** One instruction: struct sock_filter of linux/filter.h. */
interface Instruction {
	readonly code: number;
	/** Instructions to skip when a comparison holds, and when not. */
	readonly jt: number;
	readonly jf: number;
	readonly k: number;
}

/** Bytes of an instruction. */
export const INSTRUCTION_SIZE = 8;

/* Codes: class, size or operation, and where the operand is. Source: linux/bpf_common.h. */
const LOAD_WORD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_GREATER_OR_EQUAL = 0x35;
const JUMP_ANY_BIT = 0x45;
const RETURN = 0x06;

/* Offsets in struct seccomp_data. Both architectures are little-endian. Source: linux/seccomp.h. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const ARGUMENTS = 16;

/** Identification of the architectures. Source: linux/audit.h. */
const AUDIT_ARCH: Readonly<Record<Architecture, number>> = {x64: 0xc000003e, arm64: 0xc00000b7};
/** Numbers from here on are those of x32. Source: asm/unistd.h. */
const X32_SYSCALL_BIT = 0x40000000;

/**
 * Assembles a filter.
 *
 * @param rules - in the order in which they are looked at: what is called most comes first. Those for calls
 * that the architecture does not have are left out.
 * @param otherwise - the answer for all other calls.
 * @returns an array of struct sock_filter.
 */
export function assemble(arch: Architecture, rules: readonly Rule[], otherwise: number): Uint8Array {
	const instructions = [
		load(ARCHITECTURE),
		jump(JUMP_EQUAL, AUDIT_ARCH[arch], 1, 0),
		answer(SECCOMP_RET_KILL_PROCESS),
		load(NUMBER),
		...(arch === 'x64'
			? [jump(JUMP_GREATER_OR_EQUAL, X32_SYSCALL_BIT, 0, 1), answer(SECCOMP_RET_KILL_PROCESS)]
			: []),
		...rules.flatMap(rule => ruleCode(arch, rule, otherwise)),
		answer(otherwise),
	];
	return encode(instructions);
}

/* Whoever comes here has the number of the call loaded, and still has when the rule is for another. */
function ruleCode(
	arch: Architecture,
	{call, when = [], answer: verdict = SECCOMP_RET_ALLOW}: Rule,
	otherwise: number,
): readonly Instruction[] {
	const number = syscallNumber(arch, call);
	if (number === undefined) {
		return [];
	}

	const body = [...when.flatMap(check => checkCode(check, answer(otherwise))), answer(verdict)];
	return [jump(JUMP_EQUAL, number, 0, body.length), ...body];
}

/* Goes on behind its end when the check holds. */
function checkCode(check: Check, refuse: Instruction): readonly Instruction[] {
	const low = ARGUMENTS + 8 * check.argument;
	if ('oneOf' in check) {
		const {oneOf} = check;
		return [
			load(low),
			...oneOf.map((value, index) => jump(JUMP_EQUAL, value, oneOf.length - index, 0)),
			refuse,
		];
	}

	return [load(low), jump(JUMP_ANY_BIT, check.without, 0, 1), refuse];
}

function load(offset: number): Instruction {
	return {code: LOAD_WORD, jt: 0, jf: 0, k: offset};
}

function jump(code: number, k: number, jt: number, jf: number): Instruction {
	return {code, jt, jf, k};
}

function answer(k: number): Instruction {
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
