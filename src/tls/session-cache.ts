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
/*--*/

import type {Milliseconds} from '../units.ts';
import type {KeptSession} from './resumption.ts';

/** Sessions under one name. Servers send two tickets, as a rule. */
const SESSIONS_PER_NAME = 4;

/** Bounded store of sessions. */
export class SessionCache {
	readonly #limit: number;
	readonly #lifetime: Milliseconds;
	readonly #now: () => number;
	readonly #entries = new Map<string, Array<KeptSession & {readonly until: number}>>();

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

	/** Keeps a session. */
	put(name: string, session: KeptSession): void {
		const found = this.#entries.get(name) ?? [];
		/* A session that can be offered again takes the place of all before it. */
		const others = session.singleUse ? found.slice(-(SESSIONS_PER_NAME - 1)) : [];
		this.#entries.delete(name);
		this.#entries.set(name, [...others, {...session, until: this.#now() + this.#lifetime}]);
		for (const oldest of this.#entries.keys()) {
			if (this.#entries.size <= this.#limit) {
				break;
			}

			this.#entries.delete(oldest);
		}
	}

	/** Forgets all sessions of a name. */
	drop(name: string): void {
		this.#entries.delete(name);
	}

	/** The newest session of a name. One that is to be offered once is not here any more after that. */
	take(name: string): Uint8Array | undefined {
		const found = this.#entries.get(name);
		if (found === undefined) {
			return undefined;
		}

		this.#entries.delete(name);
		const now = this.#now();
		const good = found.filter(({until}) => until > now);
		const newest = good.at(-1);
		const rest = newest?.singleUse === true ? good.slice(0, -1) : good;
		if (rest.length > 0) {
			this.#entries.set(name, rest);
		}

		return newest?.bytes;
	}
}
