/*++
/* NAME
/*	stored-session 3
/* SUMMARY
/*	a TLS session that can be offered to a server
/* DESCRIPTION
/*	Decoding a session costs OpenSSL 3 a tenth of the CPU time of a
/*	full handshake or more, because of the certificate in it. So a
/*	session that this process receives stays an SSL_SESSION while it is
/*	cached here. It is encoded only for other processes.
/*
/*	A connection never gets the stored object, only a copy, because
/*	OpenSSL modifies the session of a connection: if the connection
/*	ends without close_notify, or with an alert, the session is marked
/*	as not resumable, as RFC 2246 requires. Many SMTP servers end
/*	connections like that. Stock is not affected, because it stores
/*	encoded sessions. A copy costs a quarter of a microsecond and
/*	shares the certificates with the original.
/*
/*	Unlike a decoded session, a copy has the whole chain of the peer.
/*	This makes no difference to the report: on resumption it depends
/*	only on the certificate of the peer and its verification result,
/*	which are the same.
/* SEE ALSO
/*	SSL_SESSION_dup(3), SSL_set_session(3)
/*--*/

import {Owned} from '../../base/owned.ts';
import type {Ssl} from '../../ffi/openssl/ssl.ts';
import {
	decodeSession,
	isSingleUse,
	SSL_SESSION_dup,
	SSL_SESSION_free,
	SSL_set_session,
	type SslSession,
	sessionBytes,
} from '../../ffi/openssl/ssl-session.ts';

/** A session that no connection uses. It must be disposed by its owner. */
export class StoredSession implements Disposable {
	/** A ticket that may be offered only once. */
	readonly singleUse: boolean;
	readonly #session: Owned<SslSession>;

	/* @param session - owned by the new object. */
	private constructor(session: SslSession) {
		this.#session = new Owned(session, SSL_SESSION_free);
		this.singleUse = isSingleUse(session);
	}

	/** A copy of the session of a connection; undefined if there is no memory for it. */
	static of(session: SslSession): StoredSession | undefined {
		const copy = SSL_SESSION_dup(session);
		return copy === null ? undefined : new StoredSession(copy);
	}

	/** Decodes {@link bytes}, of any process; undefined if that fails: OpenSSL's error queue has the reason. */
	static parse(bytes: Uint8Array): StoredSession | undefined {
		const session = decodeSession(bytes);
		return session === null ? undefined : new StoredSession(session);
	}

	/** A copy, which the caller owns; undefined if there is no memory for it. */
	copy(): StoredSession | undefined {
		return StoredSession.of(this.#session.value);
	}

	/** The encoded session, for other processes; undefined if it cannot be encoded. */
	bytes(): Uint8Array | undefined {
		return sessionBytes(this.#session.value);
	}

	/** Offers a copy to the server of a connection, before the handshake. Returns whether that was possible. */
	offer(ssl: Ssl): boolean {
		const copy = SSL_SESSION_dup(this.#session.value);
		if (copy === null) {
			return false;
		}

		/* SSL_set_session() adds a reference. */
		const set = SSL_set_session(ssl, copy) === 1;
		SSL_SESSION_free(copy);
		return set;
	}

	[Symbol.dispose](): void {
		this.#session[Symbol.dispose]();
	}
}
