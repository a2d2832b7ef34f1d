/*++
/* NAME
/*	decoded-sessions 3
/* SUMMARY
/*	the sessions of other processes, read once
/* DESCRIPTION
/*	tlsmgr(8) answers with the same bytes until it has a newer session
/*	of that name. Some servers give no new one to who resumes a
/*	session, and some clients leave before it has come. To read the
/*	bytes is what costs: so what they have become stays, and who comes
/*	with the same bytes gets a copy.
/*
/*	Whether a session is there, and which, tlsmgr(8) says each time.
/* SEE ALSO
/*	stored-session(3), session-cache(3)
/*--*/

import type {CacheableSession} from './session-cache.ts';

interface Parsed<Session> {
	readonly bytes: Uint8Array;
	readonly session: Session;
}

/** Bounded memory of what bytes have become. Disposal disposes what is in it. */
export class DecodedSessionCache<Session extends CacheableSession<Session>> implements Disposable {
	readonly #limit: number;
	readonly #read: (bytes: Uint8Array) => Session | undefined;
	readonly #entries = new Map<string, Parsed<Session>>();

	/**
	 * @param limit - how many names are remembered, with one session each.
	 * @param read - makes a session of bytes; undefined when they are none.
	 */
	constructor(limit: number, read: (bytes: Uint8Array) => Session | undefined) {
		this.#limit = limit;
		this.#read = read;
	}

	/** The session of some bytes, for the caller to own; undefined when they are none. */
	parse(name: string, bytes: Uint8Array): Session | undefined {
		const known = this.#entries.get(name);
		if (known !== undefined && Buffer.compare(known.bytes, bytes) === 0) {
			/* Of all names it was used last. */
			this.#entries.delete(name);
			this.#entries.set(name, known);
			return known.session.copy();
		}

		this.#drop(name);
		const session = this.#read(bytes);
		if (session === undefined) {
			return undefined;
		}

		this.#entries.set(name, {bytes, session});
		for (const oldest of this.#entries.keys()) {
			if (this.#entries.size <= this.#limit) {
				break;
			}

			this.#drop(oldest);
		}

		return session.copy();
	}

	[Symbol.dispose](): void {
		for (const name of this.#entries.keys()) {
			this.#drop(name);
		}
	}

	#drop(name: string): void {
		this.#entries.get(name)?.session[Symbol.dispose]();
		this.#entries.delete(name);
	}
}
