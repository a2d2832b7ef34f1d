/*++
/* NAME
/*	session-cache 3
/* SUMMARY
/*	the TLS sessions that this process caches
/* DESCRIPTION
/*	tlsmgr(8) stores one session per key for all processes, and a
/*	lookup costs a round trip. This cache is searched first. It stores
/*	a few sessions per key: a TLS 1.3 ticket is offered once, and
/*	several connections to one server can start at the same time.
/*
/*	Keys are narrower than those that processes share: they also
/*	contain the SSL_CTX, and with it the client certificate, and the
/*	server name that is sent. The number of keys is limited; the least
/*	recently used key is dropped.
/*
/*	The cache owns its sessions and disposes each one that it drops. A
/*	session that is taken belongs to the caller.
/*--*/

import {Lru} from '../../base/lru.ts';
import type {Milliseconds} from '../../base/units.ts';

/** Sessions under one key. Servers usually send two tickets. */
const SESSIONS_PER_KEY = 4;

/** The part of a session that the cache needs: stored-session(3). */
export interface CacheableSession<Session> extends Disposable {
	/** A ticket that may be offered only once. */
	readonly singleUse: boolean;
	/** A copy, which the caller owns; undefined if there is no memory for it. */
	copy(): Session | undefined;
}

interface Entry<Session> {
	readonly session: Session;
	/** Milliseconds, on the clock of the cache. */
	readonly expires: number;
}

/** A bounded cache of sessions, which it owns. Disposal disposes them. */
export class SessionCache<Session extends CacheableSession<Session>> implements Disposable {
	readonly #lifetime: Milliseconds;
	readonly #now: () => number;
	/* The sessions of each key, oldest first. */
	readonly #sessions: Lru<string, ReadonlyArray<Entry<Session>>>;

	/**
	 * @param limit - number of keys.
	 * @param lifetime - of a session.
	 * @param now - a clock, in milliseconds.
	 */
	constructor(limit: number, lifetime: Milliseconds, now: () => number) {
		this.#lifetime = lifetime;
		this.#now = now;
		this.#sessions = new Lru(limit, entries => release(entries));
	}

	/** Number of keys. */
	get size(): number {
		return this.#sessions.size;
	}

	/** Adds a session, which the cache owns from then on. */
	put(key: string, session: Session): void {
		const stored = this.#sessions.take(key) ?? [];
		/* A session that may be offered more than once replaces all earlier ones. */
		const surplus = session.singleUse ? stored.length - (SESSIONS_PER_KEY - 1) : stored.length;
		const dropped = Math.max(surplus, 0);
		release(stored.slice(0, dropped));
		this.#sessions.set(key, [...stored.slice(dropped), {session, expires: this.#now() + this.#lifetime}]);
	}

	/** Drops all sessions of a key. */
	delete(key: string): void {
		this.#sessions.delete(key);
	}

	/**
	 * The newest session of a key, which the caller owns. A session that may be offered only once leaves the
	 * cache; of any other the result is a copy.
	 */
	take(key: string): Session | undefined {
		const stored = this.#sessions.take(key);
		if (stored === undefined) {
			return undefined;
		}

		const now = this.#now();
		release(stored.filter(({expires}) => expires <= now));
		const valid = stored.filter(({expires}) => expires > now);
		const newest = valid.at(-1)?.session;
		const rest = newest?.singleUse === true ? valid.slice(0, -1) : valid;
		if (rest.length > 0) {
			this.#sessions.set(key, rest);
		}

		return newest?.singleUse === false ? newest.copy() : newest;
	}

	[Symbol.dispose](): void {
		this.#sessions[Symbol.dispose]();
	}
}

function release(entries: ReadonlyArray<Entry<Disposable>>): void {
	for (const {session} of entries) {
		session[Symbol.dispose]();
	}
}
