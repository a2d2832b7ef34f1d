import {existsSync, readdirSync, readFileSync, readlinkSync} from 'node:fs';
import type {ExecutionContext} from 'ava';
import koffi from 'koffi';
import {Owned} from '../../src/base/owned.ts';
import type {Fd} from '../../src/base/units.ts';
import {
	type Address,
	AF_UNIX,
	allocate,
	close,
	SOCK_CLOEXEC,
	SOCK_NONBLOCK,
	SOCK_STREAM,
} from '../../src/ffi/libc/libc.ts';

const libc = koffi.load('libc.so.6');
const socketpair: (domain: number, type: number, protocol: number, pair: Address) => number = libc.func(
	'int socketpair(int domain, int type, int protocol, void *sv)',
);
const pair = allocate(8);

/** A descriptor that is closed by the test, or at the end of the test. */
export class Held {
	readonly #owned: Owned<Fd>;

	constructor(t: ExecutionContext, fd: Fd) {
		this.#owned = new Owned(fd, close);
		t.teardown(() => this.close());
	}

	get fd(): Fd {
		return this.#owned.value;
	}

	/** Moves ownership to the code under test. */
	move(): Owned<Fd> {
		return this.#owned.move();
	}

	close(): void {
		this.#owned[Symbol.dispose]();
	}
}

/** bind(2). The program itself never binds a socket. */
export const bind: (fd: Fd, address: Uint8Array, size: number) => number = libc.func(
	'int bind(int fd, const void *addr, unsigned int addrlen)',
);

/** listen(2). */
export const listen: (fd: Fd, backlog: number) => number = libc.func('int listen(int fd, int backlog)');

/** Two connected stream sockets, non-blocking and close-on-exec. */
export function socketPair(t: ExecutionContext, type = SOCK_STREAM): readonly [Held, Held] {
	if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.address) !== 0) {
		throw new Error('socketpair');
	}

	return [new Held(t, pair.view.getInt32(0, true) as Fd), new Held(t, pair.view.getInt32(4, true) as Fd)];
}

/** The number of open descriptors of this process. Two results are comparable only without a pause in between. */
export function openDescriptors(): number {
	return readdirSync('/proc/self/fd').length;
}

/** The flags of an open file and its descriptor, as in open(2). */
export function flagsOf(fd: number): number {
	return Number.parseInt(
		/^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '',
		8,
	);
}

/** The file of a descriptor, such as `socket:[1234]`. */
export function referenceOf(fd: number): string {
	return readlinkSync(`/proc/self/fd/${fd}`);
}

const getrlimit: (resource: number, limits: BigUint64Array) => number = libc.func(
	'int getrlimit(int resource, void *rlim)',
);
const setrlimit: (resource: number, limits: BigUint64Array) => number = libc.func(
	'int setrlimit(int resource, const void *rlim)',
);
const RLIMIT_NOFILE = 7;

/** Runs a synchronous function while this process cannot open another descriptor. */
export function withoutDescriptors<Result>(run: () => Result): Result {
	/* The soft limit and the hard limit. V8 does not move arrays of more than 64 bytes. */
	const limits = new BigUint64Array(16);
	getrlimit(RLIMIT_NOFILE, limits);
	const [soft = 0n] = limits;
	let lowest = 0;
	while (existsSync(`/proc/self/fd/${lowest}`)) {
		lowest++;
	}

	limits[0] = BigInt(lowest);
	setrlimit(RLIMIT_NOFILE, limits);
	try {
		return run();
	} finally {
		limits[0] = soft;
		setrlimit(RLIMIT_NOFILE, limits);
	}
}
