/*++
/* NAME
/*	syscall-filter 3
/* SUMMARY
/*	the system calls of a worker in its jail
/* DESCRIPTION
/*	workerRules() lists what a worker may still ask of the kernel when
/*	everything is loaded and opened: to serve descriptors that it has
/*	or accepts, to connect to services of the same host by their name
/*	in the file system, and to read files that requests name. It can
/*	start no program, process or thread, open nothing for writing,
/*	make no socket of the internet, and look at no other process.
/*
/*	launcherRules() is for the time before, from the launcher on. It
/*	refuses one thing: io_uring, by which calls can be made that no
/*	filter sees. libuv asks for it at its start, and does without
/*	where the kernel is too old for it.
/* BUGS
/*	A filter cannot see where connect(2) goes. A connection that a
/*	client has handed over, and that is of the internet, can be taken
/*	back and connected elsewhere by whoever runs code of his own in a
/*	worker.
/* SEE ALSO
/*	seccomp(2)
/*--*/

import {AF_UNIX} from '../ffi/libc/libc.ts';
import {type Check, failWith, type Rule} from './bpf.ts';
import type {SyscallName} from './syscalls.ts';

const ENOSYS = 38;

/* fcntl.h: all that opens for anything but reading, or makes a file. */
const O_WRONLY = 0o1;
const O_RDWR = 0o2;
const O_CREAT = 0o100;
const O_TRUNC = 0o1000;
const O_TMPFILE = 0o20000000;
const WRITING = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_TMPFILE;

const F_GETFD = 1;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const F_DUPFD_CLOEXEC = 1030;

/* sys/mman.h */
const PROT_EXEC = 0x4;

/* asm-generic/ioctls.h: what isatty(3) asks. */
const TCGETS = 0x5401;

/* netinet/in.h */
const IPPROTO_TCP = 6;

/* sys/prctl.h */
const PR_SET_NAME = 15;
const PR_SET_VMA = 0x53564d41;

/** What the rules depend on. */
export interface FilterSettings {
	/** This process. */
	readonly pid: number;
	/** V8 makes machine code while it runs. Without, no memory has to become executable any more. */
	readonly jit: boolean;
}

/** What a worker may do in its jail; all else ends it. */
export function workerRules({pid, jit}: FilterSettings): readonly Rule[] {
	const code: readonly Check[] = jit ? [] : [{argument: 2, without: PROT_EXEC}];
	return [
		/* The reactor, libuv's loop below it, and what sessions do to descriptors. */
		...plain('read', 'write', 'epoll_wait', 'epoll_pwait', 'epoll_ctl', 'sendto', 'recvmsg'),
		...plain('accept4', 'close'),
		{call: 'fcntl', when: [{argument: 1, oneOf: [F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD_CLOEXEC]}]},

		/* V8: its threads wait for each other, or spin for a while; its heap grows and shrinks, as that of malloc(3). */
		...plain('futex', 'sched_yield', 'nanosleep', 'clock_nanosleep', 'sched_getparam', 'sched_getscheduler'),
		...plain('madvise', 'munmap', 'mremap', 'brk'),
		{call: 'mmap', when: code},
		{call: 'mprotect', when: code},
		{call: 'pkey_mprotect', when: code},

		/* Random numbers; OpenSSL looks before each whether it is in a child of fork(2). */
		...plain('getpid', 'getrandom'),

		/* The watchdog. The C library of arm64 calls setitimer(2) for alarm(3). */
		...plain('timer_settime', 'alarm', 'setitimer'),

		/* Hosts whose clock can only be read by the kernel. */
		...plain('clock_gettime', 'gettimeofday', 'time'),

		/* tlsmgr(8), and syslogd(8) when it was restarted: by their names in the file system. */
		{call: 'socket', when: [{argument: 0, oneOf: [AF_UNIX]}]},
		...plain('connect'),

		/* Files that requests name, and hashed directories of certificates: OpenSSL, by way of stdio(3). */
		{call: 'openat', when: [{argument: 2, without: WRITING}]},
		{call: 'open', when: [{argument: 1, without: WRITING}]},
		...plain('newfstatat', 'fstat', 'stat', 'lstat', 'lseek'),
		/* The directory of tls_append_default_CA: OpenSSL 3.0 lists it while it verifies. */
		...plain('getdents64'),
		{call: 'ioctl', when: [{argument: 1, oneOf: [TCGETS]}]},

		/* qsort(3) of older C libraries asks how much memory there is, malloc(3) how many processors. */
		...plain('sysinfo', 'sched_getaffinity'),

		/* OpenSSL before 3.0, before it trusts the environment. */
		...plain('getuid', 'geteuid', 'getgid', 'getegid'),

		/* V8 and malloc(3) may name their memory, and threads themselves. */
		{call: 'prctl', when: [{argument: 0, oneOf: [PR_SET_NAME, PR_SET_VMA]}]},

		/*
		 * What other C libraries, runtimes and releases of OpenSSL ask for the same. None of it
		 * gives anything to somebody who has taken the process over and has all of the above;
		 * and a process that is killed for it would have mail be sent in cleartext.
		 */
		...plain('epoll_pwait2', 'poll', 'ppoll', 'recvfrom', 'readv', 'pread64', 'shutdown'),
		...plain('getsockopt', 'getsockname', 'getpeername'),
		{call: 'setsockopt', when: [{argument: 1, oneOf: [IPPROTO_TCP]}]},
		...plain('statx', 'access', 'faccessat', 'faccessat2', 'readlink', 'readlinkat', 'getcwd'),
		...plain('clock_getres', 'getppid', 'getrusage', 'uname'),
		...plain('membarrier', 'rseq', 'set_robust_list', 'rt_sigaction', 'sigaltstack'),

		/* A signal arrived, or the process was stopped for a while. */
		...plain('rt_sigreturn', 'rt_sigprocmask', 'restart_syscall'),

		/* The end: Node.js lets its threads finish. abort(3) has a message, and a signal for itself. */
		...plain('exit_group', 'exit', 'fsync', 'gettid', 'writev'),
		{call: 'tgkill', when: [{argument: 0, oneOf: [pid]}]},
	];
}

/** What is kept from a worker from its first instruction on; all else is allowed. */
export function launcherRules(): readonly Rule[] {
	return [{call: 'io_uring_setup', answer: failWith(ENOSYS)}];
}

function plain(...calls: readonly SyscallName[]): readonly Rule[] {
	return calls.map(call => ({call}));
}
