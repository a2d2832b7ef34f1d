/*++
/* NAME
/*	tlsmgr-client 3
/* SUMMARY
/*	asks tlsmgr(8), without waiting
/* DESCRIPTION
/*	tlsmgr(8) answers one request per connection at a time. Requests
/*	wait in a queue for one of two connections.
/*
/*	What is asked here makes handshakes cheaper, and nothing else. So
/*	whoever asks is answered soon, and when tlsmgr(8) is slow, dead or
/*	talks nonsense, the answer is that there is nothing. What a
/*	handshake waits for has a second; all else has five.
/*
/*	After a failure all that is open is answered with nothing, and the
/*	server is left alone: for a second, and for twice as long after
/*	each further failure, up to a minute, until it has answered again.
/*	Until then the answer is nothing, at once.
/*
/*	Answers are given once, later or at once. The functions that get
/*	them may ask again, and must not throw.
/* DIAGNOSTICS
/*	A warning for each failure to talk to the server, and one per
/*	minute when requests are dropped; never an error.
/* SEE ALSO
/*	postfix src/tls/tls_mgr.c, src/util/attr_clnt.c
/*--*/

import {PeerError} from '../base/errors.ts';
import type {Milliseconds} from '../base/units.ts';
import {type DeadlineClock, now} from '../event/deadline.ts';
import type {Reactor} from '../event/reactor.ts';
import {warning} from '../log/log.ts';
import type {AttributeList} from '../wire/attribute-list.ts';
import type {TicketKey} from '../wire/ticket-key.ts';
import {
	type CachePolicy,
	parseDone,
	parseLookup,
	parsePolicy,
	parseTicketKey,
	printDelete,
	printLookup,
	printPolicy,
	printTicketKey,
	printUpdate,
	SESSION_LIMIT,
} from './message.ts';
import {
	TlsmgrConnection,
	type TlsmgrConnectionOptions,
	type TlsmgrConnectionOwner,
	type TlsmgrRequest,
} from './tlsmgr-connection.ts';
import {problemLine} from './warnings.ts';

/** Time for what a peer waits for. smtp(8) waits ten seconds for us, and has other things to wait for. */
const LOOKUP_LIMIT = 1000 as Milliseconds;
/** Time for any other request. */
const REQUEST_LIMIT = 5000 as Milliseconds;
/** Requests that wait, at most; beyond that there is nothing to gain by asking. */
const QUEUE_LIMIT = 1000;
const CONNECTIONS = 2;
/** Time without questions after a failure: the shortest and the longest. */
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 60_000;
/** Time between two warnings about a full queue. */
const WARNING_INTERVAL = 60_000;

/** Where tlsmgr(8) is, and how it talks. */
export type TlsmgrClientOptions = Omit<TlsmgrConnectionOptions, 'reactor' | 'clock'>;

type Done<Value> = (value: Value | undefined) => void;

/** A client of tlsmgr(8). Disposal closes its connections, and answers what is open and all that is asked later. */
export class TlsmgrClient implements Disposable {
	readonly #clock: DeadlineClock;
	readonly #path: string;
	readonly #queue = new Set<TlsmgrRequest>();
	readonly #lines: readonly TlsmgrConnection[];
	#disposed = false;
	#pausedUntil = 0;
	#nextPause = FIRST_PAUSE;
	#warnedAt = -WARNING_INTERVAL;

	constructor(reactor: Reactor, clock: DeadlineClock, options: TlsmgrClientOptions) {
		this.#clock = clock;
		this.#path = options.path;
		const queue = this.#queue;
		const owner: TlsmgrConnectionOwner = {
			take() {
				const [job] = queue;
				if (job !== undefined) {
					queue.delete(job);
				}

				return job;
			},
			get waiting() {
				return queue.size > 0;
			},
			failed: why => this.#failed(why),
		};
		this.#lines = Array.from(
			{length: CONNECTIONS},
			() => new TlsmgrConnection(owner, {...options, reactor, clock}),
		);
	}

	/** Looks a session up: undefined when there is none, or when nobody can tell. */
	lookup(cacheType: string, cacheId: string, done: Done<Uint8Array>): void {
		this.#ask(printLookup(cacheType, cacheId), parseLookup, done, LOOKUP_LIMIT);
	}

	/** Stores a session; `done` hears whether it was. One that is too large to be looked up again is not. */
	update(
		cacheType: string,
		cacheId: string,
		session: Uint8Array,
		done: (stored: boolean) => void = () => undefined,
	): void {
		if (session.length > SESSION_LIMIT) {
			done(false);
			return;
		}

		this.#ask(printUpdate(cacheType, cacheId, session), parseDone, stored => done(stored === true));
	}

	/** Removes a session; `done` hears whether there was one. */
	delete(cacheType: string, cacheId: string, done: (removed: boolean) => void = () => undefined): void {
		this.#ask(printDelete(cacheType, cacheId), parseDone, removed => done(removed === true));
	}

	/** Asks how long sessions are kept: undefined when nobody can tell. */
	policy(cacheType: string, done: Done<CachePolicy>): void {
		this.#ask(printPolicy(cacheType), parsePolicy, done);
	}

	/** @param name - the 16 bytes of a key that was used before; without, it is the key to issue tickets with. */
	ticketKey(name: Uint8Array | undefined, done: Done<TicketKey>): void {
		this.#ask(printTicketKey(name ?? new Uint8Array()), parseTicketKey, done, LOOKUP_LIMIT);
	}

	[Symbol.dispose](): void {
		this.#disposed = true;
		this.#drop();
	}

	#ask<Value>(
		bytes: Uint8Array,
		parse: (reply: AttributeList) => Value | undefined,
		done: Done<Value>,
		limit: Milliseconds = REQUEST_LIMIT,
	): void {
		if (this.#disposed || now() < this.#pausedUntil) {
			done(undefined);
			return;
		}

		if (this.#queue.size >= QUEUE_LIMIT) {
			this.#warnOfFullQueue();
			done(undefined);
			return;
		}

		let open = true;
		const deadline = this.#clock.deadline(() => {
			/* When it was this process that was busy, the answer is there: descriptors are looked at before that. */
			setImmediate(() => {
				if (open) {
					this.#failed('Connection timed out');
				}
			});
		});
		deadline.arm(limit);
		this.#queue.add({
			bytes,
			answer: reply => {
				open = false;
				deadline[Symbol.dispose]();
				done(reply === undefined ? undefined : this.#parsed(parse, reply));
			},
		});
		const line = this.#lines.find(one => one.idle) ?? this.#lines.find(one => one.closed);
		line?.next();
	}

	#parsed<Value>(
		parse: (reply: AttributeList) => Value | undefined,
		reply: AttributeList,
	): Value | undefined {
		try {
			const value = parse(reply);
			this.#nextPause = FIRST_PAUSE;
			return value;
		} catch (reason) {
			if (reason instanceof PeerError) {
				this.#failed(reason.message);
				return undefined;
			}

			throw reason;
		}
	}

	#failed(why: string): void {
		warning(problemLine(this.#path, why));
		this.#pausedUntil = now() + this.#nextPause;
		this.#nextPause = Math.min(2 * this.#nextPause, LONGEST_PAUSE);
		this.#drop();
	}

	/* Those who get an answer may ask again: by then it is known that there are no more. */
	#drop(): void {
		const jobs = [...this.#queue];
		this.#queue.clear();
		for (const line of this.#lines) {
			line.close();
		}

		for (const job of jobs) {
			job.answer(undefined);
		}
	}

	#warnOfFullQueue(): void {
		if (now() - this.#warnedAt >= WARNING_INTERVAL) {
			this.#warnedAt = now();
			warning(problemLine(this.#path, `${QUEUE_LIMIT} requests are waiting: sessions are not stored`));
		}
	}
}
