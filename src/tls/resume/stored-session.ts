/*++
/* NAME
/*	stored-session 3
/* SUMMARY
/*	a TLS session that can be offered again
/* DESCRIPTION
/*	To read a session from bytes costs OpenSSL 3 as much CPU time as a
/*	tenth of a full handshake and more, for the certificate in it. So
/*	what a server gives this process stays an SSL_SESSION for as long
/*	as it is kept here, and becomes bytes for other processes only.
/*
/*	No connection ever has the object that is kept. OpenSSL writes to
/*	that of a connection: when one ends without a goodbye, or by an
/*	alert, its session is marked as one that cannot be resumed, as
/*	RFC 2246 would have it, and smtp(8) has many such servers. Stock,
/*	which keeps bytes, does not notice. A copy costs a quarter of a
/*	microsecond, and shares the certificates with the original.
/*
/*	Unlike bytes, a copy has the whole chain of the peer. For what we
/*	report of a session that is resumed only the certificate of the
/*	peer and the result of its verification count, and they are the
/*	same.
/* SEE ALSO
/*	SSL_SESSION_dup(3), SSL_set_session(3)
/*--*/

import {Owned} from '../../base/owned.ts';
import type {Ssl} from '../../ffi/openssl/libssl.ts';
import {
	decodeSession,
	isSingleUse,
	SSL_SESSION_dup,
	SSL_SESSION_free,
	SSL_set_session,
	type SslSession,
	sessionBytes,
} from '../../ffi/openssl/ssl-session.ts';

/** A session of nobody but its owner, who has to dispose it. */
export class StoredSession implements Disposable {
	/** A ticket that is to be offered once. */
	readonly singleUse: boolean;
	readonly #session: Owned<SslSession>;

	/* Takes the session over. */
	private constructor(session: SslSession) {
		this.#session = new Owned(session, SSL_SESSION_free);
		this.singleUse = isSingleUse(session);
	}

	/** What a connection has been given; undefined when there is no memory for it. */
	static of(session: SslSession): StoredSession | undefined {
		const copy = SSL_SESSION_dup(session);
		return copy === null ? undefined : new StoredSession(copy);
	}

	/** From what {@link bytes} has made, here or elsewhere; undefined: OpenSSL's queue of errors says why. */
	static parse(bytes: Uint8Array): StoredSession | undefined {
		const session = decodeSession(bytes);
		return session === null ? undefined : new StoredSession(session);
	}

	/** Another of the same, with an owner of its own. */
	copy(): StoredSession | undefined {
		return StoredSession.of(this.#session.value);
	}

	/** For other processes; undefined when it cannot be written down. */
	bytes(): Uint8Array | undefined {
		return sessionBytes(this.#session.value);
	}

	/** Offers a copy to the server of a connection, before its handshake. Returns whether that was possible. */
	offer(ssl: Ssl): boolean {
		const copy = SSL_SESSION_dup(this.#session.value);
		if (copy === null) {
			return false;
		}

		/* The connection takes a reference of its own. */
		const set = SSL_set_session(ssl, copy) === 1;
		SSL_SESSION_free(copy);
		return set;
	}

	[Symbol.dispose](): void {
		this.#session[Symbol.dispose]();
	}
}
