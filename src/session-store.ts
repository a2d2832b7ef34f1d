/*++
/* NAME
/*	session-store 3
/* SUMMARY
/*	sessions that servers give us: those of this process, and tlsmgr(8)
/* DESCRIPTION
/*	tlsmgr(8) says whether sessions of a cache type are kept at all,
/*	and for how long. If so, what a server gives us is kept in this
/*	process and, sooner or later, with tlsmgr(8), and looked for in
/*	that order.
/*--*/

import {cacheKey} from './base/cache-key.ts';
import {type DeadlineClock, now} from './event/deadline.ts';
import type {KeptSession} from './tls/kept-session.ts';
import {ParsedSessions} from './tls/parsed-sessions.ts';
import {parseSession, type Resumption, type SessionKeeper} from './tls/resumption.ts';
import {SessionCache} from './tls/session-cache.ts';
import type {TlsManager} from './tlsmgr/client.ts';
import {LateUpdates} from './tlsmgr/late-updates.ts';
import {cachePolicy} from './tlsmgr/policy.ts';
import {type Seconds, toMilliseconds} from './units.ts';
import type {Profile} from './wire/release.ts';

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
export class SessionStore implements SessionKeeper, Disposable {
	readonly digestLists: boolean;
	readonly #manager: TlsManager;
	readonly #updates: LateUpdates;
	readonly #parsed = new ParsedSessions(PARSED_LIMIT, parseSession);
	readonly #caches = new Map<string, {readonly timeout: Seconds; readonly own: SessionCache<KeptSession>}>();

	/** @param manager - borrowed. */
	constructor(manager: TlsManager, clock: DeadlineClock, {digestLists}: Profile) {
		this.#manager = manager;
		this.#updates = new LateUpdates(manager, clock);
		this.digestLists = digestLists;
	}

	/** Learns which sessions are kept. Until then, and when nobody can tell, none are. */
	async learn(): Promise<void> {
		await Promise.all(
			cacheTypes.map(async type => {
				const policy = await cachePolicy(this.#manager, type);
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

	find({cacheType, key, ownKey}: Resumption, done: (session: KeptSession | undefined) => void): void {
		const own = this.#caches.get(cacheType)?.own.take(ownKey);
		if (own === undefined) {
			this.#manager.lookup(cacheType, key, bytes =>
				done(bytes === undefined ? undefined : this.#parsed.parse(cacheKey(cacheType, key), bytes)),
			);
		} else {
			done(own);
		}
	}

	keep({cacheType, key, ownKey}: Resumption, session: KeptSession): void {
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

	forget({cacheType, key, ownKey}: Resumption): void {
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
