/*++
/* NAME
/*	client-role-sessions 3
/* SUMMARY
/*	sessions that servers give us: those of this process, and tlsmgr(8)
/* DESCRIPTION
/*	tlsmgr(8) says whether sessions of a cache type are kept at all,
/*	and for how long. If so, what a server gives us is kept in this
/*	process and, sooner or later, with tlsmgr(8), and looked for in
/*	that order.
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
 * Names of sessions in this process. The first session of a name has 14 kilobytes, with a chain of two
 * certificates; those that follow from it have one each, as they share the chain. Some megabytes together.
 */
const NAME_LIMIT = 200;
/** Names whose last session from tlsmgr(8) this process remembers, with four kilobytes each. */
const PARSED_LIMIT = 100;

/** The cache types of the client role: those of its clients. */
const cacheTypes = ['smtp', 'lmtp'] as const;

/** Keeps sessions. Disposal disposes them. */
export class ClientRoleSessions implements SessionStore, Disposable {
	readonly digestLists: boolean;
	readonly #tlsmgr: TlsmgrClient;
	readonly #updates: UpdateQueue;
	readonly #parsed = new DecodedSessionCache(PARSED_LIMIT, decodeSession);
	readonly #caches = new Map<
		string,
		{readonly timeout: Seconds; readonly own: SessionCache<StoredSession>}
	>();

	/** @param manager - borrowed. */
	constructor(tlsmgr: TlsmgrClient, clock: DeadlineClock, {digestLists}: ReleaseFeatures) {
		this.#tlsmgr = tlsmgr;
		this.#updates = new UpdateQueue(tlsmgr, clock);
		this.digestLists = digestLists;
	}

	/** Learns which sessions are kept. Until then, and when nobody can tell, none are. */
	async loadCachePolicies(): Promise<void> {
		await Promise.all(
			cacheTypes.map(async type => {
				const policy = await cachePolicy(this.#tlsmgr, type);
				if (policy?.cachable === true) {
					const {timeout} = policy;
					this.#caches.set(type, {
						timeout,
						own: new SessionCache(NAME_LIMIT, toMilliseconds(timeout), now),
					});
				}
			}),
		);
	}

	/** For how long sessions of a type are kept; undefined when they are not. */
	timeoutOf(cacheType: string): Seconds | undefined {
		return this.#caches.get(cacheType)?.timeout;
	}

	find(
		{cacheType, key, localCacheKey: ownKey}: Resumption,
		done: (session: StoredSession | undefined) => void,
	): void {
		const own = this.#caches.get(cacheType)?.own.take(ownKey);
		if (own === undefined) {
			this.#tlsmgr.lookup(cacheType, key, bytes =>
				done(bytes === undefined ? undefined : this.#parsed.parse(cacheKey(cacheType, key), bytes)),
			);
		} else {
			done(own);
		}
	}

	store({cacheType, key, localCacheKey: ownKey}: Resumption, session: StoredSession): void {
		const copy = session.copy();
		if (copy !== undefined) {
			this.#updates.update(cacheType, key, copy);
		}

		const own = this.#caches.get(cacheType)?.own;
		if (own === undefined) {
			session[Symbol.dispose]();
		} else {
			own.put(ownKey, session);
		}
	}

	remove({cacheType, key, localCacheKey: ownKey}: Resumption): void {
		this.#caches.get(cacheType)?.own.drop(ownKey);
		this.#updates.delete(cacheType, key);
	}

	/** Has tlsmgr(8) store what is not stored yet. Calls `done` soon, whatever becomes of it. */
	flush(done: () => void): void {
		this.#updates.flush(done);
	}

	[Symbol.dispose](): void {
		this.#updates[Symbol.dispose]();
		this.#parsed[Symbol.dispose]();
		for (const {own} of this.#caches.values()) {
			own[Symbol.dispose]();
		}
	}
}
