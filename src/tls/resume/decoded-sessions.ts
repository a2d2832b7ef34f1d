/*++
/* NAME
/*	decoded-sessions 3
/* SUMMARY
/*	a cache of decoded sessions from tlsmgr(8)
/* DESCRIPTION
/*	tlsmgr(8) returns the same bytes until it has a newer session for
/*	the key. Some servers issue no new session on resumption, and some
/*	clients disconnect before it arrives. Decoding is what costs CPU
/*	time. So the decoded session is stored, and the next lookup with
/*	the same bytes gets a copy.
/*
/*	Every lookup still asks tlsmgr(8), which decides whether there is a
/*	session, and which one.
/* SEE ALSO
/*	stored-session(3), session-cache(3)
/*--*/

import {Lru} from '../../base/lru.ts';
import type {CacheableSession} from './session-cache.ts';

interface Decoded<Session> {
	readonly bytes: Uint8Array;
	readonly session: Session;
}

/** A bounded cache of decoded sessions, which it owns. Disposal disposes them. */
export class DecodedSessionCache<Session extends CacheableSession<Session>> implements Disposable {
	readonly #decoder: (bytes: Uint8Array) => Session | undefined;
	readonly #entries: Lru<string, Decoded<Session>>;

	/**
	 * @param limit - number of keys, with one session each.
	 * @param decoder - decodes a session; returns undefined if the bytes are not a session.
	 */
	constructor(limit: number, decoder: (bytes: Uint8Array) => Session | undefined) {
		this.#decoder = decoder;
		this.#entries = new Lru(limit, ({session}) => session[Symbol.dispose]());
	}

	/** Decodes a session, which the caller owns. Returns undefined if the bytes are not a session. */
	decode(key: string, bytes: Uint8Array): Session | undefined {
		const cached = this.#entries.get(key);
		if (cached !== undefined && Buffer.compare(cached.bytes, bytes) === 0) {
			return cached.session.copy();
		}

		const session = this.#decoder(bytes);
		if (session === undefined) {
			this.#entries.delete(key);
			return undefined;
		}

		this.#entries.set(key, {bytes, session});
		return session.copy();
	}

	[Symbol.dispose](): void {
		this.#entries[Symbol.dispose]();
	}
}
