/*++
/* NAME
/*	session-cache 3
/* SUMMARY
/*	the TLS sessions that this process keeps
/* DESCRIPTION
/*	tlsmgr(8) keeps one session per name for all processes; to ask it
/*	costs a round trip. This cache stands in front of it, with a few
/*	sessions per name: a ticket of TLS 1.3 is offered once, and several
/*	connections to one server can begin at the same time.
/*
/*	Names here are narrower than those that processes share: they
/*	also tell apart who we are for the server, and the server name
/*	that is sent. It is bounded; what was not used for longest goes.
/*
/*	The cache owns what it keeps, and disposes each session that goes
/*	in any way but one: what was taken belongs to who has taken it.
/*--*/

import type {Milliseconds} from '../../base/units.ts';

/** Sessions under one name. Servers send two tickets, as a rule. */
const SESSIONS_PER_NAME = 4;

/** What the cache needs to know of a session: stored-session(3). */
export interface CacheableSession<Session> extends Disposable {
	/** A ticket that is to be offered once. */
	readonly singleUse: boolean;
	/** Another of the same; undefined when that is not possible. */
	copy(): Session | undefined;
}

interface Entry<Session> {
	readonly session: Session;
	readonly until: number;
}

/** Bounded store of sessions. Disposal disposes all that are in it. */
export class SessionCache<Session extends CacheableSession<Session>> implements Disposable {
	readonly #limit: number;
	readonly #lifetime: Milliseconds;
	readonly #now: () => number;
	readonly #entries = new Map<string, ReadonlyArray<Entry<Session>>>();

	/**
	 * @param limit - how many names are kept.
	 * @param lifetime - of a session.
	 * @param now - a clock, in milliseconds.
	 */
	constructor(limit: number, lifetime: Milliseconds, now: () => number) {
		this.#limit = limit;
		this.#lifetime = lifetime;
		this.#now = now;
	}

	/** Number of names. */
	get size(): number {
		return this.#entries.size;
	}

	/** Keeps a session, and owns it from here on. */
	put(name: string, session: Session): void {
		const found = this.#entries.get(name) ?? [];
		/* A session that can be offered again takes the place of all before it. */
		const gone = session.singleUse ? found.length - (SESSIONS_PER_NAME - 1) : found.length;
		release(found.slice(0, Math.max(gone, 0)));
		this.#entries.delete(name);
		this.#entries.set(name, [
			...found.slice(Math.max(gone, 0)),
			{session, until: this.#now() + this.#lifetime},
		]);
		for (const oldest of this.#entries.keys()) {
			if (this.#entries.size <= this.#limit) {
				break;
			}

			this.drop(oldest);
		}
	}

	/** Forgets all sessions of a name. */
	drop(name: string): void {
		release(this.#entries.get(name) ?? []);
		this.#entries.delete(name);
	}

	/**
	 * The newest session of a name, for the caller to own. One that is to be offered once is not here any
	 * more after that; of another it is a copy.
	 */
	take(name: string): Session | undefined {
		const found = this.#entries.get(name);
		if (found === undefined) {
			return undefined;
		}

		this.#entries.delete(name);
		const now = this.#now();
		release(found.filter(({until}) => until <= now));
		const good = found.filter(({until}) => until > now);
		const newest = good.at(-1)?.session;
		const rest = newest?.singleUse === true ? good.slice(0, -1) : good;
		if (rest.length > 0) {
			this.#entries.set(name, rest);
		}

		return newest?.singleUse === false ? newest.copy() : newest;
	}

	[Symbol.dispose](): void {
		for (const name of this.#entries.keys()) {
			this.drop(name);
		}
	}
}

function release(entries: ReadonlyArray<Entry<Disposable>>): void {
	for (const {session} of entries) {
		session[Symbol.dispose]();
	}
}
