/*
 * The part of smtp(8) in many hand-offs at once, in one event loop and without
 * promises: whoever measures must not be what is slow.
 */

import {WANT_READ} from '../../../src/base/io-result.ts';
import type {Owned} from '../../../src/base/owned.ts';
import type {Fd} from '../../../src/base/units.ts';
import {Reactor, type Watcher} from '../../../src/event/reactor.ts';
import {buffer, connectUnix, readStream, writeStream} from '../../../src/event/stream.ts';
import {close} from '../../../src/ffi/libc/libc.ts';
import {sendDescriptors} from '../../helpers/scm-rights.ts';
import {connectToLoopback} from './sockets.ts';

/** The event loop of all that this process measures. */
export const reactor = new Reactor(close);

/** Where hand-offs go, and what they say. */
export interface Target {
	/** Socket of the service. */
	readonly path: string;
	/** Port of the server. */
	readonly port: number;
	/** Request and settings. */
	readonly messages: readonly [request: Uint8Array, settings: Uint8Array];
}

/** Time before the next try when nobody accepts, in milliseconds. */
const RETRY = 2;

/** One hand-off. When it has its context the caller decides what becomes of it. */
export class HandOff implements Watcher {
	/** Gets what comes after the context. */
	received: (size: number) => void = () => undefined;
	/** Room for more to be written. */
	writable: () => void = () => undefined;
	/** The stream has ended before its owner did. */
	ended: () => void = () => undefined;
	readonly #target: Target;
	readonly #ready: (handOff: HandOff) => void;
	readonly #failed: (why: string) => void;
	#fd: Owned<Fd> | undefined;
	#watch: Disposable | undefined;
	#step = 0;
	#last = '';

	/**
	 * Begins one.
	 *
	 * @param ready - the handshake is complete, and the context was read.
	 * @param failed - it will not be.
	 */
	static begin(target: Target, ready: (handOff: HandOff) => void, failed: (why: string) => void): void {
		new HandOff(target, ready, failed).#connect();
	}

	private constructor(target: Target, ready: (handOff: HandOff) => void, failed: (why: string) => void) {
		this.#target = target;
		this.#ready = ready;
		this.#failed = failed;
	}

	get fd(): Fd {
		if (this.#fd === undefined) {
			throw new Error('the hand-off is over');
		}

		return this.#fd.value;
	}

	close(): void {
		this.#watch?.[Symbol.dispose]();
		this.#fd?.[Symbol.dispose]();
		this.#fd = undefined;
	}

	ready(readable: boolean, writable: boolean): void {
		if (readable) {
			this.#read();
		}

		if (writable && this.#step === 3) {
			this.writable();
		}
	}

	#read(): void {
		while (this.#fd !== undefined) {
			const size = readStream(this.#fd.value);
			if (size === WANT_READ) {
				break;
			}

			if (size < 0) {
				this.#end(this.#step === 3 ? '' : `the stream ended in step ${this.#step}`);
				return;
			}

			if (this.#step === 3) {
				this.received(size);
			} else if (this.#listEnds(size)) {
				this.#next();
			}
		}
	}

	fault(reason: unknown): void {
		this.#end(String(reason));
	}

	#connect(): void {
		const connected = connectUnix(this.#target.path);
		if (typeof connected === 'string') {
			/* master(8) lets a hundred wait. */
			if (connected === 'Resource temporarily unavailable') {
				setTimeout(() => this.#connect(), RETRY);
			} else {
				this.#failed(connected);
			}

			return;
		}

		this.#fd = connected;
		this.#watch = reactor.watch(connected.value, this);
	}

	/* A list ends with an empty name, and nothing follows before it was answered. */
	#listEnds(size: number): boolean {
		this.#last += Buffer.from(buffer.bytes.subarray(Math.max(size - 2, 0), size)).toString('latin1');
		this.#last = this.#last.slice(-2);
		return this.#last === '\0\0';
	}

	#next(): void {
		this.#last = '';
		this.#step++;
		const {messages, port} = this.#target;
		if (this.#step === 1) {
			for (const message of messages) {
				writeStream(this.fd, message, message.length);
			}
		} else if (this.#step === 2) {
			using peer = connectToLoopback(port);
			sendDescriptors(this.fd, [peer.value]);
		} else {
			this.#ready(this);
		}
	}

	#end(why: string): void {
		this.close();
		if (this.#step === 3) {
			this.ended();
		} else {
			this.#failed(why);
		}
	}
}

/** How many of something, and how many at a time. */
export interface Load {
	readonly count: number;
	readonly atOnce: number;
}

/**
 * Hands off connections one after the other, several at once, and closes them when they are established.
 *
 * @returns how long it took, in seconds.
 */
export async function handshakes(target: Target, load: Load): Promise<number> {
	const started = performance.now();
	await handOffs(target, load, (handOff, over) => {
		handOff.close();
		over();
	});
	return (performance.now() - started) / 1000;
}

/**
 * The same, with a byte that goes to the server and comes back before the end: what the server has sent behind
 * the handshake has arrived by then, as it has when mail is delivered.
 */
export async function exchanges(target: Target, load: Load): Promise<void> {
	await handOffs(target, load, (handOff, over) => {
		handOff.received = () => {
			handOff.close();
			over();
		};
		options(handOff, 'E');
		writeStream(handOff.fd, filler, 1);
	});
}

/** Hands off connections that stay. */
export async function establish(target: Target, load: Load): Promise<readonly HandOff[]> {
	const established: HandOff[] = [];
	await handOffs(target, load, (handOff, over) => {
		established.push(handOff);
		over();
	});
	return established;
}

/* So many, so many of them at once; what becomes of each, and when it is over, is the business of others. */
async function handOffs(
	target: Target,
	{count, atOnce}: Load,
	ready: (handOff: HandOff, over: () => void) => void,
): Promise<void> {
	const {promise, resolve, reject} = Promise.withResolvers<void>();
	let begun = 0;
	let done = 0;
	const over = (): void => {
		done++;
		if (done === count) {
			/* The reactor was called by nobody whom promises know. */
			setImmediate(resolve);
		} else {
			begin();
		}
	};
	const begin = (): void => {
		if (begun < count) {
			begun++;
			HandOff.begin(
				target,
				handOff => ready(handOff, over),
				why => reject(new Error(why)),
			);
		}
	};
	for (let index = 0; index < atOnce; index++) {
		begin();
	}

	await promise;
}

/** Tells the server of an established hand-off what it is for: peer-process.ts. */
export function options(handOff: HandOff, mode: 'E' | 'K' | 'S', count = 0): void {
	const bytes = Buffer.alloc(9);
	bytes.write(mode, 'latin1');
	bytes.writeBigUInt64LE(BigInt(count), 1);
	writeStream(handOff.fd, bytes, bytes.length);
}

/** Sends one byte and waits for it to come back, over and over. Returns the times, in milliseconds. */
export async function roundTrips(sessions: readonly HandOff[], count: number): Promise<readonly number[]> {
	const times: number[] = [];
	const byte = new Uint8Array(1);
	await Promise.all(
		sessions.map(async session => {
			const {promise, resolve, reject} = Promise.withResolvers<void>();
			let left = count;
			let sent = performance.now();
			session.ended = () => reject(new Error('the stream ended'));
			session.received = () => {
				times.push(performance.now() - sent);
				left--;
				if (left === 0) {
					session.received = () => undefined;
					setImmediate(resolve);
				} else {
					sent = performance.now();
					writeStream(session.fd, byte, 1);
				}
			};
			writeStream(session.fd, byte, 1);
			await promise;
		}),
	);
	return times;
}

const filler = new Uint8Array(65_536).fill(0x61);

/** Has bytes go one way, until the last one has arrived. */
export async function transfer(session: HandOff, way: 'to-peer' | 'to-client', count: number): Promise<void> {
	const {promise, resolve, reject} = Promise.withResolvers<void>();
	let left = count;
	session.ended = () => reject(new Error('the stream ended'));
	session.received = size => {
		left -= way === 'to-client' ? size : left;
		if (left <= 0) {
			setImmediate(resolve);
		}
	};
	if (way === 'to-peer') {
		let unsent = count;
		session.writable = () => {
			while (unsent > 0) {
				const size = writeStream(session.fd, filler, Math.min(unsent, filler.length));
				if (size <= 0) {
					return;
				}

				unsent -= size;
			}
		};
		options(session, 'K', count);
		session.writable();
	} else {
		options(session, 'S', count);
	}

	await promise;
	session.received = () => undefined;
	session.writable = () => undefined;
}
