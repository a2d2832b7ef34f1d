/*++
/* NAME
/*	verified-chains 3
/* SUMMARY
/*	chains of certificates that were found good
/* DESCRIPTION
/*	The same few servers get most of the mail, and present the same
/*	chain each time. To find it good again takes a signature for each
/*	of its certificates, a seventh of what a handshake costs.
/*
/*	What a verification comes to follows from the certificates that
/*	were presented, from the authorities and limits of the context,
/*	from the security level and the names of the connection, and from
/*	the date. A verdict is found again only where all of this is the
/*	same: it belongs to one context, its name has the rest, and it
/*	ends before the first of the certificates does.
/*
/*	Only what is good is remembered. A chain that is not may become
/*	good, when the administrator adds an authority to a directory; the
/*	opposite takes another context.
/*
/*	That a server has the key of its certificate is not part of it:
/*	each handshake proves that anew.
/* SECURITY
/*	Whoever makes two chains with one name is trusted as somebody else:
/*	names have the SHA-256 digest of each certificate, and its place.
/* SEE ALSO
/*	verify-callback(3)
/*--*/

/** What a verification has shown. */
export interface VerifiedChain {
	/** Which of the names the certificate has; undefined when nobody asked. */
	readonly peername: string | undefined;
}

interface Entry {
	readonly verdict: VerifiedChain;
	readonly from: number;
	readonly until: number;
}

/** Verdicts of one context. More than there are servers that come again within an hour, a few hundred bytes each. */
const LIMIT = 500;

/** What is wrong in spite of all is wrong for an hour. */
const LONGEST = 3_600_000;

/** What is known of the chains that connections of one context were presented. */
export class VerifiedChainCache {
	readonly #kept = new Map<string, Entry>();

	/**
	 * @param name - all that the verdict follows from, but for context and date.
	 * @param now - in milliseconds since 1970.
	 */
	find(name: string, now: number): VerifiedChain | undefined {
		const kept = this.#kept.get(name);
		if (kept === undefined) {
			return undefined;
		}

		/* A clock that is set back may be set to where a certificate is not valid yet. */
		if (now < kept.from || now >= kept.until) {
			this.#kept.delete(name);
			return undefined;
		}

		return kept.verdict;
	}

	/** @param expires - when the first of the certificates does, in milliseconds since 1970. */
	keep(name: string, verdict: VerifiedChain, now: number, expires: number): void {
		/* The oldest first: whoever comes often is back at once. */
		for (const oldest of this.#kept.keys()) {
			if (this.#kept.size < LIMIT) {
				break;
			}

			this.#kept.delete(oldest);
		}

		this.#kept.set(name, {verdict, from: now, until: Math.min(expires, now + LONGEST)});
	}
}
