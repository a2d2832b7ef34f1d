/*++
/* NAME
/*	client-resumption 3
/* SUMMARY
/*	stores and resumes the TLS sessions of connections to servers
/* DESCRIPTION
/*	Sessions of an SSL_CTX are stored if tlsmgr(8) stores sessions of
/*	its cache type. Then each session that a server issues is copied
/*	and passed to a SessionStore. With TLS 1.2 a session is issued
/*	during the handshake; with TLS 1.3 the server sends a ticket at any
/*	time after the handshake.
/*
/*	OpenSSL cannot wait for the result of a lookup. So the session is
/*	looked up before the handshake starts.
/* SEE ALSO
/*	postfix src/tls/tls_client.c, src/tls/tls_session.c
/*--*/

import {errorText} from '../../base/text.ts';
import type {Seconds} from '../../base/units.ts';
import {registerNewSessionCallback} from '../../ffi/openssl/callback.ts';
import type {Ssl} from '../../ffi/openssl/ssl.ts';
import {SSL_CTX_set_session_cache_mode, type SslCtx} from '../../ffi/openssl/ssl-ctx.ts';
import {
	type NewSessionCallback,
	SSL_CTX_sess_set_new_cb,
	SSL_CTX_set_timeout,
	type SslSession,
} from '../../ffi/openssl/ssl-session.ts';
import {info, warning} from '../../log/log.ts';
import {printErrors} from '../library.ts';
import {TLS_LOG_CACHE} from '../log-mask.ts';
import {SslRegistry} from '../ssl-registry.ts';
import {StoredSession} from './stored-session.ts';

/** Where the sessions that servers issue are stored and looked up. */
export interface SessionStore {
	/** Trust settings of requests are lists of digests, as before Postfix 3.6. */
	readonly digestLists: boolean;
	/**
	 * Looks up a session. Calls `done` exactly once, during the call or later; without a session if none is
	 * found or the lookup fails. The callee of `done` owns the session.
	 */
	find(resumption: Resumption, done: (session: StoredSession | undefined) => void): void;
	/** Stores a session, and owns it. Must not throw. */
	store(resumption: Resumption, session: StoredSession): void;
	/** Removes all sessions that are stored under the key. Must not throw. */
	remove(resumption: Resumption): void;
}

/** How the sessions of one connection are stored and looked up. */
export interface Resumption {
	/** smtp or lmtp. */
	readonly cacheType: string;
	/** The key that all processes share: session-key(3). */
	readonly key: string;
	/** The key in the cache of this process. */
	readonly localCacheKey: string;
	readonly logMask: number;
	/** Only the first session that the connection receives is stored. */
	readonly firstOnly: boolean;
	readonly store: SessionStore;
}

/**
 * Sessions that are stored per connection. Servers issue one or two. A server that issues them without end
 * must not occupy tlsmgr(8), which others wait for.
 */
const SESSIONS_PER_CONNECTION = 8;

/* The state of a connection whose sessions are stored. */
interface SessionReceiver {
	readonly resumption: Resumption;
	/** How many more sessions are stored. */
	remaining: number;
}

const receivers = new SslRegistry<SessionReceiver>();

/** Stores the sessions that a connection receives, until the result is disposed. */
export function storeNewSessions(ssl: Ssl, resumption: Resumption): Disposable {
	return receivers.register(ssl, {
		resumption,
		remaining: resumption.firstOnly ? 1 : SESSIONS_PER_CONNECTION,
	});
}

/* Registered for the lifetime of the process. */
const newSessionCallback: NewSessionCallback = registerNewSessionCallback(receiveSession);

/* OpenSSL cannot handle an exception, and a session that is not stored only costs a full handshake later. */
function receiveSession(ssl: Ssl, session: SslSession): void {
	try {
		storeSession(receivers.get(ssl), session);
	} catch (reason) {
		warning(`cannot store a TLS session: ${errorText(reason)}`);
	}
}

function storeSession(receiver: SessionReceiver | undefined, session: SslSession): void {
	if (receiver === undefined || receiver.remaining === 0) {
		return;
	}

	const {resumption} = receiver;
	const stored = StoredSession.of(session);
	if (stored === undefined) {
		return;
	}

	receiver.remaining--;
	if ((resumption.logMask & TLS_LOG_CACHE) !== 0) {
		const {key, cacheType} = resumption;
		info(`save session ${key} to ${cacheType} cache`);
	}

	resumption.store.store(resumption, stored);
}

/* Source: openssl/ssl.h. */
const SSL_SESS_CACHE_CLIENT = 0x0001;
const SSL_SESS_CACHE_NO_AUTO_CLEAR = 0x0080;
const SSL_SESS_CACHE_NO_INTERNAL_STORE = 0x0200;

/**
 * Enables the callback for the sessions that connections of an SSL_CTX receive.
 *
 * @param timeout - how long tlsmgr(8) stores sessions. Source: tls_client_init(), postfix src/tls/tls_client.c.
 */
export function enableResumption(ctx: SslCtx, timeout: Seconds): void {
	SSL_CTX_set_session_cache_mode(
		ctx,
		SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE | SSL_SESS_CACHE_NO_AUTO_CLEAR,
	);
	SSL_CTX_sess_set_new_cb(ctx, newSessionCallback);
	SSL_CTX_set_timeout(ctx, 2 * timeout);
}

/** Decodes a session that tlsmgr(8) returned; undefined if that is not possible: the reason has been logged. */
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
 * Removes the sessions of a connection that was offered a session and whose handshake has failed. The session
 * may or may not be the cause, but with it the next handshake could fail, too.
 *
 * Source: uncache_session(), postfix src/tls/tls_client.c, which smtp(8) calls when it does TLS itself.
 */
export function removeSession(resumption: Resumption): void {
	if ((resumption.logMask & TLS_LOG_CACHE) !== 0) {
		info(`remove session ${resumption.key} from client cache`);
	}

	resumption.store.remove(resumption);
}
