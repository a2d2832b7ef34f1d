/* The system calls that workers can make, on both architectures. */
import {readFileSync} from 'node:fs';
import test from 'ava';
import {
	SECCOMP_RET_ALLOW as ALLOW,
	assemble,
	SECCOMP_RET_KILL_PROCESS as KILL,
} from '../../src/sandbox/bpf.ts';
import {launcherRules, workerRules} from '../../src/sandbox/syscall-filter.ts';
import {type Architecture, syscallNames, syscallNumber} from '../../src/sandbox/syscalls.ts';
import {evaluate} from '../helpers/bpf.ts';
import {extract} from '../helpers/packages.ts';

const PID = 4711;
const audit: Readonly<Record<Architecture, number>> = {x64: 0xc000003e, arm64: 0xc00000b7};

/** Numbers of calls that are not in the table of the program. Source: asm/unistd_64.h, asm-generic/unistd.h. */
const others: Readonly<Record<string, readonly [x64: number | undefined, arm64: number]>> = {
	execve: [59, 221],
	execveat: [322, 281],
	fork: [57, -1],
	vfork: [58, -1],
	clone: [56, 220],
	clone3: [435, 435],
	ptrace: [101, 117],
	process_vm_readv: [310, 270],
	process_vm_writev: [311, 271],
	kill: [62, 129],
	tkill: [200, 130],
	pidfd_send_signal: [424, 424],
	pidfd_getfd: [438, 438],
	bind: [49, 200],
	listen: [50, 201],
	socketpair: [53, 199],
	sendmsg: [46, 211],
	mount: [165, 40],
	chroot: [161, 51],
	setuid: [105, 146],
	setns: [308, 268],
	unshare: [272, 97],
	unlinkat: [263, 35],
	renameat2: [316, 276],
	mkdirat: [258, 34],
	linkat: [265, 37],
	symlinkat: [266, 36],
	fchmodat: [268, 53],
	fchownat: [260, 54],
	truncate: [76, 45],
	openat2: [437, 437],
	open_by_handle_at: [304, 265],
	memfd_create: [319, 279],
	io_uring_enter: [426, 426],
	io_uring_register: [427, 427],
	bpf: [321, 280],
	perf_event_open: [298, 241],
	userfaultfd: [323, 282],
	keyctl: [250, 219],
	init_module: [175, 105],
	kexec_load: [246, 104],
	shmat: [30, 196],
};

const filters = {
	jit: {
		x64: assemble('x64', workerRules({pid: PID, jit: true}), KILL),
		arm64: assemble('arm64', workerRules({pid: PID, jit: true}), KILL),
	},
	jitless: {
		x64: assemble('x64', workerRules({pid: PID, jit: false}), KILL),
		arm64: assemble('arm64', workerRules({pid: PID, jit: false}), KILL),
	},
};

for (const arch of ['x64', 'arm64'] as const) {
	const arm = arch === 'arm64';
	const actionFor = (
		mode: 'jit' | 'jitless',
		call: string,
		...args: ReadonlyArray<number | bigint>
	): number => {
		const known = syscallNames.find(name => name === call);
		const number = known === undefined ? others[call]?.[arm ? 1 : 0] : syscallNumber(arch, known);
		return evaluate(filters[mode][arch], {arch: audit[arch], number: number ?? -1, args});
	};
	const allowed = (call: string, ...args: ReadonlyArray<number | bigint>): boolean =>
		actionFor('jit', call, ...args) === ALLOW;

	test(`workerRules either allow or kill, on ${arch}`, t => {
		for (let number = 0; number < 600; number++) {
			for (const args of [[], [1, 1, 1], [2, 0x5401, 7], [PID, 3, 0]]) {
				t.true(
					[ALLOW, KILL].includes(evaluate(filters.jit[arch], {arch: audit[arch], number, args})),
					String(number),
				);
			}
		}
	});

	test(`workerRules do not allow programs, processes or threads to be started, on ${arch}`, t => {
		for (const call of ['execve', 'execveat', 'fork', 'vfork', 'clone', 'clone3']) {
			t.false(allowed(call), call);
			/* CLONE_VM | CLONE_THREAD | ... */
			t.false(allowed(call, 0x3d0f00), call);
		}
	});

	test(`workerRules do not allow other processes to be inspected, changed or signalled, on ${arch}`, t => {
		for (const call of ['ptrace', 'process_vm_readv', 'process_vm_writev', 'kill', 'tkill']) {
			t.false(allowed(call, PID), call);
		}

		t.true(allowed('tgkill', PID, PID, 6));
		t.false(allowed('tgkill', PID + 1, PID + 1, 6));
		t.false(allowed('tgkill', 1, 1, 9));
	});

	test(`workerRules allow files to be read but not written, on ${arch}`, t => {
		const O_CLOEXEC = 0o2000000;
		for (const flags of [0, O_CLOEXEC, 0o4000]) {
			t.true(allowed('openat', -100, 0n, flags), String(flags));
			t.is(allowed('open', 0n, flags), !arm, String(flags));
		}

		/* O_WRONLY, O_RDWR, both; O_CREAT, O_TRUNC, O_TMPFILE; O_WRONLY | O_APPEND. */
		for (const flags of [0o1, 0o2, 0o3, 0o100, 0o1000, 0o20200000, 0o2001]) {
			t.false(allowed('openat', -100, 0n, flags | O_CLOEXEC), String(flags));
			t.false(allowed('open', 0n, flags | O_CLOEXEC), String(flags));
		}

		for (const call of ['openat2', 'unlinkat', 'renameat2', 'mkdirat', 'linkat', 'symlinkat', 'truncate']) {
			t.false(allowed(call), call);
		}
	});

	test(`workerRules allow UNIX-domain sockets only, on ${arch}`, t => {
		for (let domain = 0; domain < 50; domain++) {
			t.is(allowed('socket', domain, 1, 0), domain === 1, String(domain));
		}

		for (const call of ['bind', 'listen', 'socketpair', 'sendmsg']) {
			t.false(allowed(call), call);
		}
	});

	test(`workerRules do not allow io_uring, or calls that a worker does not need, on ${arch}`, t => {
		for (const call of Object.keys(others)) {
			t.false(allowed(call), call);
		}

		t.false(allowed('io_uring_setup'));
		t.false(allowed('seccomp'));
		for (const option of [1, 4, 22, 38, 47]) {
			t.false(allowed('prctl', option), String(option));
		}

		for (const request of [0x5412, 0x541b, 0x8912]) {
			t.false(allowed('ioctl', 0, request), String(request));
		}
	});

	test(`workerRules allow memory to become executable only with the JIT compiler, on ${arch}`, t => {
		for (const call of ['mmap', 'mprotect', 'pkey_mprotect']) {
			for (const [protection, always] of [
				[0, true],
				[1, true],
				[3, true],
				[4, false],
				[5, false],
				[7, false],
			] as const) {
				t.is(actionFor('jit', call, 0, 4096, protection), ALLOW, `${call} ${protection}`);
				t.is(actionFor('jitless', call, 0, 4096, protection), always ? ALLOW : KILL, `${call} ${protection}`);
			}
		}
	});

	test(`workerRules allow the calls of a serving worker, on ${arch}`, t => {
		for (const call of [
			'read',
			'write',
			'epoll_pwait',
			'accept4',
			'sendto',
			'recvmsg',
			'futex',
			'getrandom',
		]) {
			t.true(allowed(call), call);
		}

		for (const command of [1, 2, 3, 4]) {
			t.true(allowed('fcntl', 9, command));
		}

		t.false(allowed('fcntl', 9, 8));
	});

	test(`launcherRules reject io_uring and nothing else, on ${arch}`, t => {
		const filter = assemble(arch, launcherRules(), ALLOW);
		for (let number = 0; number < 500; number++) {
			t.is(evaluate(filter, {arch: audit[arch], number}), number === 425 ? 0x00050026 : ALLOW);
		}
	});
}

test('the numbers of the program and of this test are those of the kernel headers', async t => {
	const headers = await extract('linux-libc-dev');
	const numbers = (file: string): ReadonlyMap<string, number> =>
		new Map(
			[...readFileSync(headers.file(file), 'utf8').matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)$/gm)].map(
				([, name = '', value]) => [name, Number(value)],
			),
		);
	const x64 = numbers('usr/include/*/asm/unistd_64.h');
	const generic = numbers('usr/include/asm-generic/unistd.h');
	/* The generic header has this call under another name. */
	const arm64 = new Map([...generic, ['newfstatat', generic.get('fstatat') ?? -1]]);
	for (const call of syscallNames) {
		t.is(syscallNumber('x64', call), x64.get(call), call);
		t.is(syscallNumber('arm64', call), ['stat', 'lstat'].includes(call) ? undefined : arm64.get(call), call);
	}

	for (const [call, [x86, arm]] of Object.entries(others)) {
		t.is(x86, x64.get(call), call);
		t.is(arm, arm64.get(call) ?? -1, call);
	}
});
