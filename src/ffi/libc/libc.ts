/*++
/* NAME
/*	libc 3
/* SUMMARY
/*	bindings of the C library
/* DESCRIPTION
/*	Functions that Node.js does not have, ordered by header. They do
/*	what C does: a negative result is returned, and errno() has the
/*	reason.
/*
/*	allocate() returns memory outside of V8's heap. A typed array can
/*	also be passed to C, but for the duration of one call only: V8
/*	keeps arrays of up to 64 bytes in its heap, where the garbage
/*	collector can move them.
/* SEE ALSO
/*	accept4(2), epoll(7), poll(2), recvmsg(2), unix(7), chroot(2),
/*	syslog(3)
/*--*/

import type {Brand, Fd} from '../../base/units.ts';
import {addon as koffi} from './addon.ts';

/** An address in C memory. */
export type Address = Brand<bigint, 'Address'>;

/** C memory that is never released. */
export interface Memory {
	readonly address: Address;
	readonly bytes: Uint8Array;
	readonly view: DataView;
}

const libc = koffi.load('libc.so.6');

/** Allocates zeroed memory outside of V8's heap. It is never released, so the number of calls must be bounded. */
export function allocate(size: number): Memory {
	const address = koffi.alloc('uint8_t', size) as Address;
	const block = koffi.view(address, size);
	return {address, bytes: new Uint8Array(block), view: new DataView(block)};
}

/** Text that has one character per byte, with the NUL that ends a string in C. */
export function cText(text: string): Uint8Array {
	return Buffer.from(`${text}\0`, 'latin1');
}

/** The value of errno(3). It is valid directly after a call that failed. */
export const errno: () => number = () => koffi.errno();

/** Sets errno(3). */
export function setErrno(code: number): void {
	koffi.errno(code);
}

const strerrorC: (code: number) => string = libc.func('const char *strerror(int code)');

/** The text of an error number, as C programs print it. */
export function strerror(code: number): string {
	return strerrorC(code);
}

/** The number of an error name of errno(3); -1 if this system does not have it. */
export function errorNumber(name: string): number {
	return koffi.os.errno[name] ?? -1;
}

/* Looked up once, because they are needed for every packet. */
export const EAGAIN = errorNumber('EAGAIN');
export const EINTR = errorNumber('EINTR');

/* string.h */
export const strlen: (text: Address) => number = libc.func('size_t strlen(const void *s)');

/* unistd.h */
export const close: (fd: Fd) => number = libc.func('int close(int fd)');
export const read: (fd: Fd, buffer: Address | Uint8Array, size: number) => number = libc.func(
	'long read(int fd, void *buf, size_t count)',
);
export const write: (fd: Fd, buffer: Address | Uint8Array, size: number) => number = libc.func(
	'long write(int fd, const void *buf, size_t count)',
);
export const isatty: (fd: Fd) => number = libc.func('int isatty(int fd)');
export const chroot: (path: string) => number = libc.func('int chroot(const char *path)');
export const alarm: (seconds: number) => number = libc.func('unsigned int alarm(unsigned int seconds)');
/** Address of alarm(2), which can be called as a signal handler. */
export const alarmFunction = libc.symbol('alarm') as Address;

/** Makes a system call by its number, with up to three arguments. The C library has no function for some calls. */
export const syscall: (number: number, a: bigint, b: bigint, c: bigint) => number = libc.func(
	'long syscall(long number, unsigned long a, unsigned long b, unsigned long c)',
);

/* signal.h: system calls that are interrupted by the handler are restarted. */
export const signal: (number: number, handler: Address) => Address = libc.func(
	'void *signal(int signum, void *handler)',
);
const SIG_BLOCK = 0;
const SIGSET_SIZE = 128;
const sigprocmask: (how: number, set: Address, old: null) => number = libc.func(
	'int sigprocmask(int how, const void *set, void *oldset)',
);

/** Blocks a signal in the calling thread. Other threads of the process can receive it. */
export function blockSignal(number: number): void {
	const set = allocate(SIGSET_SIZE);
	const bit = BigInt(number - 1);
	set.view.setBigUint64(Number(bit / 64n) * 8, 1n << (bit % 64n), true);
	sigprocmask(SIG_BLOCK, set.address, null);
}

/* sys/mman.h */
export const PROT_READ = 0x1;
export const PROT_WRITE = 0x2;
export const PROT_EXEC = 0x4;
export const MAP_PRIVATE = 0x02;
export const MAP_ANONYMOUS = 0x20;
/** The result of mmap() on failure. */
export const MAP_FAILED = (1n << 64n) - 1n;
export const mmap: (
	address: null,
	size: number,
	protection: number,
	flags: number,
	fd: number,
	offset: number,
) => Address = libc.func('void *mmap(void *addr, size_t length, int prot, int flags, int fd, long offset)');
export const mprotect: (address: Address, size: number, protection: number) => number = libc.func(
	'int mprotect(void *addr, size_t len, int prot)',
);
export const munmap: (address: Address, size: number) => number = libc.func(
	'int munmap(void *addr, size_t length)',
);

/* fcntl.h */
const F_GETFL = 3;
const F_SETFL = 4;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const F_DUPFD_CLOEXEC = 1030;
const O_NONBLOCK = 0o4000;
const fcntl: (fd: Fd, command: number, type?: 'int', value?: number) => number = libc.func(
	'int fcntl(int fd, int cmd, ...)',
);

/** Sets O_NONBLOCK. This is a flag of the open file, which all its descriptors share, also in other processes. */
export function setNonBlocking(fd: Fd): void {
	const flags = fcntl(fd, F_GETFL);
	if ((flags & O_NONBLOCK) === 0) {
		fcntl(fd, F_SETFL, 'int', flags | O_NONBLOCK);
	}
}

/** Sets FD_CLOEXEC: a program that this process executes does not get the descriptor. */
export function setCloseOnExec(fd: Fd): void {
	fcntl(fd, F_SETFD, 'int', FD_CLOEXEC);
}

/** Clears FD_CLOEXEC: a program that this process executes gets the descriptor. */
export function clearCloseOnExec(fd: Fd): void {
	fcntl(fd, F_SETFD, 'int', 0);
}

/** Duplicates a descriptor: the result is the lowest free number that is not below a minimum, close-on-exec. */
export function duplicate(fd: Fd, minimum: number): Fd {
	return fcntl(fd, F_DUPFD_CLOEXEC, 'int', minimum) as Fd;
}

/* sys/prctl.h */
export const PR_SET_NO_NEW_PRIVS = 38;
export const prctl: (option: number, a: bigint, b: bigint, c: bigint, d: bigint) => number = libc.func(
	'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
);

/* sys/epoll.h */
export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLERR = 0x8;
export const EPOLLHUP = 0x10;
export const EPOLLRDHUP = 0x2000;
export const EPOLLET = 0x80000000;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_MOD = 3;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CLOEXEC = 0o2000000;
/** Size of struct epoll_event: it is packed on x86-64, and naturally aligned on other architectures. */
export const EPOLL_EVENT_SIZE = process.arch === 'x64' ? 12 : 16;
/** Offset of `data` in struct epoll_event. */
export const EPOLL_EVENT_DATA = EPOLL_EVENT_SIZE - 8;
export const epoll_create1: (flags: number) => number = libc.func('int epoll_create1(int flags)');
export const epoll_ctl: (epfd: Fd, op: number, fd: Fd, event: Address | null) => number = libc.func(
	'int epoll_ctl(int epfd, int op, int fd, void *event)',
);
export const epoll_wait: (epfd: Fd, events: Address, maxevents: number, timeout: number) => number =
	libc.func('int epoll_wait(int epfd, void *events, int maxevents, int timeout)');

/* malloc.h */
export const malloc_trim: (pad: number) => number = libc.func('int malloc_trim(size_t pad)');

/* string.h */
export const memcpy: (to: Address, from: Address, size: number) => void = libc.func(
	'void memcpy(void *dest, const void *src, size_t n)',
);

/* sys/socket.h */
export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const SCM_RIGHTS = 1;
export const MSG_CTRUNC = 0x8;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_CMSG_CLOEXEC = 0x40000000;
export const accept4: (fd: Fd, address: null, size: null, flags: number) => number = libc.func(
	'int accept4(int fd, void *addr, void *addrlen, int flags)',
);
export const socket: (domain: number, type: number, protocol: number) => number = libc.func(
	'int socket(int domain, int type, int protocol)',
);
export const connect: (fd: Fd, address: Uint8Array, size: number) => number = libc.func(
	'int connect(int fd, const void *addr, unsigned int addrlen)',
);
export const send: (fd: Fd, buffer: Address | Uint8Array, size: number, flags: number) => number = libc.func(
	'long send(int fd, const void *buf, size_t len, int flags)',
);
export const recvmsg: (fd: Fd, message: Address, flags: number) => number = libc.func(
	'long recvmsg(int fd, void *msg, int flags)',
);

/* poll.h */
const POLLOUT = 0x4;
const poll: (fds: Address, count: number, timeout: number) => number = libc.func(
	'int poll(void *fds, unsigned long nfds, int timeout)',
);
/* struct pollfd: descriptor, requested events, returned events. */
const pollMemory = allocate(8);

/**
 * Whether a write of up to PIPE_BUF bytes would not block; also true when it would fail.
 *
 * @param timeout - waits up to this time, in milliseconds.
 */
export function isWritable(fd: Fd, timeout = 0): boolean {
	pollMemory.view.setInt32(0, fd, true);
	pollMemory.view.setInt16(4, POLLOUT, true);
	return poll(pollMemory.address, 1, timeout) !== 0;
}

/* time.h: timers moved from librt to libc in glibc 2.34. They can be loaded from librt in all releases. */
const librt = koffi.load('librt.so.1');
const CLOCK_MONOTONIC = 1;
const SIGEV_SIGNAL = 0;
const SIGEVENT_SIZE = 64;
const timer_create: (clock: number, event: Address, timer: Address) => number = librt.func(
	'int timer_create(int clockid, void *sevp, void *timerid)',
);
const timer_settime: (timer: Address, flags: number, value: Address, old: null) => number = librt.func(
	'int timer_settime(void *timerid, int flags, const void *new_value, void *old_value)',
);

/** A POSIX timer. */
export interface KernelTimer {
	/** Sets the time, in seconds, after which the timer sends its signal once. Zero disarms the timer. */
	set(seconds: number): void;
}

/** Creates a timer, which is never deleted. Returns undefined on failure, with errno(3). */
export function createTimer(signo: number): KernelTimer | undefined {
	const event = allocate(SIGEVENT_SIZE);
	event.view.setInt32(8, signo, true);
	event.view.setInt32(12, SIGEV_SIGNAL, true);
	const created = allocate(8);
	if (timer_create(CLOCK_MONOTONIC, event.address, created.address) !== 0) {
		return undefined;
	}

	const timer = created.view.getBigUint64(0, true) as Address;
	/* struct itimerspec: no interval, then the time. */
	const value = allocate(32);
	return {
		set(seconds) {
			value.view.setBigInt64(16, BigInt(seconds), true);
			timer_settime(timer, 0, value.address, null);
		},
	};
}

export const tzset: () => void = libc.func('void tzset(void)');
const localtime_r: (time: Address, result: Address) => Address | null = libc.func(
	'void *localtime_r(const void *timep, void *result)',
);

/** A time in the local time zone. `month` counts from 0. Source: struct tm, tm(3type). */
export interface LocalTime {
	readonly month: number;
	readonly day: number;
	readonly hour: number;
	readonly minute: number;
	readonly second: number;
}

/* time_t, then struct tm. */
const TM_OFFSET = 8;
const TM_SIZE = 56;
const timeMemory = allocate(TM_OFFSET + TM_SIZE);

/**
 * The local time, by the time zone of the C library, which Postfix uses as well.
 *
 * @param time - seconds since 1970.
 */
export function localTime(time: number): LocalTime {
	const {address, view} = timeMemory;
	view.setBigInt64(0, BigInt(time), true);
	localtime_r(address, (address + BigInt(TM_OFFSET)) as Address);
	const field = (index: number): number => view.getInt32(TM_OFFSET + 4 * index, true);
	return {second: field(0), minute: field(1), hour: field(2), day: field(3), month: field(4)};
}

/* syslog.h */
export const LOG_PID = 0x01;
export const LOG_NDELAY = 0x08;
const openlogC: (ident: Address, option: number, facility: number) => void = libc.func(
	'void openlog(const void *ident, int option, int facility)',
);
const syslogC: (priority: number, format: string, type: 'str', text: string) => void = libc.func(
	'void syslog(int priority, const char *format, ...)',
);

/* openlog(3) stores the pointer to the tag. */
const LOG_TAG_SIZE = 256;
const logTag = allocate(LOG_TAG_SIZE);

/** Opens the system log with a tag, of which 255 bytes are used. */
export function openlog(tag: string, option: number, facility: number): void {
	const {written} = new TextEncoder().encodeInto(tag, logTag.bytes.subarray(0, LOG_TAG_SIZE - 1));
	logTag.bytes[written] = 0;
	openlogC(logTag.address, option, facility);
}

/** Writes one log record. The text is not a format string. */
export function syslog(priority: number, text: string): void {
	syslogC(priority, '%s', 'str', text);
}

/** A sockaddr_un. Returns undefined if the path is too long. Source: unix(7). */
export function unixAddress(path: string): Uint8Array | undefined {
	const text = Buffer.from(path);
	if (text.length > 107) {
		return undefined;
	}

	/* More than 64 bytes: V8 allocates it outside of its heap. */
	const address = new Uint8Array(110);
	new DataView(address.buffer).setUint16(0, AF_UNIX, true);
	address.set(text, 2);
	return address;
}
