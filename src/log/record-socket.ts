/*++
/* NAME
/*	record-socket 3
/* SUMMARY
/*	log socket that never blocks the process
/* DESCRIPTION
/*	A log daemon that is stopped, or slower than the processes that
/*	log, leaves the queue of its datagram socket full. send(2) and
/*	syslog(3) would block then, and with them all sessions of the
/*	process.
/*
/*	Here, a record that the socket does not accept is queued. Records
/*	are sent in the order in which they were logged. The queue is
/*	bounded: when it is full, records are counted instead, until the
/*	queue has been sent. Then one record is sent with the number of
/*	lost records.
/*
/*	While records are queued, each new record and a timer try to send
/*	them. Without queued records, no timer runs.
/*
/*	When the receiver has closed its socket, or the socket does not
/*	exist, the path is connected again, once per record. Until this
/*	succeeds, records are counted as lost.
/* SEE ALSO
/*	unix(7), net.unix.max_dgram_qlen; datagram(3), transport(3)
/*--*/

import type {Fd, Milliseconds} from '../base/units.ts';
import {
	close,
	EAGAIN,
	EINTR,
	errno,
	errorNumber,
	isWritable,
	MSG_NOSIGNAL,
	SOCK_NONBLOCK,
	send,
} from '../ffi/libc/libc.ts';
import {connectDatagram} from './datagram.ts';

/** Largest number of queued records. */
export const RECORD_COUNT_LIMIT = 10_000;
/** Largest total size of queued records, in bytes. */
const RECORD_BYTES_LIMIT = 1_048_576;

/** Largest number of queued records that are sent at a time: less than a millisecond. */
const BATCH_LIMIT = 500;

/*
 * Milliseconds between two attempts to send the queue: short while the receiver reads,
 * because a socket accepts as few as ten datagrams at a time, and doubled after each
 * attempt that sends nothing.
 */
const SHORTEST_RETRY = 1;
const LONGEST_RETRY = 256;

/** `full`: the receiver has to read first. `failed`: there is no receiver. */
type Outcome = 'sent' | 'full' | 'failed';

/* The receiver has to read, or the kernel lacks memory: the same record may be accepted later. */
const fullErrors: ReadonlySet<number> = new Set([
	EAGAIN,
	EINTR,
	errorNumber('ENOBUFS'),
	errorNumber('ENOMEM'),
]);

/** A connection to a datagram socket, with a queue. It owns the descriptor, for the life of the process. */
export class RecordSocket {
	/** Why the path could not be connected when the object was made; undefined if it is connected. */
	readonly problem: string | undefined;
	readonly #path: string;
	readonly #formatLoss: (count: number) => Uint8Array;
	#fd: Fd | undefined;
	/* In the order in which they were logged. The objects are distinct, even if their contents are equal. */
	readonly #queue = new Set<Uint8Array>();
	#queuedBytes = 0;
	#lost = 0;
	#timer: NodeJS.Timeout | undefined;
	#retry = SHORTEST_RETRY;

	/**
	 * @param path - path of the socket, which is connected immediately.
	 * @param formatLoss - returns a record with the number of lost records.
	 */
	constructor(path: string, formatLoss: (count: number) => Uint8Array) {
		this.#path = path;
		this.#formatLoss = formatLoss;
		this.problem = this.#connect();
	}

	/**
	 * Sends or queues one record.
	 *
	 * @param buffer - contains the record; copied.
	 * @param size - size of the record in bytes.
	 */
	send(buffer: Uint8Array, size: number): void {
		/* Older records first. */
		let outcome: Outcome = this.#queue.size === 0 && this.#lost === 0 ? 'sent' : this.#sendQueue();
		if (outcome === 'sent') {
			outcome = this.#sendRecord(buffer, size);
		}

		if (outcome === 'full') {
			this.#add(buffer, size);
		} else if (outcome === 'failed') {
			this.#lost++;
		}
	}

	/** Waits until the receiver has accepted all queued records; not longer than a limit. */
	drain(limit: Milliseconds): void {
		const end = performance.now() + limit;
		while ((this.#queue.size > 0 || this.#lost > 0) && this.#sendQueue() === 'full') {
			const rest = Math.ceil(end - performance.now());
			if (rest <= 0 || this.#fd === undefined) {
				return;
			}

			isWritable(this.#fd, rest);
		}
	}

	#add(buffer: Uint8Array, size: number): void {
		/* After a loss nothing is queued until the loss is reported: one record reports all of it. */
		if (
			this.#lost > 0 ||
			this.#queue.size >= RECORD_COUNT_LIMIT ||
			this.#queuedBytes + size > RECORD_BYTES_LIMIT
		) {
			this.#lost++;
		} else {
			/* A copy: the caller uses the buffer for the next record. */
			this.#queue.add(new Uint8Array(buffer.subarray(0, size)));
			this.#queuedBytes += size;
		}

		this.#schedule();
	}

	#schedule(): void {
		if (this.#timer === undefined) {
			/* A log does not keep a process alive. */
			this.#timer = setTimeout(() => this.#expired(), this.#retry).unref();
		}
	}

	#expired(): void {
		this.#timer = undefined;
		const before = this.#queue.size;
		if (this.#sendQueue() === 'full') {
			this.#retry = this.#queue.size < before ? SHORTEST_RETRY : Math.min(this.#retry * 2, LONGEST_RETRY);
			this.#schedule();
		} else {
			this.#retry = SHORTEST_RETRY;
		}
	}

	/* Sends queued records, then the number of lost ones. `sent`: nothing is left. */
	#sendQueue(): Outcome {
		let count = 0;
		for (const record of this.#queue) {
			/* The rest is sent by the timer: a long queue does not delay sessions either. */
			const outcome = count++ < BATCH_LIMIT ? this.#sendRecord(record, record.length) : 'full';
			if (outcome === 'full') {
				return 'full';
			}

			if (outcome === 'failed') {
				this.#lost += this.#queue.size;
				this.#queue.clear();
				this.#queuedBytes = 0;
				return 'failed';
			}

			this.#queue.delete(record);
			this.#queuedBytes -= record.length;
		}

		if (this.#lost === 0) {
			return 'sent';
		}

		const record = this.#formatLoss(this.#lost);
		const outcome = this.#sendRecord(record, record.length);
		if (outcome === 'sent') {
			this.#lost = 0;
		}

		return outcome;
	}

	#sendRecord(buffer: Uint8Array, size: number): Outcome {
		if (this.#fd !== undefined) {
			if (send(this.#fd, buffer, size, MSG_NOSIGNAL) >= 0) {
				return 'sent';
			}

			if (fullErrors.has(errno())) {
				return 'full';
			}
		}

		/* As syslog(3): the receiver may have been restarted. */
		this.#connect();
		if (this.#fd === undefined) {
			return 'failed';
		}

		if (send(this.#fd, buffer, size, MSG_NOSIGNAL) >= 0) {
			return 'sent';
		}

		return fullErrors.has(errno()) ? 'full' : 'failed';
	}

	#connect(): string | undefined {
		if (this.#fd !== undefined) {
			close(this.#fd);
			this.#fd = undefined;
		}

		const result = connectDatagram(this.#path, SOCK_NONBLOCK);
		if (typeof result === 'string') {
			return result;
		}

		this.#fd = result;
		return undefined;
	}
}
