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

/** A descriptor that the test closes, or that is closed when the test ends. */
export class Held {
	readonly #owned: Owned<Fd>;

	constructor(t: ExecutionContext, fd: Fd) {
		this.#owned = new Owned(fd, close);
		t.teardown(() => this.close());
	}

	get fd(): Fd {
		return this.#owned.value;
	}

	/** Moves the descriptor to the code under test. */
	move(): Owned<Fd> {
		return this.#owned.move();
	}

	close(): void {
		this.#owned[Symbol.dispose]();
	}
}

/** Two connected stream sockets, non-blocking and close-on-exec. */
export function socketPair(t: ExecutionContext, type = SOCK_STREAM): readonly [Held, Held] {
	if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.address) !== 0) {
		throw new Error('socketpair');
	}

	return [new Held(t, pair.view.getInt32(0, true) as Fd), new Held(t, pair.view.getInt32(4, true) as Fd)];
}

/** How many descriptors this process has open. Comparable only between two synchronous calls. */
export function openDescriptors(): number {
	return readdirSync('/proc/self/fd').length;
}

/** Flags of the open file and of the descriptor, as open(2) has them. */
export function flagsOf(fd: number): number {
	return Number.parseInt(
		/^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '',
		8,
	);
}

/** What a descriptor refers to, such as `socket:[1234]`. */
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

/** Runs something while this process can have no descriptor more than it has. Nothing asynchronous. */
export function withoutDescriptors<Result>(run: () => Result): Result {
	/* The soft limit, the hard one, and room that keeps V8 from moving them. */
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
