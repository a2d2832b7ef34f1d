/*++
/* NAME
/*	launch 3
/* SUMMARY
/*	makes the program that a worker is started by
/* SYNOPSIS
/*	node launch.ts x64|arm64 output
/* DESCRIPTION
/*	Some things have to be found out or settled before Node.js runs,
/*	and a client waits for all of them. Another Node.js that does it
/*	costs as much as all the rest of the start; so this program is made
/*	of the few instructions that it takes, and nothing has to be
/*	compiled where it is built. The supervisor calls it in three ways:
/* .IP "launch"
/*	Can memory that was written be made executable, as V8 does it?
/*	MemoryDenyWriteExecute of systemd.exec(5) denies that, and so does
/*	SELinux. The exit status is zero for yes.
/* .IP "launch seccomp"
/*	Can seccomp(2) be called? The filter of a service manager may kill
/*	whoever does: this program has nothing to lose. The exit status is
/*	zero for yes.
/* .IP "launch PROGRAM ARGUMENT ..."
/*	Becomes that program, which inherits two things. One is a filter
/*	that refuses io_uring, because it makes system calls that no filter
/*	sees, and libuv asks for it at its start. Root needs no promise to
/*	set it, unless the service manager has taken away the right. The
/*	other is an alarm: until a worker has its own watchdog, this is its
/*	watchdog. Whatever it is that a worker waits for at its start, no
/*	worker waits for longer than this.
/* BUGS
/*	The time until the alarm is fixed. It is ten times what one command
/*	of Postfix may take, and the default of tlsproxy_watchdog_timeout.
/* SEE ALSO
/*	elf(5), bpf(3), filter(3), supervisor.sh
/*--*/

import {chmodSync, writeFileSync} from 'node:fs';
import {assemble, INSTRUCTION_SIZE, SECCOMP_RET_ALLOW} from '../../src/master/bpf.ts';
import {launcherRules} from '../../src/master/filter.ts';
import type {Architecture} from '../../src/master/syscalls.ts';

/** Seconds until the alarm. */
const START_LIMIT = 100n;

/** Where the file is mapped, and how: a multiple of all sizes that pages have. */
const BASE = 0x400000;
const ALIGNMENT = 0x10000n;

const FILE_HEADER = 64;
const PROGRAM_HEADER = 56;
const CODE = FILE_HEADER + 2 * PROGRAM_HEADER;

/* Data behind the instructions, which name it by its distance: an answer of a filter, a timer, a filter. */
const ACTION = 8;
const TIMER = 32;
const PROGRAM = 16;

/** Number of the machine, e_machine of elf.h, and what it does. Each line begins with its bytes. */
const machines: Readonly<Record<Architecture, {readonly number: number; readonly code: string}>> = {
	x64: {
		number: 62,
		code: `
			48 8b 1c 24                     mov rbx, [rsp]          how many arguments
			83 fb 02                        cmp ebx, 2
			74 31                           je seccomp
			77 44                           ja launch
			b8 09 00 00 00                  mov eax, 9              mmap
			31 ff                           xor edi, edi
			be 00 10 00 00                  mov esi, 4096
			ba 03 00 00 00                  mov edx, 3              PROT_READ | PROT_WRITE
			41 ba 22 00 00 00               mov r10d, 0x22          MAP_PRIVATE | MAP_ANONYMOUS
			49 83 c8 ff                     or r8, -1
			45 31 c9                        xor r9d, r9d
			0f 05                           syscall
			48 89 c7                        mov rdi, rax            an error is no address
			ba 07 00 00 00                  mov edx, 7              PROT_EXEC too
			b8 0a 00 00 00                  mov eax, 10             mprotect
			eb 7b                           jmp ask
			b8 3d 01 00 00        seccomp:  mov eax, 317            seccomp
			bf 02 00 00 00                  mov edi, 2              SECCOMP_GET_ACTION_AVAIL
			31 f6                           xor esi, esi
			48 8d 15 73 00 00 00            lea rdx, [rip + action]
			eb 66                           jmp ask
			b8 26 00 00 00        launch:   mov eax, 38             setitimer
			31 ff                           xor edi, edi            ITIMER_REAL
			48 8d 35 6b 00 00 00            lea rsi, [rip + timer]
			31 d2                           xor edx, edx
			0f 05                           syscall
			bd 02 00 00 00                  mov ebp, 2              attempts
			b8 9d 00 00 00        filter:   mov eax, 157            prctl
			bf 16 00 00 00                  mov edi, 22             PR_SET_SECCOMP
			be 02 00 00 00                  mov esi, 2              SECCOMP_MODE_FILTER
			48 8d 15 6c 00 00 00            lea rdx, [rip + program]
			0f 05                           syscall
			ff cd                           dec ebp
			74 1f                           jz become
			85 c0                           test eax, eax
			74 1b                           jz become
			b8 9d 00 00 00                  mov eax, 157            prctl
			bf 26 00 00 00                  mov edi, 38             PR_SET_NO_NEW_PRIVS
			be 01 00 00 00                  mov esi, 1
			31 d2                           xor edx, edx
			45 31 d2                        xor r10d, r10d
			45 31 c0                        xor r8d, r8d
			0f 05                           syscall
			eb c5                           jmp filter
			48 8b 7c 24 10        become:   mov rdi, [rsp + 16]
			48 8d 74 24 10                  lea rsi, [rsp + 16]
			48 8d 54 dc 10                  lea rdx, [rsp + rbx * 8 + 16]
			b8 3b 00 00 00                  mov eax, 59             execve
			0f 05                 ask:      syscall
			89 c7                           mov edi, eax
			b8 e7 00 00 00                  mov eax, 231            exit_group
			0f 05                           syscall`,
	},
	arm64: {
		number: 183,
		code: `
			f3 03 40 f9                     ldr x19, [sp]           how many arguments
			7f 0a 00 f1                     cmp x19, #2
			c0 01 00 54                     b.eq seccomp
			48 02 00 54                     b.hi launch
			00 00 80 d2                     mov x0, #0
			01 00 82 d2                     mov x1, #4096
			62 00 80 d2                     mov x2, #3              PROT_READ | PROT_WRITE
			43 04 80 d2                     mov x3, #0x22           MAP_PRIVATE | MAP_ANONYMOUS
			04 00 80 92                     mov x4, #-1
			05 00 80 d2                     mov x5, #0
			c8 1b 80 d2                     mov x8, #222            mmap
			01 00 00 d4                     svc #0
			01 00 82 d2                     mov x1, #4096           of x0: an error is no address
			e2 00 80 d2                     mov x2, #7              PROT_EXEC too
			48 1c 80 d2                     mov x8, #226            mprotect
			1f 00 00 14                     b ask
			40 00 80 d2           seccomp:  mov x0, #2              SECCOMP_GET_ACTION_AVAIL
			01 00 80 d2                     mov x1, #0
			02 04 00 10                     adr x2, action
			a8 22 80 d2                     mov x8, #277            seccomp
			1a 00 00 14                     b ask
			00 00 80 d2           launch:   mov x0, #0              ITIMER_REAL
			c1 03 00 10                     adr x1, timer
			02 00 80 d2                     mov x2, #0
			e8 0c 80 d2                     mov x8, #103            setitimer
			01 00 00 d4                     svc #0
			54 00 80 d2                     mov x20, #2             attempts
			c0 02 80 d2           filter:   mov x0, #22             PR_SET_SECCOMP
			41 00 80 d2                     mov x1, #2              SECCOMP_MODE_FILTER
			e2 03 00 10                     adr x2, program
			e8 14 80 d2                     mov x8, #167            prctl
			01 00 00 d4                     svc #0
			94 06 00 f1                     subs x20, x20, #1
			20 01 00 54                     b.eq become
			00 01 00 b4                     cbz x0, become
			c0 04 80 d2                     mov x0, #38             PR_SET_NO_NEW_PRIVS
			21 00 80 d2                     mov x1, #1
			02 00 80 d2                     mov x2, #0
			03 00 80 d2                     mov x3, #0
			04 00 80 d2                     mov x4, #0
			01 00 00 d4                     svc #0                  prctl
			f2 ff ff 17                     b filter
			e0 0b 40 f9           become:   ldr x0, [sp, #16]
			e1 43 00 91                     add x1, sp, #16
			22 0c 13 8b                     add x2, x1, x19, lsl #3
			a8 1b 80 d2                     mov x8, #221            execve
			01 00 00 d4           ask:      svc #0
			c8 0b 80 d2                     mov x8, #94             exit_group
			01 00 00 d4                     svc #0
			00 00 00 00                     to a multiple of eight`,
	},
};

const [machine = '', output = ''] = process.argv.slice(2);
if (machine !== 'x64' && machine !== 'arm64') {
	throw new Error(`no instructions for ${machine}`);
}

const {number, code} = machines[machine];
const instructions = bytesOf(code);
const data = dataAt(BASE + CODE + instructions.length, assemble(machine, launcherRules(), SECCOMP_RET_ALLOW));
writeFileSync(
	output,
	Buffer.concat([headers(number, instructions.length + data.length), instructions, data]),
);
chmodSync(output, 0o755);

function bytesOf(listing: string): Buffer {
	const lines = [...listing.matchAll(/^\s*((?:[\da-f]{2} )+)/gm)].map(([, bytes = '']) => bytes);
	return Buffer.from(lines.join('').replaceAll(' ', ''), 'hex');
}

function dataAt(address: number, filter: Uint8Array): Buffer {
	const head = Buffer.alloc(ACTION + TIMER + PROGRAM);
	head.writeUInt32LE(SECCOMP_RET_ALLOW, 0);
	/* struct itimerval: once, in so many seconds. */
	head.writeBigUInt64LE(START_LIMIT, ACTION + 16);
	/* struct sock_fprog: the number of instructions, and where they are. */
	head.writeUInt16LE(filter.length / INSTRUCTION_SIZE, ACTION + TIMER);
	head.writeBigUInt64LE(BigInt(address + head.length), ACTION + TIMER + 8);
	return Buffer.concat([head, filter]);
}

/* One segment to read and execute, and a stack that is not executable. Source: elf.h. */
function headers(e_machine: number, size: number): Buffer {
	const ET_EXEC = 2;
	const PT_LOAD = 1;
	const PT_GNU_STACK = 0x6474e551;
	const PF_X = 1;
	const PF_W = 2;
	const PF_R = 4;
	const file = Buffer.alloc(CODE);
	/* 64 bits, least significant byte first, current version. */
	file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
	file.writeUInt16LE(ET_EXEC, 16);
	file.writeUInt16LE(e_machine, 18);
	file.writeUInt32LE(1, 20);
	file.writeBigUInt64LE(BigInt(BASE + CODE), 24);
	file.writeBigUInt64LE(BigInt(FILE_HEADER), 32);
	file.writeUInt16LE(FILE_HEADER, 52);
	file.writeUInt16LE(PROGRAM_HEADER, 54);
	file.writeUInt16LE(2, 56);

	const load = file.subarray(FILE_HEADER);
	load.writeUInt32LE(PT_LOAD, 0);
	load.writeUInt32LE(PF_R | PF_X, 4);
	load.writeBigUInt64LE(BigInt(BASE), 16);
	load.writeBigUInt64LE(BigInt(BASE), 24);
	load.writeBigUInt64LE(BigInt(CODE + size), 32);
	load.writeBigUInt64LE(BigInt(CODE + size), 40);
	load.writeBigUInt64LE(ALIGNMENT, 48);

	const stack = load.subarray(PROGRAM_HEADER);
	stack.writeUInt32LE(PT_GNU_STACK, 0);
	stack.writeUInt32LE(PF_R | PF_W, 4);
	return file;
}
