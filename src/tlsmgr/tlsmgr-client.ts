/*++
/* NAME
/*	tlsmgr-client 3
/* SUMMARY
/*	non-blocking client of tlsmgr(8)
/* DESCRIPTION
/*	tlsmgr(8) handles one request per connection at a time. Requests
/*	wait in a queue for one of two connections.
/*
/*	The replies only make handshakes cheaper. So every request
/*	completes soon: if tlsmgr(8) is slow, not running or sends invalid
/*	replies, the request completes without a result. The time limit is
/*	one second for a request that a handshake waits for, and five
/*	seconds for any other request.
/*
/*	After a failure all pending requests complete without a result, and
/*	no requests are sent for a second. This pause doubles with each
/*	further failure, up to a minute, until a valid reply arrives.
/*	During the pause new requests complete immediately without a
/*	result.
/*
/*	The callback of a request is called exactly once, during the call
/*	or later. It may make further requests, and must not throw.
/* DIAGNOSTICS
/*	A warning for each communication failure, and one per minute while
/*	requests are dropped. No method throws.
/* SEE ALSO
/*	postfix src/tls/tls_mgr.c, src/util/attr_clnt.c
/*--*/

import {PeerError} from '../base/errors.ts';
import type {Milliseconds} from '../base/units.ts';
import {type DeadlineClock, now} from '../event/deadline.ts';
import type {Reactor} from '../event/reactor.ts';
import {logException, warning} from '../log/log.ts';
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
import {requestFailed} from './warnings.ts';

/** For a request that a handshake waits for. smtp(8) waits ten seconds for this process, not only for the lookup. */
const LOOKUP_TIMEOUT = 1000 as Milliseconds;
/** For any other request. */
const REQUEST_TIMEOUT = 5000 as Milliseconds;
/** Requests in the queue. Further requests would get no reply in time. */
const QUEUE_LIMIT = 1000;
const CONNECTION_COUNT = 2;
/** Milliseconds without requests after the first failure, and at most. */
const PAUSE_MIN = 1000;
const PAUSE_MAX = 60_000;
/** Milliseconds between two warnings about a full queue. */
const WARNING_INTERVAL = 60_000;

/** The socket of tlsmgr(8), and its protocol. */
export type TlsmgrClientOptions = Omit<TlsmgrConnectionOptions, 'reactor' | 'clock'>;

type Done<Value> = (value: Value | undefined) => void;

/**
 * A client of tlsmgr(8). Disposal closes its connections; pending and later requests complete without a result.
 */
export class TlsmgrClient implements Disposable {
	readonly #clock: DeadlineClock;
	readonly #path: string;
	readonly #queue = new Set<TlsmgrRequest>();
	readonly #connections: readonly TlsmgrConnection[];
	#disposed = false;
	#pausedUntil = 0;
	#nextPause = PAUSE_MIN;
	#warnedAt = -WARNING_INTERVAL;

	constructor(reactor: Reactor, clock: DeadlineClock, options: TlsmgrClientOptions) {
		this.#clock = clock;
		this.#path = options.path;
		const queue = this.#queue;
		const owner: TlsmgrConnectionOwner = {
			take() {
				const [request] = queue;
				if (request !== undefined) {
					queue.delete(request);
				}

				return request;
			},
			get hasRequest() {
				return queue.size > 0;
			},
			failed: reason => this.#failed(reason),
		};
		this.#connections = Array.from(
			{length: CONNECTION_COUNT},
			() => new TlsmgrConnection(owner, {...options, reactor, clock}),
		);
	}

	/** Looks up a session: undefined if it was not found, or without a reply. */
	lookup(cacheType: string, cacheId: string, done: Done<Uint8Array>): void {
		this.#send(printLookup(cacheType, cacheId), parseLookup, done, LOOKUP_TIMEOUT);
	}

	/** Stores a session, unless it is larger than {@link SESSION_LIMIT}. `done` gets whether it was stored. */
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

		this.#send(printUpdate(cacheType, cacheId, session), parseDone, stored => done(stored === true));
	}

	/** Removes a session. `done` gets whether it was found. */
	delete(cacheType: string, cacheId: string, done: (removed: boolean) => void = () => undefined): void {
		this.#send(printDelete(cacheType, cacheId), parseDone, removed => done(removed === true));
	}

	/** Asks whether and how long sessions are stored: undefined without a reply. */
	policy(cacheType: string, done: Done<CachePolicy>): void {
		this.#send(printPolicy(cacheType), parsePolicy, done);
	}

	/**
	 * Asks for a ticket key.
	 *
	 * @param name - of the key that decrypts a ticket, 16 bytes; undefined: the key that new tickets are issued with.
	 */
	ticketKey(name: Uint8Array | undefined, done: Done<TicketKey>): void {
		this.#send(printTicketKey(name ?? new Uint8Array()), parseTicketKey, done, LOOKUP_TIMEOUT);
	}

	[Symbol.dispose](): void {
		this.#disposed = true;
		this.#abandonRequests();
	}

	#send<Value>(
		bytes: Uint8Array,
		parse: (reply: AttributeList) => Value | undefined,
		done: Done<Value>,
		timeout: Milliseconds = REQUEST_TIMEOUT,
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

		let pending = true;
		const deadline = this.#clock.deadline(() => {
			/* If this process was busy, the reply may have arrived. Descriptors are read before the immediate runs. */
			setImmediate(() => {
				if (pending) {
					this.#failed('Connection timed out');
				}
			});
		});
		deadline.arm(timeout);
		this.#queue.add({
			bytes,
			complete: reply => {
				pending = false;
				deadline[Symbol.dispose]();
				const value = reply === undefined ? undefined : this.#parse(parse, reply);
				/* An exception of one session must not reach others, or leave the connection in the middle of a reply. */
				try {
					done(value);
				} catch (reason) {
					logException(reason);
				}
			},
		});
		const connection =
			this.#connections.find(({idle}) => idle) ?? this.#connections.find(({closed}) => closed);
		connection?.next();
	}

	#parse<Value>(parse: (reply: AttributeList) => Value | undefined, reply: AttributeList): Value | undefined {
		try {
			const value = parse(reply);
			this.#nextPause = PAUSE_MIN;
			return value;
		} catch (reason) {
			if (reason instanceof PeerError) {
				this.#failed(reason.message);
				return undefined;
			}

			throw reason;
		}
	}

	#failed(reason: string): void {
		warning(requestFailed(this.#path, reason));
		this.#pausedUntil = now() + this.#nextPause;
		this.#nextPause = Math.min(2 * this.#nextPause, PAUSE_MAX);
		this.#abandonRequests();
	}

	/* A callback may make a request. By then the pause has begun or the client is disposed, so nothing is queued. */
	#abandonRequests(): void {
		const requests = [...this.#queue];
		this.#queue.clear();
		for (const connection of this.#connections) {
			connection.close();
		}

		for (const request of requests) {
			request.complete(undefined);
		}
	}

	#warnOfFullQueue(): void {
		if (now() - this.#warnedAt >= WARNING_INTERVAL) {
			this.#warnedAt = now();
			warning(requestFailed(this.#path, `${QUEUE_LIMIT} requests are waiting: sessions are not stored`));
		}
	}
}
