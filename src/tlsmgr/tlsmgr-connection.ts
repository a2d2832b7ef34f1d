/*++
/* NAME
/*	tlsmgr-connection 3
/* SUMMARY
/*	one connection to tlsmgr(8), when there is one
/* DESCRIPTION
/*	A line takes one request after the other from its owner: tlsmgr(8)
/*	answers only the first of two that arrive together. It connects
/*	when there is something to ask, and closes when there was nothing
/*	for a while.
/*
/*	tlsmgr(8) ends when it is idle and when Postfix is reloaded, and
/*	master(8) keeps its socket open. So a connection that ends is
/*	replaced once, without a word, and what was asked is asked again;
/*	no request does harm when it is repeated.
/*
/*	Time limits are the business of the owner, who closes its lines.
/* SEE ALSO
/*	postfix src/util/auto_clnt.c
/*--*/

import {PeerError} from '../base/errors.ts';
import {END, FAILED, WANT_READ, WANT_WRITE} from '../base/io-result.ts';
import type {Fd, Milliseconds} from '../base/units.ts';
import type {Deadline, DeadlineClock} from '../event/deadline.ts';
import type {Reactor} from '../event/reactor.ts';
import {buffer, connectUnix, readStream, writeStream} from '../event/stream.ts';
import {panic, warning} from '../log/log.ts';
import {AttributeFramer, type AttributeList} from '../wire/attribute-list.ts';
import {isGreeting} from './message.ts';
import {connectLine} from './warnings.ts';

/** A request. Its answer is given once; undefined when there is none. */
export interface TlsmgrRequest {
	readonly bytes: Uint8Array;
	readonly answer: (reply: AttributeList | undefined) => void;
}

/** Whom a line works for. */
export interface TlsmgrConnectionOwner {
	/** The next request, which is the line's from then on. */
	take(): TlsmgrRequest | undefined;
	/** Whether there is a next request. */
	readonly waiting: boolean;
	/** There is no talking to the server. Closes the line. */
	failed(why: string): void;
}

/** What a line is made of. */
export interface TlsmgrConnectionOptions {
	readonly reactor: Reactor;
	readonly clock: DeadlineClock;
	/** Of the socket of the server. */
	readonly path: string;
	/** The server speaks first. */
	readonly greeting: boolean;
	/** Time without a request after which the connection is closed. */
	readonly idle: Milliseconds;
}

const nothing = new Uint8Array();

/** One connection, when there is one. */
export class TlsmgrConnection {
	readonly #owner: TlsmgrConnectionOwner;
	readonly #options: TlsmgrConnectionOptions;
	readonly #idleLimit: Deadline;
	#resources: DisposableStack | undefined;
	#fd: Fd | undefined;
	#framer = new AttributeFramer();
	#greeted = false;
	#replaced = false;
	#job: TlsmgrRequest | undefined;
	#asked = false;
	#unsent: Uint8Array = nothing;

	constructor(owner: TlsmgrConnectionOwner, options: TlsmgrConnectionOptions) {
		this.#owner = owner;
		this.#options = options;
		this.#idleLimit = options.clock.deadline(() => this.#idled());
	}

	get closed(): boolean {
		return this.#fd === undefined;
	}

	/** Connected, with nothing to do. */
	get idle(): boolean {
		return this.#fd !== undefined && this.#greeted && this.#job === undefined;
	}

	/** Sends the next request, if there is one and the last is answered. */
	next(): void {
		if (this.#fd === undefined) {
			this.#connect();
		}

		if (this.#fd === undefined || !this.#greeted || this.#asked) {
			return;
		}

		this.#job ??= this.#owner.take();
		if (this.#job === undefined) {
			this.#idleLimit.arm(this.#options.idle);
			return;
		}

		this.#idleLimit[Symbol.dispose]();
		this.#asked = true;
		this.#unsent = this.#job.bytes;
		this.#send(this.#fd);
	}

	/** Closes the connection. What was asked has no answer. */
	close(): void {
		this.#release();
		this.#replaced = false;
		const job = this.#job;
		this.#job = undefined;
		job?.answer(undefined);
	}

	#release(): void {
		this.#idleLimit[Symbol.dispose]();
		this.#fd = undefined;
		this.#resources?.dispose();
		this.#resources = undefined;
		this.#asked = false;
		this.#unsent = nothing;
	}

	#connect(): void {
		const {reactor, path, greeting, idle} = this.#options;
		const connected = connectUnix(path);
		if (typeof connected === 'string') {
			warning(connectLine(path, connected));
			this.#owner.failed(connected);
			return;
		}

		const resources = new DisposableStack();
		const fd = resources.use(connected).value;
		this.#resources = resources;
		this.#fd = fd;
		this.#framer = new AttributeFramer();
		this.#greeted = !greeting;
		/* Another line may have been faster: then nobody waits for the greeting of this one. */
		this.#idleLimit.arm(idle);
		/* The mail owner may have too many descriptors watched: that costs resumption, and no session. */
		try {
			resources.use(
				reactor.watch(fd, {
					ready: (readable, writable) => {
						if (readable) {
							this.#receive(fd);
						}

						if (writable && this.#fd === fd) {
							this.#send(fd);
						}
					},
					fault: reason => this.#fault(reason),
				}),
			);
		} catch (reason) {
			this.#release();
			this.#owner.failed(reason instanceof Error ? reason.message : String(reason));
		}
	}

	#send(fd: Fd): void {
		while (this.#unsent.length > 0) {
			const count = writeStream(fd, this.#unsent, this.#unsent.length);
			if (count === WANT_WRITE) {
				return;
			}

			if (count === FAILED) {
				this.#ended('Broken pipe');
				return;
			}

			this.#unsent = this.#unsent.subarray(count);
		}
	}

	#receive(fd: Fd): void {
		while (this.#fd === fd) {
			const size = readStream(fd);
			if (size === WANT_READ) {
				return;
			}

			if (size < 0) {
				this.#ended(size === END ? 'Connection closed by server' : 'Connection reset by peer');
				return;
			}

			const framed = this.#framer.push(buffer.bytes.subarray(0, size));
			if (framed !== undefined) {
				if (framed.taken !== size) {
					throw new PeerError('more than was asked for');
				}

				this.#reply(framed.list);
			}
		}
	}

	#reply(list: AttributeList): void {
		if (!this.#greeted) {
			if (!isGreeting(list)) {
				throw new PeerError('no greeting of tlsmgr');
			}

			this.#greeted = true;
			this.next();
			return;
		}

		const job = this.#job;
		if (job === undefined || this.#unsent.length > 0) {
			throw new PeerError('a reply that nobody asked for');
		}

		const fd = this.#fd;
		this.#job = undefined;
		this.#asked = false;
		this.#replaced = false;
		job.answer(list);
		/* Whoever got the answer may have closed all lines. */
		if (this.#fd === fd) {
			this.next();
		}
	}

	/* The limit also runs while the greeting is waited for, by somebody or nobody. */
	#idled(): void {
		if (this.#job !== undefined || this.#owner.waiting) {
			this.#idleLimit.arm(this.#options.idle);
		} else {
			this.close();
		}
	}

	#ended(why: string): void {
		if (this.#job === undefined && (this.#greeted || !this.#owner.waiting)) {
			this.close();
		} else if (this.#replaced) {
			this.#owner.failed(why);
		} else {
			this.#release();
			this.#replaced = true;
			this.next();
		}
	}

	/* What is not the server's fault comes from somebody who got an answer, and is none of ours to forgive. */
	#fault(reason: unknown): void {
		if (!(reason instanceof PeerError)) {
			panic(reason instanceof Error ? (reason.stack ?? reason.message) : String(reason));
		}

		this.#owner.failed(reason.message);
	}
}
