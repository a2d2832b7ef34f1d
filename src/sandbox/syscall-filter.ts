/*++
/* NAME
/*	syscall-filter 3
/* SUMMARY
/*	the system calls that a worker can make
/* DESCRIPTION
/*	workerRules() lists the system calls that a worker can make after
/*	it has loaded and opened everything: it can read and write its
/*	descriptors, accept connections, connect to services on the same
/*	host by their pathname, and read files that requests name. It
/*	cannot start a program, process or thread, open a file for writing,
/*	create an internet socket, or inspect another process.
/*
/*	launcherRules() applies earlier, from the launcher on. It rejects
/*	io_uring only, with which a process can make calls that a filter
/*	does not see. libuv tries to use it when it starts, and does
/*	without it on a kernel that does not have it.
/* BUGS
/*	A filter cannot examine the address that is passed to connect(2).
/*	An attacker who executes code in a worker can disconnect an
/*	internet socket that a client has passed, and connect it to another
/*	address.
/* SEE ALSO
/*	seccomp(2)
/*--*/

import {AF_UNIX} from '../ffi/libc/libc.ts';
import {type Check, failWith, type Rule} from './bpf.ts';
import type {SyscallName} from './syscalls.ts';

const ENOSYS = 38;

/* fcntl.h: flags that open a file for writing, or create it. */
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

/* asm-generic/ioctls.h: the request of isatty(3). */
const TCGETS = 0x5401;

/* netinet/in.h */
const IPPROTO_TCP = 6;

/* sys/prctl.h */
const PR_SET_NAME = 15;
const PR_SET_VMA = 0x53564d41;

/** Properties of the process that the rules depend on. */
export interface FilterSettings {
	/** Process id. */
	readonly pid: number;
	/** The JIT compiler of V8 is on. Without it, no memory needs to become executable. */
	readonly jit: boolean;
}

/** The calls that a worker can make in its jail. All others kill it. */
export function workerRules({pid, jit}: FilterSettings): readonly Rule[] {
	const code: readonly Check[] = jit ? [] : [{argument: 2, without: PROT_EXEC}];
	return [
		/* The reactor, the event loop of libuv, and the descriptors of sessions. */
		...plain('read', 'write', 'epoll_wait', 'epoll_pwait', 'epoll_ctl', 'sendto', 'recvmsg'),
		...plain('accept4', 'close'),
		{call: 'fcntl', when: [{argument: 1, oneOf: [F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD_CLOEXEC]}]},

		/* V8: its threads wait for each other, or spin; its heap grows and shrinks, like that of malloc(3). */
		...plain('futex', 'sched_yield', 'nanosleep', 'clock_nanosleep', 'sched_getparam', 'sched_getscheduler'),
		...plain('madvise', 'munmap', 'mremap', 'brk'),
		{call: 'mmap', when: code},
		{call: 'mprotect', when: code},
		{call: 'pkey_mprotect', when: code},

		/* Random numbers. OpenSSL checks each time whether it is in a child of fork(2). */
		...plain('getpid', 'getrandom'),

		/* The watchdog. The C library of arm64 calls setitimer(2) for alarm(3). */
		...plain('timer_settime', 'alarm', 'setitimer'),

		/* Machines on which only the kernel can read the clock. */
		...plain('clock_gettime', 'gettimeofday', 'time'),

		/* Connections to tlsmgr(8), and to syslogd(8) after its restart, by their pathnames. */
		{call: 'socket', when: [{argument: 0, oneOf: [AF_UNIX]}]},
		...plain('connect'),

		/* Standard error as a second log destination: is it writable? */
		...plain('poll', 'ppoll'),

		/* Files that requests name, and hashed directories of certificates. OpenSSL reads them with stdio(3). */
		{call: 'openat', when: [{argument: 2, without: WRITING}]},
		{call: 'open', when: [{argument: 1, without: WRITING}]},
		...plain('newfstatat', 'fstat', 'stat', 'lstat', 'lseek'),
		/* The directory of tls_append_default_CA: OpenSSL 3.0 lists it when it verifies a chain. */
		...plain('getdents64'),
		{call: 'ioctl', when: [{argument: 1, oneOf: [TCGETS]}]},

		/* The size of memory, for qsort(3) of older C libraries; the number of processors, for malloc(3). */
		...plain('sysinfo', 'sched_getaffinity'),

		/* OpenSSL 1.1.1 checks these before it uses the environment. */
		...plain('getuid', 'geteuid', 'getgid', 'getegid'),

		/* V8 and malloc(3) give names to memory and threads. */
		{call: 'prctl', when: [{argument: 0, oneOf: [PR_SET_NAME, PR_SET_VMA]}]},

		/*
		 * Calls with which other C libraries, runtimes and releases of OpenSSL do the same. They
		 * give an attacker nothing that the calls above do not; and if a process were killed for
		 * one of them, mail would be sent in cleartext.
		 */
		...plain('epoll_pwait2', 'recvfrom', 'readv', 'pread64', 'shutdown'),
		...plain('getsockopt', 'getsockname', 'getpeername'),
		{call: 'setsockopt', when: [{argument: 1, oneOf: [IPPROTO_TCP]}]},
		...plain('statx', 'access', 'faccessat', 'faccessat2', 'readlink', 'readlinkat', 'getcwd'),
		...plain('clock_getres', 'getppid', 'getrusage', 'uname'),
		...plain('membarrier', 'rseq', 'set_robust_list', 'rt_sigaction', 'sigaltstack'),

		/* After a signal, or after the process was stopped. */
		...plain('rt_sigreturn', 'rt_sigprocmask', 'restart_syscall'),

		/* Exit: Node.js waits for its threads. abort(3) writes a message, and sends a signal to itself. */
		...plain('exit_group', 'exit', 'fsync', 'gettid', 'writev'),
		{call: 'tgkill', when: [{argument: 0, oneOf: [pid]}]},
	];
}

/** The calls that fail from the start of a process. All others are allowed. */
export function launcherRules(): readonly Rule[] {
	return [{call: 'io_uring_setup', action: failWith(ENOSYS)}];
}

function plain(...calls: readonly SyscallName[]): readonly Rule[] {
	return calls.map(call => ({call}));
}
