/*++
/* NAME
/*	session-store 3
/* SUMMARY
/*	TLS sessions: first those of this process, then tlsmgr(8)
/* DESCRIPTION
/*	tlsmgr(8) says whether sessions of a cache type are kept at all,
/*	and for how long. If so, what a server gives us is kept in this
/*	process and with tlsmgr(8), and looked for in that order.
/*--*/

import type {DeadlineClock} from './event/deadline.ts';
import {now} from './event/deadline.ts';
import type {Reactor} from './event/reactor.ts';
import type {KeptSession, Resumption, SessionKeeper} from './tls/resumption.ts';
import {SessionCache} from './tls/session-cache.ts';
import {TlsManager} from './tlsmgr/client.ts';
import {type Milliseconds, type Seconds, toMilliseconds} from './units.ts';
import type {Profile} from './wire/release.ts';

/** Names of sessions in this process. A session has a few kilobytes. */
const NAME_LIMIT = 500;

/** Keeps sessions. */
export class SessionStore implements SessionKeeper {
	readonly digestLists: boolean;
	readonly #manager: TlsManager;
	readonly #caches = new Map<string, {readonly timeout: Seconds; readonly own: SessionCache}>();

	/** @param tlsmgr - name of its service, and how long a connection to it is kept. */
	constructor(
		reactor: Reactor,
		clock: DeadlineClock,
		{greeting, digestLists}: Profile,
		tlsmgr: {readonly service: string; readonly idle: Milliseconds},
	) {
		this.digestLists = digestLists;
		/* Relative, as it is the same in the jail and outside. */
		this.#manager = new TlsManager(reactor, clock, {
			path: `private/${tlsmgr.service}`,
			greeting,
			idle: tlsmgr.idle,
		});
	}

	/** Learns whether sessions of some types are kept. Until then, and when nobody can tell, none are. */
	async learn(...cacheTypes: readonly string[]): Promise<void> {
		await Promise.all(
			cacheTypes.map(async type => {
				const {promise, resolve} = Promise.withResolvers<void>();
				this.#manager.policy(type, policy => {
					if (policy?.cachable === true) {
						const {timeout} = policy;
						const own = new SessionCache(NAME_LIMIT, toMilliseconds(timeout), now);
						this.#caches.set(type, {timeout, own});
					}

					/* Promises go on when Node.js has called us; the reactor was called by nobody it knows. */
					setImmediate(resolve);
				});
				await promise;
			}),
		);
		if (this.#caches.size === 0) {
			/* Nobody will ask again. */
			this.#manager[Symbol.dispose]();
		}
	}

	/** For how long sessions of a type are kept; undefined when they are not. */
	timeoutOf(cacheType: string): Seconds | undefined {
		return this.#caches.get(cacheType)?.timeout;
	}

	find({cacheType, key, ownKey}: Resumption, done: (session: Uint8Array | undefined) => void): void {
		const own = this.#caches.get(cacheType)?.own.take(ownKey);
		if (own === undefined) {
			this.#manager.lookup(cacheType, key, done);
		} else {
			done(own);
		}
	}

	keep({cacheType, key, ownKey}: Resumption, session: KeptSession): void {
		this.#caches.get(cacheType)?.own.put(ownKey, session);
		this.#manager.update(cacheType, key, session.bytes);
	}
}
