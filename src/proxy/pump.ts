/*++
/* NAME
/*	pump 3
/* SUMMARY
/*	moves bytes between plaintext and ciphertext
/* DESCRIPTION
/*	Both directions run on their own: a peer that does not read does
/*	not keep us from reading what it sends. Bytes are read into the
/*	buffer that all sessions share and passed on at once; only what
/*	the other side does not take is kept, at most one buffer full, and
/*	its source is not read before that is gone.
/*
/*	Descriptors report readiness once, when it begins. It is
/*	remembered here until a call says that it has ended. That of the
/*	client reports room only while somebody waits for some.
/*
/*	A session that always has something to move would starve the
/*	others: after a share of bytes run() returns MORE, and wants to be
/*	called again soon. What takes time and brings few bytes, or none,
/*	is charged for the bytes that others could have had meanwhile.
/*
/*	This runs for every packet. It allocates nothing as long as both
/*	sides keep up.
/* SECURITY
/*	Buffers hold decrypted text. They are wiped before another session
/*	gets them.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c, tlsp_strategy()
/*--*/

import {AGAIN, FAILED, WANT_READ, WANT_WRITE} from '../base/io-result.ts';
import type {Fd} from '../base/units.ts';
import type {Registration} from '../event/registration.ts';
import {BUFFER_SIZE, buffer, readStream, writeStream} from '../event/stream.ts';
import type {Connection} from '../tls/connection/connection.ts';

/** Nothing more can be done now: readiness will come. */
const WAITING = 0;
/** This session's share is used up, and there is more to do. */
export const MORE = 1;
/** The client has finished, or is gone; what it wrote has been sent. */
export const PLAINTEXT_ENDED = 2;
/** The peer has finished, or is gone; what it sent has been written. */
export const CIPHERTEXT_ENDED = 3;

/** Bytes per direction and call of run(). */
const SHARE = 4 * BUFFER_SIZE;
/** Room that a read of TLS needs: one record. Also what a record costs that is not data. */
const RECORD_SIZE = 16_384;
/** What a record of data costs at least, in bytes. */
const RECORD_COST = 2048;

/* Buffers that no session needs at the moment. */
const bufferPool: Uint8Array[] = [];
const SPARE_LIMIT = 16;

/* Addresses in the shared buffer where reads begin as long as records are full. */
const recordAddresses = Array.from({length: BUFFER_SIZE / RECORD_SIZE}, (_, index) =>
	addressAt(index * RECORD_SIZE),
);

/** Moves the bytes of one session. Disposal gives its buffers back; it closes nothing. */
export class Pump implements Disposable {
	readonly #connection: Connection;
	readonly #plaintext: Fd;
	readonly #watch: Pick<Registration, 'writeInterest'>;
	/* What the other side has not taken; undefined, for nearly all of the time, when there is none. */
	#toPeer: PendingBytes | undefined;
	#toClient: PendingBytes | undefined;
	/* Readiness as last heard. */
	#plaintextReadable = true;
	#plaintextWritable = true;
	#ciphertextReadable = true;
	/*
	 * TLS may have to read in order to write (a key update, renegotiation), and
	 * the other way round. What a call waits for is kept with the call.
	 */
	#writeWaitsFor = 0;
	#readWaitsForWrite = false;
	#plaintextEnded = false;
	#ciphertextEnded = false;
	#moved = 0;
	/* What is left of the share for what comes from the peer. */
	#share = 0;
	/* Bytes of prepend() that have not been written. */
	#before = 0;

	/**
	 * @param connection - after its handshake; borrowed.
	 * @param plaintext - descriptor of the client; borrowed.
	 * @param watch - asked to tell when there is room for the client; borrowed.
	 */
	constructor(connection: Connection, plaintext: Fd, watch: Pick<Registration, 'writeInterest'>) {
		this.#connection = connection;
		this.#plaintext = plaintext;
		this.#watch = watch;
	}

	/** Bytes moved so far, both ways. */
	get moved(): number {
		return this.#moved;
	}

	/** Puts bytes before everything that comes from the peer. At most one buffer full. */
	queueReport(bytes: Uint8Array): void {
		this.#toClient = new PendingBytes(bytes, 0, bytes.length);
		this.#before = bytes.length;
	}

	/** Whether the client has got all that was put before. */
	get reportSent(): boolean {
		return this.#before <= 0;
	}

	/** The client's descriptor has become ready. */
	plaintextReady(readable: boolean, writable: boolean): void {
		this.#plaintextReadable ||= readable;
		if (writable) {
			/* Told without need, it is not told again; who has needed it may do so again soon. */
			this.#watch.writeInterest = !this.#plaintextWritable;
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

	/** Moves what can be moved: {@link WAITING}, {@link MORE}, {@link PLAINTEXT_ENDED} or {@link CIPHERTEXT_ENDED}. */
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
		this.#dropToPeer();
		this.#dropToClient();
	}

	/* Whether there is more to do at once. */
	#pumpToPeer(): boolean {
		let share = SHARE;
		while (this.#writeWaitsFor === 0 && !this.#ciphertextEnded) {
			if (this.#toPeer !== undefined) {
				const count = this.#connection.write(this.#toPeer.bytes, this.#toPeer.size);
				if (count <= 0) {
					this.#writeStopped(count);
					break;
				}

				this.#moved += count;
				this.#toPeer = this.#toPeer.take(count);
				continue;
			}

			if (this.#plaintextEnded || !this.#plaintextReadable) {
				break;
			}

			if (share <= 0) {
				return true;
			}

			const size = readStream(this.#plaintext);
			if (size > 0) {
				share -= size;
				this.#send(size);
			} else if (size === WANT_READ) {
				this.#plaintextReadable = false;
			} else {
				this.#plaintextEnded = true;
			}
		}

		return false;
	}

	/* Sends the first bytes of the shared buffer, and keeps what is not taken. */
	#send(size: number): void {
		let at = 0;
		while (at < size) {
			const from = recordAddresses[at / RECORD_SIZE] ?? buffer.bytes.subarray(at, size);
			const count = this.#connection.write(from, size - at);
			if (count <= 0) {
				this.#toPeer = new PendingBytes(buffer.bytes, at, size);
				this.#writeStopped(count);
				return;
			}

			this.#moved += count;
			at += count;
		}
	}

	#writeStopped(code: number): void {
		if (code === WANT_READ || code === WANT_WRITE) {
			this.#writeWaitsFor = code;
		} else {
			/* What cannot be sent any more is lost; what has come can still be read. */
			this.#dropToPeer();
			this.#writeWaitsFor = FAILED;
		}
	}

	/* Whether there is more to do at once. */
	#pumpToClient(): boolean {
		this.#share = SHARE;
		for (;;) {
			while (this.#toClient !== undefined) {
				if (!this.#plaintextWritable) {
					return false;
				}

				const count = writeStream(this.#plaintext, this.#toClient.bytes, this.#toClient.size);
				if (count <= 0) {
					this.#clientStopped(count);
					return false;
				}

				this.#moved += count;
				this.#before -= count;
				this.#toClient = this.#toClient.take(count);
			}

			if (
				this.#ciphertextEnded ||
				!this.#ciphertextReadable ||
				this.#readWaitsForWrite ||
				this.#plaintextEnded
			) {
				return false;
			}

			if (this.#share <= 0) {
				return true;
			}

			const size = this.#fill();
			if (size > 0) {
				const count = this.#plaintextWritable
					? writeStream(this.#plaintext, buffer.address, size)
					: WANT_WRITE;
				const taken = Math.max(count, 0);
				this.#moved += taken;
				if (taken < size) {
					this.#toClient = new PendingBytes(buffer.bytes, taken, size);
					if (count <= 0) {
						this.#clientStopped(count);
					}
				}
			}
		}
	}

	/* Decrypts into the shared buffer as long as a whole record fits: bytes read. */
	#fill(): number {
		let at = 0;
		while (at <= BUFFER_SIZE - RECORD_SIZE && this.#share > 0) {
			const count = this.#connection.read(
				recordAddresses[at / RECORD_SIZE] ?? addressAt(at),
				BUFFER_SIZE - at,
			);
			if (count === AGAIN) {
				this.#share -= RECORD_SIZE;
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
			this.#share -= Math.max(count, RECORD_COST);
		}

		return at;
	}

	#clientStopped(code: number): void {
		if (code === WANT_WRITE || code === 0) {
			this.#plaintextWritable = false;
			this.#watch.writeInterest = true;
		} else {
			/* Nobody is there to read it. */
			this.#dropToClient();
			this.#plaintextEnded = true;
		}
	}

	#dropToPeer(): void {
		this.#toPeer?.drop();
		this.#toPeer = undefined;
	}

	#dropToClient(): void {
		this.#toClient?.drop();
		this.#toClient = undefined;
	}
}

/* Bytes that were read and could not be passed on yet. */
class PendingBytes {
	#block: Uint8Array | undefined;
	#start = 0;
	readonly #end: number;

	constructor(from: Uint8Array, start: number, end: number) {
		this.#block = bufferPool.pop() ?? new Uint8Array(BUFFER_SIZE);
		this.#block.set(from.subarray(start, end));
		this.#end = end - start;
	}

	get size(): number {
		return this.#end - this.#start;
	}

	get bytes(): Uint8Array {
		return (this.#block ?? nothing).subarray(this.#start, this.#end);
	}

	/* What is left; undefined when that is nothing. */
	take(count: number): PendingBytes | undefined {
		this.#start += count;
		if (this.#start < this.#end) {
			return this;
		}

		this.drop();
		return undefined;
	}

	/* Gives the block back, once. Only what was used needs wiping. */
	drop(): void {
		const block = this.#block;
		this.#block = undefined;
		if (block !== undefined && bufferPool.length < SPARE_LIMIT) {
			bufferPool.push(block.fill(0, 0, this.#end));
		}
	}
}

const nothing = new Uint8Array(0);

function addressAt(offset: number): typeof buffer.address {
	return (buffer.address + BigInt(offset)) as typeof buffer.address;
}
