/*++
/* NAME
/*	update-queue 3
/* SUMMARY
/*	stores sessions with tlsmgr(8) as often as others have use for them
/* DESCRIPTION
/*	tlsmgr(8) keeps the newest session of a name, for processes that
/*	have none. A server that gets much mail gives sessions by the
/*	hundred, each of which took the place of the last before anybody
/*	had asked for it, at the expense of a round trip and of the CPU
/*	time of two processes.
/*
/*	So the first session of a name is stored at once, and of those that
/*	follow the newest, once a second. A process that ends without a
/*	word takes the sessions of its last second along; one before them
/*	is with tlsmgr(8).
/*
/*	About one name there is one request at a time: tlsmgr(8) has
/*	several connections, and what is asked on one may be overtaken by
/*	what is asked on another. Of what waits for its turn only the last
/*	counts, be it to store or to remove: either leaves nothing of what
/*	was there before.
/* SEE ALSO
/*	client(3)
/*--*/

import {cacheKey} from '../base/cache-key.ts';
import type {Milliseconds} from '../base/units.ts';
import type {Deadline, DeadlineClock} from '../event/deadline.ts';
import type {TlsmgrClient} from './tlsmgr-client.ts';

/** Time between two sessions of one name. */
const INTERVAL = 1000 as Milliseconds;
/** Names whose sessions wait, at most: some megabytes of them. Those of further names are stored at once. */
const NAME_LIMIT = 500;
/** Time for what is left at the end. tlsmgr(8) answers within a millisecond, or is in trouble. */
const FLUSH_LIMIT = 1000 as Milliseconds;

/** A session to be stored: stored-session(3). */
export interface Storable extends Disposable {
	/** As it is stored; undefined when it cannot be. */
	bytes(): Uint8Array | undefined;
}

const REMOVAL = 'removal';

/* One name. It is there while there is anything to know about it. */
interface Name {
	readonly key: string;
	readonly cacheType: string;
	readonly cacheId: string;
	/** Runs from one session to the next. */
	readonly pause: Deadline;
	pausing: boolean;
	/** A request is open. */
	asking: boolean;
	/** What is next. */
	next: Storable | typeof REMOVAL | undefined;
	/** It does not wait for the end of the pause. */
	urgent: boolean;
}

/** What is on its way to tlsmgr(8). Disposal disposes the sessions that wait, and asks nothing more. */
export class UpdateQueue implements Disposable {
	readonly #tlsmgr: Pick<TlsmgrClient, 'update' | 'delete'>;
	readonly #clock: DeadlineClock;
	readonly #names = new Map<string, Name>();
	#flushed: (() => void) | undefined;

	/** @param manager - borrowed. */
	constructor(tlsmgr: Pick<TlsmgrClient, 'update' | 'delete'>, clock: DeadlineClock) {
		this.#tlsmgr = tlsmgr;
		this.#clock = clock;
	}

	/** Stores a session, now or soon, and owns it from here on. */
	update(cacheType: string, cacheId: string, session: Storable): void {
		const name = this.#name(cacheType, cacheId);
		/* That of a removal which has not begun: the session that was to be removed is still there. */
		name.urgent ||= name.next === REMOVAL || this.#names.size > NAME_LIMIT;
		replace(name, session);
		this.#go(name);
	}

	/** Removes what is stored and what waits. */
	delete(cacheType: string, cacheId: string): void {
		const name = this.#name(cacheType, cacheId);
		name.urgent = true;
		replace(name, REMOVAL);
		this.#go(name);
	}

	/** Stores all that waits. Calls `done` once: when that has been answered, or soon. To be called once. */
	flush(done: () => void): void {
		for (const name of this.#names.values()) {
			name.urgent = true;
			this.#go(name);
		}

		const limit = this.#clock.deadline(() => this.#settle());
		limit.arm(FLUSH_LIMIT);
		/* Not before all is asked: what is answered at once would be the end of it. */
		this.#flushed = () => {
			limit[Symbol.dispose]();
			done();
		};
		this.#settleIfQuiet();
	}

	[Symbol.dispose](): void {
		for (const name of this.#names.values()) {
			replace(name, undefined);
			name.pause[Symbol.dispose]();
		}

		this.#names.clear();
	}

	#name(cacheType: string, cacheId: string): Name {
		const key = cacheKey(cacheType, cacheId);
		const known = this.#names.get(key);
		if (known !== undefined) {
			return known;
		}

		const name: Name = {
			key,
			cacheType,
			cacheId,
			pause: this.#clock.deadline(() => {
				name.pausing = false;
				this.#go(name);
			}),
			pausing: false,
			asking: false,
			next: undefined,
			urgent: false,
		};
		this.#names.set(key, name);
		return name;
	}

	/* Asks what is next, if it is time. */
	#go(name: Name): void {
		if (name.asking) {
			return;
		}

		const {next} = name;
		if (next === undefined) {
			if (!name.pausing) {
				this.#names.delete(name.key);
			}

			return;
		}

		if (name.pausing && !name.urgent) {
			return;
		}

		name.next = undefined;
		name.urgent = false;
		name.asking = true;
		const answered = (): void => {
			name.asking = false;
			this.#go(name);
			this.#settleIfQuiet();
		};
		if (next === REMOVAL) {
			/* The next session is a first one. */
			name.pausing = false;
			name.pause[Symbol.dispose]();
			this.#tlsmgr.delete(name.cacheType, name.cacheId, answered);
			return;
		}

		name.pausing = true;
		name.pause.arm(INTERVAL);
		const bytes = next.bytes();
		next[Symbol.dispose]();
		if (bytes === undefined) {
			answered();
		} else {
			this.#tlsmgr.update(name.cacheType, name.cacheId, bytes, answered);
		}
	}

	#settleIfQuiet(): void {
		if (this.#flushed !== undefined && this.#names.values().every(({asking}) => !asking)) {
			this.#settle();
		}
	}

	#settle(): void {
		const flushed = this.#flushed;
		this.#flushed = undefined;
		flushed?.();
	}
}

function replace(name: Name, next: Name['next']): void {
	if (name.next !== undefined && name.next !== REMOVAL) {
		name.next[Symbol.dispose]();
	}

	name.next = next;
}
