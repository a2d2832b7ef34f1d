/*++
/* NAME
/*	pump 3
/* SUMMARY
/*	moves data between plaintext and ciphertext
/* DESCRIPTION
/*	The two directions are independent: while the peer does not read,
/*	data from the peer is still moved to the client. Data is read into
/*	the shared buffer and written at once. Only the part that the
/*	other side does not accept is stored, at most BUFFER_SIZE bytes per
/*	direction, and nothing more is read until it is written.
/*
/*	Descriptors are edge-triggered: readiness is reported when it
/*	begins, and the pump remembers it until a call would block. For the
/*	client EPOLLOUT is reported only while the pump waits for it.
/*
/*	A session that always has data to move would starve the others.
/*	Each run() moves a limited number of bytes, then returns MORE; the
/*	caller runs it again after other sessions. Small and empty records
/*	count as more bytes than they have, because of the time that they
/*	take.
/*
/*	This code runs for every packet. It allocates nothing while both
/*	sides accept all data.
/* SECURITY
/*	Buffers contain decrypted text. They are wiped before they are
/*	reused for another session.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c, tlsp_strategy()
/*--*/

import {AGAIN, FAILED, WANT_READ, WANT_WRITE} from '../base/io-result.ts';
import type {Fd} from '../base/units.ts';
import type {Registration} from '../event/registration.ts';
import {BUFFER_SIZE, buffer, readStream, writeStream} from '../event/stream.ts';
import type {Connection} from '../tls/connection/connection.ts';

/** Nothing can be moved until a descriptor becomes ready. */
export const WAITING = 0;
/** The limit of this run is reached, and there is more to move. */
export const MORE = 1;
/** The client has closed or is broken, and all its data has been sent. */
export const PLAINTEXT_ENDED = 2;
/** The peer has closed or is broken, and all its data has been written. */
export const CIPHERTEXT_ENDED = 3;

/** Bytes per direction and run. */
const RUN_LIMIT = 4 * BUFFER_SIZE;
/** Largest record, in bytes: the space that a read needs. A record without data counts as much. */
const RECORD_SIZE = 16_384;
/** Smallest number of bytes that a record of data counts as. */
const RECORD_COST = 2048;

/*
 * Buffers for pending data, shared by all sessions: few need one at a time, and allocating one takes longer
 * than wiping it.
 */
const bufferPool: Uint8Array[] = [];
const BUFFER_POOL_LIMIT = 16;

/* Addresses in the shared buffer at which a read begins after full records. */
const recordAddresses = Array.from({length: BUFFER_SIZE / RECORD_SIZE}, (_, index) =>
	addressAt(index * RECORD_SIZE),
);

/** Moves the data of one session. Disposal releases its buffers; it closes nothing. */
export class Pump implements Disposable {
	readonly #connection: Pick<Connection, 'read' | 'write'>;
	readonly #plaintext: Fd;
	readonly #registration: Pick<Registration, 'writeInterest'>;
	/* Data that the other side has not accepted; nearly always undefined. */
	#toPeer: PendingBytes | undefined;
	#toClient: PendingBytes | undefined;
	/* Readiness since the last call that would have blocked. */
	#plaintextReadable = true;
	#plaintextWritable = true;
	#ciphertextReadable = true;
	/*
	 * TLS may have to read before it can write (key update, renegotiation), and vice
	 * versa. The event that a write waits for is stored: 0, WANT_READ or WANT_WRITE;
	 * FAILED after the last write.
	 */
	#writeWaitsFor = 0;
	#readWaitsForWrite = false;
	#plaintextEnded = false;
	#ciphertextEnded = false;
	#moved = 0;
	/* Bytes from the peer that this run may still move. */
	#remaining = 0;
	/* Bytes of the report that have not been written. */
	#reportUnsent = 0;

	/**
	 * @param connection - after its handshake; borrowed.
	 * @param plaintext - descriptor of the client; borrowed.
	 * @param registration - of that descriptor, to enable EPOLLOUT; borrowed.
	 */
	constructor(
		connection: Pick<Connection, 'read' | 'write'>,
		plaintext: Fd,
		registration: Pick<Registration, 'writeInterest'>,
	) {
		this.#connection = connection;
		this.#plaintext = plaintext;
		this.#registration = registration;
	}

	/** Number of bytes moved in both directions, the report included. */
	get moved(): number {
		return this.#moved;
	}

	/** Queues bytes for the client, in front of all data from the peer. At most BUFFER_SIZE bytes, before the first run. */
	queueReport(bytes: Uint8Array): void {
		this.#toClient = new PendingBytes(bytes, 0, bytes.length);
		this.#reportUnsent = bytes.length;
	}

	/** Whether the report has been written. */
	get reportSent(): boolean {
		return this.#reportUnsent <= 0;
	}

	/** The client's descriptor has become ready. */
	plaintextReady(readable: boolean, writable: boolean): void {
		this.#plaintextReadable ||= readable;
		if (writable) {
			/* An event that was not needed turns EPOLLOUT off. After one that was needed, the next write may block again. */
			this.#registration.writeInterest = !this.#plaintextWritable;
			this.#plaintextWritable = true;
		}
	}

	/** The peer's descriptor has become ready. */
	ciphertextReady(readable: boolean, writable: boolean): void {
		if (readable) {
			this.#ciphertextReadable = true;
			if (this.#writeWaitsFor === WANT_READ) {
				this.#writeWaitsFor = 0;
			}
		}

		if (writable) {
			this.#readWaitsForWrite = false;
			if (this.#writeWaitsFor === WANT_WRITE) {
				this.#writeWaitsFor = 0;
			}
		}
	}

	/** Moves data until a call would block or the limit is reached: {@link WAITING}, {@link MORE}, {@link PLAINTEXT_ENDED} or {@link CIPHERTEXT_ENDED}. */
	run(): number {
		const sent = this.#pumpToPeer();
		const received = this.#pumpToClient();
		if (this.#ciphertextEnded && this.#toClient === undefined) {
			return CIPHERTEXT_ENDED;
		}

		if (this.#plaintextEnded && this.#toPeer === undefined) {
			return PLAINTEXT_ENDED;
		}

		return sent || received ? MORE : WAITING;
	}

	[Symbol.dispose](): void {
		this.#releaseToPeer();
		this.#releaseToClient();
	}

	/* Returns whether the limit is reached. */
	#pumpToPeer(): boolean {
		let remaining = RUN_LIMIT;
		while (this.#writeWaitsFor === 0 && !this.#ciphertextEnded) {
			if (this.#toPeer !== undefined) {
				const count = this.#connection.write(this.#toPeer.bytes, this.#toPeer.size);
				if (count <= 0) {
					this.#ciphertextWriteStopped(count);
					break;
				}

				this.#moved += count;
				this.#toPeer = this.#toPeer.advance(count);
				continue;
			}

			if (this.#plaintextEnded || !this.#plaintextReadable) {
				break;
			}

			if (remaining <= 0) {
				return true;
			}

			const size = readStream(this.#plaintext);
			if (size > 0) {
				remaining -= size;
				this.#send(size);
			} else if (size === WANT_READ) {
				this.#plaintextReadable = false;
			} else {
				this.#plaintextEnded = true;
			}
		}

		return false;
	}

	/* Sends the first bytes of the shared buffer, and stores the part that is not accepted. */
	#send(size: number): void {
		let at = 0;
		while (at < size) {
			const from = recordAddresses[at / RECORD_SIZE] ?? buffer.bytes.subarray(at, size);
			const count = this.#connection.write(from, size - at);
			if (count <= 0) {
				this.#toPeer = new PendingBytes(buffer.bytes, at, size);
				this.#ciphertextWriteStopped(count);
				return;
			}

			this.#moved += count;
			at += count;
		}
	}

	#ciphertextWriteStopped(code: number): void {
		if (code === WANT_READ || code === WANT_WRITE) {
			this.#writeWaitsFor = code;
		} else {
			/* Unsent data is lost; data from the peer can still be read. */
			this.#releaseToPeer();
			this.#writeWaitsFor = FAILED;
		}
	}

	/* Returns whether the limit is reached. */
	#pumpToClient(): boolean {
		this.#remaining = RUN_LIMIT;
		for (;;) {
			while (this.#toClient !== undefined) {
				if (!this.#plaintextWritable) {
					return false;
				}

				const count = writeStream(this.#plaintext, this.#toClient.bytes, this.#toClient.size);
				if (count <= 0) {
					this.#plaintextWriteStopped(count);
					return false;
				}

				this.#moved += count;
				this.#reportUnsent -= count;
				this.#toClient = this.#toClient.advance(count);
			}

			if (
				this.#ciphertextEnded ||
				!this.#ciphertextReadable ||
				this.#readWaitsForWrite ||
				this.#plaintextEnded
			) {
				return false;
			}

			if (this.#remaining <= 0) {
				return true;
			}

			const size = this.#decrypt();
			if (size > 0) {
				const count = this.#plaintextWritable
					? writeStream(this.#plaintext, buffer.address, size)
					: WANT_WRITE;
				const written = Math.max(count, 0);
				this.#moved += written;
				if (written < size) {
					this.#toClient = new PendingBytes(buffer.bytes, written, size);
					if (count <= 0) {
						this.#plaintextWriteStopped(count);
					}
				}
			}
		}
	}

	/* Decrypts into the shared buffer while a full record fits. Returns the number of bytes. */
	#decrypt(): number {
		let at = 0;
		while (at <= BUFFER_SIZE - RECORD_SIZE && this.#remaining > 0) {
			const count = this.#connection.read(
				recordAddresses[at / RECORD_SIZE] ?? addressAt(at),
				BUFFER_SIZE - at,
			);
			if (count === AGAIN) {
				this.#remaining -= RECORD_SIZE;
				continue;
			}

			if (count <= 0) {
				if (count === WANT_READ) {
					this.#ciphertextReadable = false;
				} else if (count === WANT_WRITE) {
					this.#readWaitsForWrite = true;
				} else {
					this.#ciphertextEnded = true;
				}

				break;
			}

			at += count;
			this.#remaining -= Math.max(count, RECORD_COST);
		}

		return at;
	}

	#plaintextWriteStopped(code: number): void {
		if (code === WANT_WRITE || code === 0) {
			this.#plaintextWritable = false;
			this.#registration.writeInterest = true;
		} else {
			/* The client has disconnected. */
			this.#releaseToClient();
			this.#plaintextEnded = true;
		}
	}

	#releaseToPeer(): void {
		this.#toPeer?.release();
		this.#toPeer = undefined;
	}

	#releaseToClient(): void {
		this.#toClient?.release();
		this.#toClient = undefined;
	}
}

/* A copy of bytes that the other side has not accepted yet, in a buffer of the pool. */
class PendingBytes {
	#buffer: Uint8Array | undefined;
	#start = 0;
	readonly #end: number;

	constructor(from: Uint8Array, start: number, end: number) {
		this.#buffer = bufferPool.pop() ?? new Uint8Array(BUFFER_SIZE);
		this.#buffer.set(from.subarray(start, end));
		this.#end = end - start;
	}

	get size(): number {
		return this.#end - this.#start;
	}

	get bytes(): Uint8Array {
		return (this.#buffer ?? empty).subarray(this.#start, this.#end);
	}

	/* Removes bytes from the front. Returns undefined, and releases the buffer, when none are left. */
	advance(count: number): PendingBytes | undefined {
		this.#start += count;
		if (this.#start < this.#end) {
			return this;
		}

		this.release();
		return undefined;
	}

	/* Returns the buffer to the pool, once. Only the used part needs wiping. */
	release(): void {
		const used = this.#buffer;
		this.#buffer = undefined;
		if (used !== undefined && bufferPool.length < BUFFER_POOL_LIMIT) {
			bufferPool.push(used.fill(0, 0, this.#end));
		}
	}
}

const empty = new Uint8Array(0);

function addressAt(offset: number): typeof buffer.address {
	return (buffer.address + BigInt(offset)) as typeof buffer.address;
}
