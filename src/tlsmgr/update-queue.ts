/*++
/* NAME
/*	update-queue 3
/* SUMMARY
/*	limits how often sessions are stored with tlsmgr(8)
/* DESCRIPTION
/*	tlsmgr(8) stores the newest session of a key, for other processes.
/*	A server that receives much mail issues hundreds of sessions. To
/*	store each of them costs a round trip and CPU time in two
/*	processes, although most are replaced before any lookup.
/*
/*	So the first session of a key is stored immediately, and later only
/*	the newest one, once per second. A process that crashes loses the
/*	sessions of its last second; an earlier session remains with
/*	tlsmgr(8).
/*
/*	There is at most one pending request per key, because requests on
/*	the two connections to tlsmgr(8) may overtake each other. A newer
/*	update or removal replaces one that waits, because its result does
/*	not depend on the previous state.
/* SEE ALSO
/*	tlsmgr-client(3)
/*--*/

import {cacheKey} from '../base/cache-key.ts';
import type {Milliseconds} from '../base/units.ts';
import type {Deadline, DeadlineClock} from '../event/deadline.ts';
import type {TlsmgrClient} from './tlsmgr-client.ts';

/** Between two updates of one key. */
const UPDATE_INTERVAL = 1000 as Milliseconds;
/** Keys whose sessions wait: some megabytes of memory. Sessions of further keys are stored immediately. */
const KEY_LIMIT = 500;
/** For the requests at process end. tlsmgr(8) replies within a millisecond, unless it has a problem. */
const FLUSH_TIMEOUT = 1000 as Milliseconds;

/** A session to be stored: stored-session(3). */
export interface Storable extends Disposable {
	/** The encoded session; undefined if it cannot be encoded. */
	bytes(): Uint8Array | undefined;
}

const REMOVAL = 'removal';

/* The state of one key. It exists while a request is pending, waits, or has been sent within the interval. */
interface KeyState {
	/** In the map of keys. */
	readonly key: string;
	readonly cacheType: string;
	readonly cacheId: string;
	/** Expires {@link UPDATE_INTERVAL} after an update. */
	readonly interval: Deadline;
	intervalRunning: boolean;
	requestPending: boolean;
	/** The next request; a session is owned. */
	next: Storable | typeof REMOVAL | undefined;
	/** The next request does not wait for the end of the interval. */
	urgent: boolean;
}

/** Updates for tlsmgr(8). Disposal disposes the sessions that wait, and sends no further requests. */
export class UpdateQueue implements Disposable {
	readonly #tlsmgr: Pick<TlsmgrClient, 'update' | 'delete'>;
	readonly #clock: DeadlineClock;
	readonly #states = new Map<string, KeyState>();
	/* Called when the flush is complete. */
	#flushed: (() => void) | undefined;

	/** @param tlsmgr - borrowed. */
	constructor(tlsmgr: Pick<TlsmgrClient, 'update' | 'delete'>, clock: DeadlineClock) {
		this.#tlsmgr = tlsmgr;
		this.#clock = clock;
	}

	/** Stores a session immediately or after the interval. Owns the session. */
	update(cacheType: string, cacheId: string, session: Storable): void {
		const state = this.#state(cacheType, cacheId);
		/* A session that replaces a waiting removal is urgent, too: tlsmgr(8) still has the removed session. */
		state.urgent ||= state.next === REMOVAL || this.#states.size > KEY_LIMIT;
		setNext(state, session);
		this.#sendNext(state);
	}

	/** Removes the stored session and the waiting one. */
	delete(cacheType: string, cacheId: string): void {
		const state = this.#state(cacheType, cacheId);
		state.urgent = true;
		setNext(state, REMOVAL);
		this.#sendNext(state);
	}

	/**
	 * Sends all waiting requests. Calls `done` once: when they are complete, or after {@link FLUSH_TIMEOUT}. Must
	 * be called only once.
	 */
	flush(done: () => void): void {
		for (const state of this.#states.values()) {
			state.urgent = true;
			this.#sendNext(state);
		}

		const timeout = this.#clock.deadline(() => this.#endFlush());
		timeout.arm(FLUSH_TIMEOUT);
		/* Set after all requests are sent: one that completes during the call must not end the flush. */
		this.#flushed = () => {
			timeout[Symbol.dispose]();
			done();
		};
		this.#endFlushIfIdle();
	}

	[Symbol.dispose](): void {
		for (const state of this.#states.values()) {
			setNext(state, undefined);
			state.interval[Symbol.dispose]();
		}

		this.#states.clear();
	}

	#state(cacheType: string, cacheId: string): KeyState {
		const key = cacheKey(cacheType, cacheId);
		const found = this.#states.get(key);
		if (found !== undefined) {
			return found;
		}

		const state: KeyState = {
			key,
			cacheType,
			cacheId,
			interval: this.#clock.deadline(() => {
				state.intervalRunning = false;
				this.#sendNext(state);
			}),
			intervalRunning: false,
			requestPending: false,
			next: undefined,
			urgent: false,
		};
		this.#states.set(key, state);
		return state;
	}

	/* Sends the next request, unless it must wait. */
	#sendNext(state: KeyState): void {
		if (state.requestPending) {
			return;
		}

		const {next} = state;
		if (next === undefined) {
			if (!state.intervalRunning) {
				this.#states.delete(state.key);
			}

			return;
		}

		if (state.intervalRunning && !state.urgent) {
			return;
		}

		state.next = undefined;
		state.urgent = false;
		state.requestPending = true;
		const completed = (): void => {
			state.requestPending = false;
			this.#sendNext(state);
			this.#endFlushIfIdle();
		};
		if (next === REMOVAL) {
			/* The next session is stored immediately, like a first one. */
			state.intervalRunning = false;
			state.interval[Symbol.dispose]();
			this.#tlsmgr.delete(state.cacheType, state.cacheId, completed);
			return;
		}

		state.intervalRunning = true;
		state.interval.arm(UPDATE_INTERVAL);
		const bytes = next.bytes();
		next[Symbol.dispose]();
		if (bytes === undefined) {
			completed();
		} else {
			this.#tlsmgr.update(state.cacheType, state.cacheId, bytes, completed);
		}
	}

	#endFlushIfIdle(): void {
		if (this.#flushed !== undefined && this.#states.values().every(({requestPending}) => !requestPending)) {
			this.#endFlush();
		}
	}

	#endFlush(): void {
		const flushed = this.#flushed;
		this.#flushed = undefined;
		flushed?.();
	}
}

function setNext(state: KeyState, next: KeyState['next']): void {
	if (state.next !== undefined && state.next !== REMOVAL) {
		state.next[Symbol.dispose]();
	}

	state.next = next;
}
