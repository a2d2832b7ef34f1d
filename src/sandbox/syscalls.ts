/*++
/* NAME
/*	syscalls 3
/* SUMMARY
/*	numbers of system calls
/* DESCRIPTION
/*	The numbers of system calls on each architecture. They never
/*	change. arm64 does not have the older calls that newer ones
/*	replace.
/* SEE ALSO
/*	syscalls(2), asm/unistd_64.h, asm-generic/unistd.h
/*--*/

/** Architectures, as Node.js names them. */
export type Architecture = 'x64' | 'arm64';

const numbers = {
	accept4: [288, 242],
	access: [21, undefined],
	alarm: [37, undefined],
	brk: [12, 214],
	clock_getres: [229, 114],
	clock_gettime: [228, 113],
	clock_nanosleep: [230, 115],
	close: [3, 57],
	connect: [42, 203],
	epoll_ctl: [233, 21],
	epoll_pwait: [281, 22],
	epoll_pwait2: [441, 441],
	epoll_wait: [232, undefined],
	exit: [60, 93],
	exit_group: [231, 94],
	faccessat: [269, 48],
	faccessat2: [439, 439],
	fcntl: [72, 25],
	fstat: [5, 80],
	fsync: [74, 82],
	futex: [202, 98],
	getcwd: [79, 17],
	getdents64: [217, 61],
	getegid: [108, 177],
	geteuid: [107, 175],
	getgid: [104, 176],
	getpeername: [52, 205],
	getpid: [39, 172],
	getppid: [110, 173],
	getrandom: [318, 278],
	getrusage: [98, 165],
	getsockname: [51, 204],
	getsockopt: [55, 209],
	gettid: [186, 178],
	gettimeofday: [96, 169],
	getuid: [102, 174],
	io_uring_setup: [425, 425],
	ioctl: [16, 29],
	lseek: [8, 62],
	lstat: [6, undefined],
	madvise: [28, 233],
	membarrier: [324, 283],
	mmap: [9, 222],
	mprotect: [10, 226],
	mremap: [25, 216],
	munmap: [11, 215],
	nanosleep: [35, 101],
	newfstatat: [262, 79],
	open: [2, undefined],
	openat: [257, 56],
	pkey_mprotect: [329, 288],
	poll: [7, undefined],
	ppoll: [271, 73],
	prctl: [157, 167],
	pread64: [17, 67],
	read: [0, 63],
	readlink: [89, undefined],
	readlinkat: [267, 78],
	readv: [19, 65],
	recvfrom: [45, 207],
	recvmsg: [47, 212],
	restart_syscall: [219, 128],
	rseq: [334, 293],
	rt_sigaction: [13, 134],
	rt_sigprocmask: [14, 135],
	rt_sigreturn: [15, 139],
	sched_getaffinity: [204, 123],
	sched_getparam: [143, 121],
	sched_getscheduler: [145, 120],
	sched_yield: [24, 124],
	seccomp: [317, 277],
	sendto: [44, 206],
	set_robust_list: [273, 99],
	setitimer: [38, 103],
	setsockopt: [54, 208],
	shutdown: [48, 210],
	sigaltstack: [131, 132],
	socket: [41, 198],
	stat: [4, undefined],
	statx: [332, 291],
	sysinfo: [99, 179],
	tgkill: [234, 131],
	time: [201, undefined],
	timer_settime: [223, 110],
	uname: [63, 160],
	write: [1, 64],
	writev: [20, 66],
} as const satisfies Record<string, readonly [x64: number, arm64: number | undefined]>;

/** Calls for which there can be a rule. */
export type SyscallName = keyof typeof numbers;

/** All names in the table. */
export const syscallNames = Object.keys(numbers) as readonly SyscallName[];

/** The number of a call; undefined if the architecture does not have it. */
export function syscallNumber(arch: Architecture, call: SyscallName): number | undefined {
	const [x64, arm64] = numbers[call];
	return arch === 'x64' ? x64 : arm64;
}

/** The architecture of this process; undefined if it is not in the table. */
export function hostArchitecture(): Architecture | undefined {
	return process.arch === 'x64' || process.arch === 'arm64' ? process.arch : undefined;
}
