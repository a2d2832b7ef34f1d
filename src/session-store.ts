/*++
/* NAME
/*	session-store 3
/* SUMMARY
/*	sessions that servers give us: those of this process, and tlsmgr(8)
/* DESCRIPTION
/*	tlsmgr(8) says whether sessions of a cache type are kept at all,
/*	and for how long. If so, what a server gives us is kept in this
/*	process and with tlsmgr(8), and looked for in that order.
/*--*/

import {now} from './event/deadline.ts';
import type {KeptSession} from './tls/kept-session.ts';
import {parseSession, type Resumption, type SessionKeeper} from './tls/resumption.ts';
import {SessionCache} from './tls/session-cache.ts';
import type {TlsManager} from './tlsmgr/client.ts';
import {cachePolicy} from './tlsmgr/policy.ts';
import {type Seconds, toMilliseconds} from './units.ts';
import type {Profile} from './wire/release.ts';

/**
 * Names of sessions in this process. The first session of a name has 14 kilobytes, with a chain of two
 * certificates; those that follow from it have one each, as they share the chain. Some megabytes together.
 */
const NAME_LIMIT = 200;

/** The cache types of the client role: those of its clients. */
const cacheTypes = ['smtp', 'lmtp'] as const;

/** Keeps sessions. */
export class SessionStore implements SessionKeeper {
	readonly digestLists: boolean;
	readonly #manager: TlsManager;
	readonly #caches = new Map<string, {readonly timeout: Seconds; readonly own: SessionCache<KeptSession>}>();

	/** @param manager - borrowed. */
	constructor(manager: TlsManager, {digestLists}: Profile) {
		this.#manager = manager;
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
				done(bytes === undefined ? undefined : parseSession(bytes)),
			);
		} else {
			done(own);
		}
	}

	keep({cacheType, key, ownKey}: Resumption, session: KeptSession): void {
		const bytes = session.bytes();
		if (bytes !== undefined) {
			this.#manager.update(cacheType, key, bytes);
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
		this.#manager.delete(cacheType, key);
	}
}
