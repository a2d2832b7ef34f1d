/*
 * The client side of many simultaneous hand-offs, as in smtp(8). It uses one event
 * loop and no promises, so that the benchmark is faster than the program.
 */

import {WANT_READ} from '../../../src/base/io-result.ts';
import type {Owned} from '../../../src/base/owned.ts';
import type {Fd} from '../../../src/base/units.ts';
import {Reactor, type Watcher} from '../../../src/event/reactor.ts';
import {buffer, connectUnix, readStream, writeStream} from '../../../src/event/stream.ts';
import {close} from '../../../src/ffi/libc/libc.ts';
import {sendDescriptors} from '../../helpers/scm-rights.ts';
import {connectToLoopback} from './sockets.ts';

/** The event loop of all hand-offs in this process. */
export const reactor = new Reactor(close);

/** The destination and the messages of hand-offs. */
export interface Target {
	/** Socket of the service. */
	readonly path: string;
	/** Port of the server. */
	readonly port: number;
	/** Request and settings. */
	readonly messages: readonly [request: Uint8Array, settings: Uint8Array];
}

/** Delay before the next attempt when the listen queue is full, in milliseconds. */
const RETRY_DELAY = 2;

/** One hand-off. After the handshake report, the caller uses the stream and closes it. */
export class HandOff implements Watcher {
	/** Called with the size of plaintext that was read into `buffer`. */
	received: (size: number) => void = () => undefined;
	/** Called when more bytes can be written. */
	writable: () => void = () => undefined;
	/** Called when the stream ends before the caller closes it. */
	ended: () => void = () => undefined;
	readonly #target: Target;
	readonly #ready: (handOff: HandOff) => void;
	readonly #failed: (reason: string) => void;
	#fd: Owned<Fd> | undefined;
	#watch: Disposable | undefined;
	#step = 0;
	#last = '';

	/**
	 * Starts a hand-off.
	 *
	 * @param ready - called when the handshake is complete and the report was read.
	 * @param failed - called when the hand-off fails before that.
	 */
	static start(target: Target, ready: (handOff: HandOff) => void, failed: (reason: string) => void): void {
		new HandOff(target, ready, failed).#connect();
	}

	private constructor(target: Target, ready: (handOff: HandOff) => void, failed: (reason: string) => void) {
		this.#target = target;
		this.#ready = ready;
		this.#failed = failed;
	}

	get fd(): Fd {
		if (this.#fd === undefined) {
			throw new Error('the hand-off is closed');
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
			} else if (this.#isEndOfList(size)) {
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
			/* The listen queue of master(8) is full. */
			if (connected === 'Resource temporarily unavailable') {
				setTimeout(() => this.#connect(), RETRY_DELAY);
			} else {
				this.#failed(connected);
			}

			return;
		}

		this.#fd = connected;
		this.#watch = reactor.watch(connected.value, this);
	}

	/* An attribute list ends with an empty name. The program sends nothing more before the reply. */
	#isEndOfList(size: number): boolean {
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

	#end(reason: string): void {
		this.close();
		if (this.#step === 3) {
			this.ended();
		} else {
			this.#failed(reason);
		}
	}
}

/** The number of hand-offs, and how many of them are simultaneous. */
export interface Load {
	readonly count: number;
	readonly concurrency: number;
}

/**
 * Hands off connections, and closes each when its handshake is complete.
 *
 * @returns the duration in seconds.
 */
export async function handshakes(target: Target, load: Load): Promise<number> {
	const started = performance.now();
	await handOffs(target, load, (handOff, done) => {
		handOff.close();
		done();
	});
	return (performance.now() - started) / 1000;
}

/**
 * Like {@link handshakes}, but before a connection is closed, one byte goes to the server and back. So the
 * session tickets that the server sends after the handshake have arrived, as in a mail delivery.
 */
export async function exchanges(target: Target, load: Load): Promise<void> {
	await handOffs(target, load, (handOff, done) => {
		handOff.received = () => {
			handOff.close();
			done();
		};
		sendCommand(handOff, 'E');
		writeStream(handOff.fd, filler, 1);
	});
}

/** Hands off connections and leaves them open. */
export async function establish(target: Target, load: Load): Promise<readonly HandOff[]> {
	const established: HandOff[] = [];
	await handOffs(target, load, (handOff, done) => {
		established.push(handOff);
		done();
	});
	return established;
}

/* Starts hand-offs. The function `ready` must call `done` when it no longer needs the stream, or has stored it. */
async function handOffs(
	target: Target,
	{count, concurrency}: Load,
	ready: (handOff: HandOff, done: () => void) => void,
): Promise<void> {
	const {promise, resolve, reject} = Promise.withResolvers<void>();
	let started = 0;
	let completed = 0;
	const done = (): void => {
		completed++;
		if (completed === count) {
			/* The reactor is called from native code, after which Node.js runs no microtasks. */
			setImmediate(resolve);
		} else {
			start();
		}
	};
	const start = (): void => {
		if (started < count) {
			started++;
			HandOff.start(
				target,
				handOff => ready(handOff, done),
				reason => reject(new Error(reason)),
			);
		}
	};
	for (let index = 0; index < concurrency; index++) {
		start();
	}

	await promise;
}

/** Sends a command to the server of an established hand-off. The commands are described in peer-process.ts. */
export function sendCommand(handOff: HandOff, command: 'E' | 'K' | 'S', count = 0): void {
	const bytes = Buffer.alloc(9);
	bytes.write(command, 'latin1');
	bytes.writeBigUInt64LE(BigInt(count), 1);
	writeStream(handOff.fd, bytes, bytes.length);
}

/** Sends one byte and waits until it comes back, repeatedly. Returns the times in milliseconds. */
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

/** Transfers bytes in one direction, and waits until the last one has arrived. */
export async function transfer(
	session: HandOff,
	direction: 'to-peer' | 'to-client',
	count: number,
): Promise<void> {
	const {promise, resolve, reject} = Promise.withResolvers<void>();
	let left = count;
	session.ended = () => reject(new Error('the stream ended'));
	session.received = size => {
		left -= direction === 'to-client' ? size : left;
		if (left <= 0) {
			setImmediate(resolve);
		}
	};
	if (direction === 'to-peer') {
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
		sendCommand(session, 'K', count);
		session.writable();
	} else {
		sendCommand(session, 'S', count);
	}

	await promise;
	session.received = () => undefined;
	session.writable = () => undefined;
}
