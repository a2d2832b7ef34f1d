/*++
/* NAME
/*	client 3
/* SUMMARY
/*	asks tlsmgr(8), without waiting
/* DESCRIPTION
/*	tlsmgr(8) answers one request per connection at a time. Requests
/*	wait in a queue for one of two connections, which are made when
/*	there is something to ask, and closed when there was nothing for
/*	a while.
/*
/*	What is asked here makes handshakes cheaper, and nothing else. So
/*	whoever asks gets an answer within a second, and when tlsmgr(8) is
/*	slow, dead or talks nonsense, the answer is that there is nothing.
/*	After a failure it is left alone for a while.
/* DIAGNOSTICS
/*	A warning for each failure to talk to the server; never an error.
/* SEE ALSO
/*	postfix src/tls/tls_mgr.c, src/util/attr_clnt.c
/*--*/

import {PeerError} from '../errors.ts';
import type {Deadline, DeadlineClock} from '../event/deadline.ts';
import {now} from '../event/deadline.ts';
import type {Reactor} from '../event/reactor.ts';
import {buffer, connectUnix, readStream, writeStream} from '../event/stream.ts';
import {warning} from '../log.ts';
import {END, WANT_READ} from '../step.ts';
import type {Fd, Milliseconds} from '../units.ts';
import {AttributeFramer, type AttributeList} from '../wire/attr.ts';
import {
	type CachePolicy,
	isGreeting,
	parseLookup,
	parsePolicy,
	parseUpdate,
	printLookup,
	printPolicy,
	printUpdate,
} from './message.ts';

/** Time for an answer. smtp(8) waits ten seconds for us, and has other things to wait for. */
const ANSWER_LIMIT = 1000 as Milliseconds;
/** Time without questions after a failure. */
const PAUSE = 5000 as Milliseconds;
/** Requests that wait, at most; beyond that there is nothing to gain by asking. */
const QUEUE_LIMIT = 1000;
const CONNECTIONS = 2;

/** Where tlsmgr(8) is, and how it talks. */
export interface TlsManagerOptions {
	/** Of its socket. */
	readonly path: string;
	/** It speaks first. */
	readonly greeting: boolean;
	/** Time without a request after which a connection is closed. */
	readonly idle: Milliseconds;
}

/* A request. Its answer is given once. */
interface Job {
	readonly bytes: Uint8Array;
	readonly answer: (reply: AttributeList | undefined) => void;
	readonly deadline: Deadline;
}

/** A client of tlsmgr(8). Disposal closes its connections, and answers what is open. */
export class TlsManager implements Disposable {
	readonly #reactor: Reactor;
	readonly #clock: DeadlineClock;
	readonly #options: TlsManagerOptions;
	readonly #queue = new Set<Job>();
	readonly #lines: readonly Line[];
	#pausedUntil = 0;

	constructor(reactor: Reactor, clock: DeadlineClock, options: TlsManagerOptions) {
		this.#reactor = reactor;
		this.#clock = clock;
		this.#options = options;
		this.#lines = Array.from({length: CONNECTIONS}, () => new Line(this));
	}

	/** Looks a session up: undefined when there is none, or when nobody can tell. */
	lookup(cacheType: string, cacheId: string, done: (session: Uint8Array | undefined) => void): void {
		this.#ask(printLookup(cacheType, cacheId), parseLookup, done);
	}

	/** Stores a session; `done` hears whether it was. */
	update(
		cacheType: string,
		cacheId: string,
		session: Uint8Array,
		done: (stored: boolean) => void = () => undefined,
	): void {
		this.#ask(printUpdate(cacheType, cacheId, session), parseUpdate, stored => done(stored === true));
	}

	/** Asks how long sessions are kept: undefined when nobody can tell. */
	policy(cacheType: string, done: (policy: CachePolicy | undefined) => void): void {
		this.#ask(printPolicy(cacheType), parsePolicy, done);
	}

	[Symbol.dispose](): void {
		this.#drop();
		for (const line of this.#lines) {
			line.close();
		}
	}

	/** For connections only: the next request, which is theirs from then on. */
	take(): Job | undefined {
		for (const job of this.#queue) {
			this.#queue.delete(job);
			return job;
		}

		return undefined;
	}

	/** For connections only: what they are made of. */
	get parts(): {
		readonly reactor: Reactor;
		readonly clock: DeadlineClock;
		readonly options: TlsManagerOptions;
	} {
		return {reactor: this.#reactor, clock: this.#clock, options: this.#options};
	}

	/** For connections only: there is no talking to the server. */
	failed(why: string): void {
		warning(`problem talking to server ${this.#options.path}: ${why}`);
		this.#pausedUntil = now() + PAUSE;
		this.#drop();
	}

	#ask<Value>(
		bytes: Uint8Array,
		parse: (reply: AttributeList) => Value | undefined,
		done: (value: Value | undefined) => void,
	): void {
		if (now() < this.#pausedUntil || this.#queue.size >= QUEUE_LIMIT) {
			done(undefined);
			return;
		}

		let open = true;
		const answer = (reply: AttributeList | undefined): void => {
			if (open) {
				open = false;
				job.deadline[Symbol.dispose]();
				done(reply === undefined ? undefined : this.#parsed(parse, reply));
			}
		};
		const job: Job = {
			bytes,
			answer,
			deadline: this.#clock.deadline(() => {
				/* Whether it still waits, or has been sent and nothing comes back. */
				this.#queue.delete(job);
				answer(undefined);
			}),
		};
		job.deadline.arm(ANSWER_LIMIT);
		this.#queue.add(job);
		const line = this.#lines.find(one => one.idle) ?? this.#lines.find(one => one.closed);
		line?.next();
	}

	#parsed<Value>(
		parse: (reply: AttributeList) => Value | undefined,
		reply: AttributeList,
	): Value | undefined {
		try {
			return parse(reply);
		} catch (reason) {
			if (reason instanceof PeerError) {
				warning(`problem talking to server ${this.#options.path}: ${reason.message}`);
				return undefined;
			}

			throw reason;
		}
	}

	#drop(): void {
		const jobs = [...this.#queue];
		this.#queue.clear();
		for (const job of jobs) {
			job.answer(undefined);
		}
	}
}

/* One connection, when there is one. */
class Line {
	readonly #manager: TlsManager;
	readonly #idleLimit: Deadline;
	readonly #silence: Deadline;
	#resources: DisposableStack | undefined;
	#fd: Fd | undefined;
	#framer = new AttributeFramer();
	#greeted = false;
	#job: Job | undefined;

	constructor(manager: TlsManager) {
		this.#manager = manager;
		const {clock} = manager.parts;
		this.#idleLimit = clock.deadline(() => this.close());
		/* The reply to a request that nobody waits for any more would be taken for that to the next. */
		this.#silence = clock.deadline(() => this.#fail('Connection timed out'));
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
		if (this.#fd === undefined && !this.#connect()) {
			return;
		}

		if (!this.#greeted || this.#job !== undefined || this.#fd === undefined) {
			return;
		}

		const {idle} = this.#manager.parts.options;
		const job = this.#manager.take();
		this.#job = job;
		if (job === undefined) {
			this.#silence[Symbol.dispose]();
			this.#idleLimit.arm(idle);
			return;
		}

		this.#idleLimit[Symbol.dispose]();
		this.#silence.arm(ANSWER_LIMIT);
		/* Requests are small, and the buffer of the socket is empty: anything else is a failure. */
		if (writeStream(this.#fd, job.bytes, job.bytes.length) !== job.bytes.length) {
			this.#fail('Broken pipe');
		}
	}

	close(): void {
		this.#idleLimit[Symbol.dispose]();
		this.#silence[Symbol.dispose]();
		this.#fd = undefined;
		this.#resources?.dispose();
		this.#resources = undefined;
		const job = this.#job;
		this.#job = undefined;
		job?.answer(undefined);
	}

	#connect(): boolean {
		const {reactor, options} = this.#manager.parts;
		const connected = connectUnix(options.path);
		if (typeof connected === 'string') {
			this.#manager.failed(connected);
			return false;
		}

		const resources = new DisposableStack();
		const fd = resources.use(connected).value;
		this.#resources = resources;
		this.#fd = fd;
		this.#framer = new AttributeFramer();
		this.#greeted = !options.greeting;
		this.#silence.arm(ANSWER_LIMIT);
		resources.use(
			reactor.watch(fd, {
				ready: readable => {
					if (readable) {
						this.#receive();
					}
				},
				fault: reason => this.#fail(reason instanceof Error ? reason.message : String(reason)),
			}),
		);
		return true;
	}

	#receive(): void {
		while (this.#fd !== undefined) {
			const size = readStream(this.#fd);
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
		if (job === undefined) {
			throw new PeerError('a reply that nobody asked for');
		}

		this.#job = undefined;
		job.answer(list);
		this.next();
	}

	/* tlsmgr(8) ends when it was idle for long; that is in order as long as nothing was asked. */
	#ended(why: string): void {
		if (this.#job === undefined && this.#greeted) {
			this.close();
		} else {
			this.#fail(why);
		}
	}

	#fail(why: string): void {
		this.close();
		this.#manager.failed(why);
	}
}
