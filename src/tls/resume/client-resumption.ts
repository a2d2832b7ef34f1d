/*++
/* NAME
/*	client-resumption 3
/* SUMMARY
/*	sessions that servers give us, and sessions that are offered again
/* DESCRIPTION
/*	A context is told whether sessions of its cache type are kept at
/*	all; if so, each session that a server gives a connection is
/*	copied and handed to whoever keeps sessions. With TLS 1.2
/*	that happens in the handshake, with TLS 1.3 whenever the server
/*	sends a ticket behind it.
/*
/*	OpenSSL cannot wait for somebody to look a session up. So it is
/*	looked up before the handshake begins.
/* SEE ALSO
/*	postfix src/tls/tls_client.c, src/tls/tls_session.c
/*--*/

import type {Seconds} from '../../base/units.ts';
import {registerNewSessionCallback} from '../../ffi/openssl/callback.ts';
import {SSL_CTX_set_session_cache_mode, type Ssl, type SslCtx} from '../../ffi/openssl/libssl.ts';
import {
	type NewSessionCallback,
	SSL_CTX_sess_set_new_cb,
	SSL_CTX_set_timeout,
	type SslSession,
} from '../../ffi/openssl/ssl-session.ts';
import {info, warning} from '../../log/log.ts';
import {printErrors} from '../library.ts';
import {TLS_LOG_CACHE} from '../log-mask.ts';
import {StoredSession} from './stored-session.ts';

/** Whoever keeps the sessions that servers give us. */
export interface SessionStore {
	/** Trust settings of requests are lists of digests, as before 3.6. */
	readonly digestLists: boolean;
	/**
	 * Looks for a session, which is given away once: whoever asks owns it. Answers at once or later, and
	 * always: with nothing, if need be.
	 */
	find(resumption: Resumption, done: (session: StoredSession | undefined) => void): void;
	/** Owns the session. Must not throw. */
	store(resumption: Resumption, session: StoredSession): void;
	/** Offers none of that name again that it has now. Must not throw. */
	remove(resumption: Resumption): void;
}

/** What a connection needs to know to have its sessions kept. */
export interface Resumption {
	/** smtp or lmtp. */
	readonly cacheType: string;
	/** The name that processes share: session-key(3). */
	readonly key: string;
	/** The name in the cache of this process. */
	readonly localCacheKey: string;
	readonly logMask: number;
	/** Of several sessions on one connection only the first is kept. */
	readonly firstOnly: boolean;
	/** Gets each session that the server gives. */
	readonly store: SessionStore;
}

/**
 * Sessions of one connection that are kept. Servers give one or two. One that gives them without end must
 * not have tlsmgr(8) for itself, and have others wait for it.
 */
const SESSIONS_PER_CONNECTION = 8;

/* How the sessions of one connection are kept, until it is disposed. */
class SessionReceiver implements Disposable {
	readonly #ssl: Ssl;
	readonly resumption: Resumption;
	left: number;

	constructor(ssl: Ssl, resumption: Resumption) {
		this.#ssl = ssl;
		this.resumption = resumption;
		this.left = resumption.firstOnly ? 1 : SESSIONS_PER_CONNECTION;
		receivers.set(ssl, this);
	}

	/* Another connection may have the same address later. */
	[Symbol.dispose](): void {
		if (receivers.get(this.#ssl) === this) {
			receivers.delete(this.#ssl);
		}
	}
}

const receivers = new Map<Ssl, SessionReceiver>();

/** Keeps the sessions of a connection until the result is disposed. */
export function storeNewSessions(ssl: Ssl, resumption: Resumption): Disposable {
	return new SessionReceiver(ssl, resumption);
}

/* Registered for the life of the process. */
const newSessionCallback: NewSessionCallback = registerNewSessionCallback(receive);

/* Nothing may be thrown into OpenSSL: a session that cannot be kept is no loss. */
function receive(ssl: Ssl, session: SslSession): void {
	try {
		keep(receivers.get(ssl), session);
	} catch (reason) {
		warning(`cannot keep a TLS session: ${reason instanceof Error ? reason.message : String(reason)}`);
	}
}

function keep(keeping: SessionReceiver | undefined, session: SslSession): void {
	if (keeping === undefined || keeping.left === 0) {
		return;
	}

	const {resumption} = keeping;
	const kept = StoredSession.of(session);
	if (kept === undefined) {
		return;
	}

	keeping.left--;
	if ((resumption.logMask & TLS_LOG_CACHE) !== 0) {
		const {key, cacheType} = resumption;
		info(`save session ${key} to ${cacheType} cache`);
	}

	resumption.store.store(resumption, kept);
}

/* Source: openssl/ssl.h. */
const SSL_SESS_CACHE_CLIENT = 0x0001;
const SSL_SESS_CACHE_NO_AUTO_CLEAR = 0x0080;
const SSL_SESS_CACHE_NO_INTERNAL_STORE = 0x0200;

/**
 * Has a context tell of the sessions that its connections get.
 *
 * @param timeout - for how long tlsmgr(8) keeps sessions. Source: tls_client_init(), postfix src/tls/tls_client.c.
 */
export function enableResumption(ctx: SslCtx, timeout: Seconds): void {
	SSL_CTX_set_session_cache_mode(
		ctx,
		SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE | SSL_SESS_CACHE_NO_AUTO_CLEAR,
	);
	SSL_CTX_sess_set_new_cb(ctx, newSessionCallback);
	SSL_CTX_set_timeout(ctx, 2 * timeout);
}

/** A session that another process has written down; undefined, and the log says why, when it cannot be read. */
export function decodeSession(bytes: Uint8Array): StoredSession | undefined {
	const session = StoredSession.parse(bytes);
	if (session === undefined) {
		printErrors();
	}

	return session;
}

/** Offers a session to the server of a connection, before its handshake. Returns whether that was possible. */
export function offerSession(
	ssl: Ssl,
	{cacheType, key, logMask}: Resumption,
	session: StoredSession,
): boolean {
	if (!session.offer(ssl)) {
		printErrors();
		return false;
	}

	if ((logMask & TLS_LOG_CACHE) !== 0) {
		info(`reloaded session ${key} from ${cacheType} cache`);
	}

	return true;
}

/**
 * The handshake of a connection that was offered a session has come to nothing: whether that was because of
 * the session nobody knows, but with it the next one could fare the same.
 *
 * Source: uncache_session(), postfix src/tls/tls_client.c, which smtp(8) calls when it does TLS itself.
 */
export function removeSession(resumption: Resumption): void {
	if ((resumption.logMask & TLS_LOG_CACHE) !== 0) {
		info(`remove session ${resumption.key} from client cache`);
	}

	resumption.store.remove(resumption);
}
