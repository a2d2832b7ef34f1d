/*++
/* NAME
/*	client-role-sessions 3
/* SUMMARY
/*	stores the TLS sessions of the client role
/* DESCRIPTION
/*	tlsmgr(8) determines whether sessions of a cache type are stored,
/*	and for how long. If so, a session from a server is stored in this
/*	process and, after a short delay, with tlsmgr(8). A lookup searches
/*	this process first.
/* SEE ALSO
/*	session-cache(3), decoded-sessions(3), update-queue(3)
/*--*/

import {cacheKey} from '../base/cache-key.ts';
import {type Seconds, toMilliseconds} from '../base/units.ts';
import type {ReleaseFeatures} from '../conf/release.ts';
import {type DeadlineClock, now} from '../event/deadline.ts';
import {decodeSession, type Resumption, type SessionStore} from '../tls/resume/client-resumption.ts';
import {DecodedSessionCache} from '../tls/resume/decoded-sessions.ts';
import {SessionCache} from '../tls/resume/session-cache.ts';
import type {StoredSession} from '../tls/resume/stored-session.ts';
import {cachePolicy} from '../tlsmgr/cache-policy.ts';
import type {TlsmgrClient} from '../tlsmgr/tlsmgr-client.ts';
import {UpdateQueue} from '../tlsmgr/update-queue.ts';

/**
 * Keys in the cache of this process, per cache type. The first session of a key takes 14 kilobytes, with a chain
 * of two certificates; the sessions that follow from it take one kilobyte each, because they share the chain.
 * The total is some megabytes.
 */
const CACHED_KEY_LIMIT = 200;
/** Keys whose last session from tlsmgr(8) is cached in decoded form, with four kilobytes each. */
const DECODED_KEY_LIMIT = 100;

/** The cache types of the client role: those of smtp(8) and lmtp(8). */
const cacheTypes = ['smtp', 'lmtp'] as const;

/* The sessions of a cache type. */
interface LocalCache {
	readonly timeout: Seconds;
	readonly sessions: SessionCache<StoredSession>;
}

/** Stores sessions, which it owns. Disposal disposes them. */
export class ClientRoleSessions implements SessionStore, Disposable {
	readonly digestLists: boolean;
	readonly #tlsmgr: TlsmgrClient;
	readonly #updates: UpdateQueue;
	readonly #decoded = new DecodedSessionCache(DECODED_KEY_LIMIT, decodeSession);
	readonly #caches = new Map<string, LocalCache>();

	/** @param tlsmgr - borrowed. */
	constructor(tlsmgr: TlsmgrClient, clock: DeadlineClock, {digestLists}: ReleaseFeatures) {
		this.#tlsmgr = tlsmgr;
		this.#updates = new UpdateQueue(tlsmgr, clock);
		this.digestLists = digestLists;
	}

	/** Asks tlsmgr(8) which sessions are stored. Until the reply, and without a reply, no session is stored. */
	async loadCachePolicies(): Promise<void> {
		await Promise.all(
			cacheTypes.map(async type => {
				const policy = await cachePolicy(this.#tlsmgr, type);
				if (policy?.cachable === true) {
					const {timeout} = policy;
					this.#caches.set(type, {
						timeout,
						sessions: new SessionCache(CACHED_KEY_LIMIT, toMilliseconds(timeout), now),
					});
				}
			}),
		);
	}

	/** How long sessions of a type are stored; undefined if they are not stored. */
	timeoutOf(cacheType: string): Seconds | undefined {
		return this.#caches.get(cacheType)?.timeout;
	}

	find(
		{cacheType, key, localCacheKey}: Resumption,
		done: (session: StoredSession | undefined) => void,
	): void {
		const session = this.#caches.get(cacheType)?.sessions.take(localCacheKey);
		if (session !== undefined) {
			done(session);
			return;
		}

		this.#tlsmgr.lookup(cacheType, key, bytes =>
			done(bytes === undefined ? undefined : this.#decoded.decode(cacheKey(cacheType, key), bytes)),
		);
	}

	store({cacheType, key, localCacheKey}: Resumption, session: StoredSession): void {
		const copy = session.copy();
		if (copy !== undefined) {
			this.#updates.update(cacheType, key, copy);
		}

		const sessions = this.#caches.get(cacheType)?.sessions;
		if (sessions === undefined) {
			session[Symbol.dispose]();
		} else {
			sessions.put(localCacheKey, session);
		}
	}

	remove({cacheType, key, localCacheKey}: Resumption): void {
		this.#caches.get(cacheType)?.sessions.delete(localCacheKey);
		this.#updates.delete(cacheType, key);
	}

	/** Sends all pending updates to tlsmgr(8). Calls `done` when they are complete, or after a time limit. */
	flush(done: () => void): void {
		this.#updates.flush(done);
	}

	[Symbol.dispose](): void {
		this.#updates[Symbol.dispose]();
		this.#decoded[Symbol.dispose]();
		for (const {sessions} of this.#caches.values()) {
			sessions[Symbol.dispose]();
		}
	}
}
