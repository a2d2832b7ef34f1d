/*++
/* NAME
/*	verified-chains 3
/* SUMMARY
/*	cache of successfully verified certificate chains
/* DESCRIPTION
/*	A few servers get most of the mail, and present the same chain each
/*	time. Verifying it again takes a signature check per certificate:
/*	a seventh of the cost of a handshake.
/*
/*	The outcome of a verification depends on the presented certificates,
/*	on the authorities and limits of the SSL_CTX, on the security level
/*	and the names of the connection, and on the date. A cached outcome
/*	is used only if all of these are equal: each SSL_CTX has a separate
/*	cache, the key contains the rest, and an entry expires before the
/*	first of its certificates does.
/*
/*	Only successful outcomes are cached. A chain that fails may succeed
/*	after the administrator has added an authority to a directory; the
/*	reverse needs another SSL_CTX.
/*
/*	Possession of the private key is not cached: each handshake proves
/*	it.
/* SECURITY
/*	The cache key contains the SHA-256 digest and position of every
/*	certificate: a second chain with the same key would be trusted
/*	without verification.
/* SEE ALSO
/*	verify-callback(3)
/*--*/

import {Lru} from '../../base/lru.ts';

/** The outcome of a successful verification. */
export interface VerifiedChain {
	/** The name that matched; undefined when no name was checked. */
	readonly peername: string | undefined;
}

interface Entry {
	readonly chain: VerifiedChain;
	/** In milliseconds since 1970, like the next. */
	readonly from: number;
	readonly until: number;
}

/** Entries per SSL_CTX, of a few hundred bytes: more than there are servers that return within an hour. */
const ENTRY_LIMIT = 500;

/** Lifetime of an entry, in milliseconds: bounds the effect of anything that the key should have contained. */
const LIFETIME = 3_600_000;

/** The verified chains of one SSL_CTX. */
export class VerifiedChainCache {
	readonly #entries = new Lru<string, Entry>(ENTRY_LIMIT);

	/**
	 * Looks up a chain.
	 *
	 * @param key - everything that the outcome depends on, except the SSL_CTX and the date.
	 * @param now - in milliseconds since 1970.
	 */
	find(key: string, now: number): VerifiedChain | undefined {
		const entry = this.#entries.get(key);
		if (entry === undefined) {
			return undefined;
		}

		/* A clock that is set back may be set to a date at which a certificate is not valid yet. */
		if (now < entry.from || now >= entry.until) {
			this.#entries.delete(key);
			return undefined;
		}

		return entry.chain;
	}

	/** Stores a chain. @param expires - the end of the first certificate, in milliseconds since 1970. */
	store(key: string, chain: VerifiedChain, now: number, expires: number): void {
		this.#entries.set(key, {chain, from: now, until: Math.min(expires, now + LIFETIME)});
	}
}
