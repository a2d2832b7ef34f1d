/*++
/* NAME
/*	server-resumption 3
/* SUMMARY
/*	resumes the TLS sessions of clients
/* DESCRIPTION
/*	A session is encrypted in a ticket that the client stores, or, if
/*	the client does not support tickets, it is stored by tlsmgr(8)
/*	under the session id. In both cases OpenSSL needs it, or the ticket
/*	key, in the middle of the handshake, and cannot wait for a lookup.
/*	So a callback examines each ClientHello before OpenSSL does. If a
/*	lookup is needed, the handshake is suspended, and continues when
/*	the results are there.
/* DIAGNOSTICS
/*	Without the result of a lookup, for whatever reason, there is no
/*	resumption: a full handshake is made, or no ticket is issued.
/* SEE ALSO
/*	postfix src/tls/tls_server.c, get_server_session_cb(),
/*	new_server_session_cb(), ticket_cb()
/*--*/

import {errorText, hexText} from '../../base/text.ts';
import type {Seconds} from '../../base/units.ts';
import {
	registerClientHelloCallback,
	registerGetSessionCallback,
	registerNewSessionCallback,
} from '../../ffi/openssl/callback.ts';
import {
	helloExtension,
	helloSessionId,
	SSL_CLIENT_HELLO_RETRY,
	SSL_CLIENT_HELLO_SUCCESS,
} from '../../ffi/openssl/client-hello.ts';
import {OpenSSL_version_num} from '../../ffi/openssl/libcrypto.ts';
import type {Ssl} from '../../ffi/openssl/ssl.ts';
import {decodeSession, type SslSession, sessionBytes, sessionId} from '../../ffi/openssl/ssl-session.ts';
import {type EvpCipher, SSL_set_num_tickets} from '../../ffi/openssl/ticket.ts';
import {info, warning} from '../../log/log.ts';
import type {TicketKey} from '../../wire/ticket-key.ts';
import {printErrors} from '../library.ts';
import {TLS_LOG_CACHE} from '../log-mask.ts';
import {SslRegistry} from '../ssl-registry.ts';
import {offeredResumption, type ServerCapabilities} from './client-hello.ts';

/** How sessions of a cache type are stored. */
export interface ServerSessionPolicy {
	/** tlsmgr(8) stores sessions. */
	readonly cachable: boolean;
	/** How long sessions and tickets can be resumed; zero: never. */
	readonly timeout: Seconds;
}

/**
 * Where sessions and ticket keys are stored and looked up. Each `done` is called exactly once, during the call
 * or later; without a value if nothing is found or the lookup fails.
 */
export interface ServerSessions {
	/** A session of one service is not resumed by another, as from Postfix 3.11.7 on. */
	readonly perService: boolean;
	policyOf(cacheType: string): ServerSessionPolicy;
	find(cacheType: string, key: string, done: (session: Uint8Array | undefined) => void): void;
	/** Must not throw. */
	store(cacheType: string, key: string, session: Uint8Array): void;
	/** @param name - of the key that decrypts a ticket; undefined: the key that new tickets are issued with. */
	ticketKey(name: Uint8Array | undefined, timeout: Seconds, done: (key: TicketKey | undefined) => void): void;
}

/** How the connections of an SSL_CTX resume sessions. */
export interface ServerResumptionSettings {
	readonly cacheType: string;
	readonly capabilities: ServerCapabilities;
	/** The cipher of tickets; undefined if tickets are disabled. */
	readonly cipher: EvpCipher | undefined;
	readonly timeout: Seconds;
	readonly sessions: ServerSessions;
}

/** The connection that sessions belong to. */
export interface ServerResumptionClient {
	readonly namaddr: string;
	readonly serverid: string;
	readonly logMask: number;
}

/** The lookups, tickets and sessions of one handshake. Needed until the handshake is complete. */
export class ServerResumption {
	readonly #settings: ServerResumptionSettings;
	readonly #client: ServerResumptionClient;
	/* Results of lookups: sessions by cache key, ticket keys by name. */
	readonly #sessions = new Map<string, Uint8Array>();
	readonly #ticketKeys = new Map<string, TicketKey>();
	#lookupsStarted = false;
	#pendingLookups = 0;
	/* Called after the last lookup. */
	#done: (() => void) | undefined;
	#issuingKey: TicketKey | undefined;
	#ticketIssued = false;
	#ticketDecrypted = false;

	constructor(settings: ServerResumptionSettings, client: ServerResumptionClient) {
		this.#settings = settings;
		this.#client = client;
	}

	/** The cipher of tickets; undefined if tickets are disabled. */
	get cipher(): EvpCipher | undefined {
		return this.#settings.cipher;
	}

	/** Whether a ticket was issued. */
	get issued(): boolean {
		return this.#ticketIssued;
	}

	/** Whether a ticket was decrypted. */
	get opened(): boolean {
		return this.#ticketDecrypted;
	}

	/** Waits for the lookups that the ClientHello requires. Calls `done` during the call or later. */
	lookUp(done: () => void): void {
		if (this.#pendingLookups === 0) {
			done();
		} else {
			this.#done = done;
		}
	}

	/** Handles the ClientHello. Returns whether the handshake can continue. For the callback. */
	hello(ssl: Ssl): boolean {
		if (!this.#lookupsStarted) {
			this.#lookupsStarted = true;
			this.#startLookups(ssl);
		}

		if (this.#pendingLookups > 0) {
			return false;
		}

		/* With TLS 1.3, the ticket callback can only abort the handshake. */
		if (this.#settings.capabilities.tickets && this.#issuingKey === undefined) {
			SSL_set_num_tickets(ssl, 0);
		}

		return true;
	}

	/** The session with an id, which OpenSSL owns; null if it was not found. For the callback. */
	session(id: Uint8Array): SslSession | null {
		const {cacheType} = this.#settings;
		const {namaddr} = this.#client;
		const key = this.#cacheKey(id);
		this.#log(`${namaddr}: looking up session ${key} in ${cacheType} cache`);
		const bytes = this.#sessions.get(key);
		const session = bytes === undefined ? null : decodeSession(bytes);
		if (session !== null) {
			this.#log(`${namaddr}: reloaded session ${key} from ${cacheType} cache`);
		} else if (bytes !== undefined) {
			printErrors();
		}

		return session;
	}

	/** Stores a new session. For the callback. */
	store(session: SslSession): void {
		const {cacheType, sessions} = this.#settings;
		const {namaddr} = this.#client;
		const key = this.#cacheKey(sessionId(session));
		this.#log(`${namaddr}: save session ${key} to ${cacheType} cache`);
		const bytes = sessionBytes(session);
		if (bytes !== undefined) {
			sessions.store(cacheType, key, bytes);
		}
	}

	/** The key that encrypts a new ticket; undefined if it was not found. For the callback. */
	issuingKey(): TicketKey | undefined {
		this.#ticketIssued ||= this.#issuingKey !== undefined;
		return this.#logged('Issuing', this.#issuingKey);
	}

	/** The key that decrypts a ticket; undefined if it was not found. For the callback. */
	decryptingKey(name: Uint8Array): TicketKey | undefined {
		const key = this.#ticketKeys.get(hexText(name));
		this.#ticketDecrypted ||= key !== undefined;
		return this.#logged('Decrypting', key);
	}

	#logged(action: 'Issuing' | 'Decrypting', key: TicketKey | undefined): TicketKey | undefined {
		if (key !== undefined) {
			this.#log(`${this.#client.namaddr}: ${action} session ticket, key expiration: ${key.expires}`);
		}

		return key;
	}

	/* A lookup may complete during the call. */
	#startLookups(ssl: Ssl): void {
		const {capabilities, cacheType, sessions} = this.#settings;
		const hello = {sessionId: helloSessionId(ssl), extension: (type: number) => helloExtension(ssl, type)};
		const {keyNames, sessionIds} = offeredResumption(hello, capabilities);
		if (capabilities.tickets) {
			this.#findTicketKey(undefined, key => {
				this.#issuingKey = key;
			});
		}

		for (const name of keyNames) {
			this.#findTicketKey(name, key => this.#ticketKeys.set(hexText(name), key));
		}

		for (const id of sessionIds) {
			const key = this.#cacheKey(id);
			this.#pendingLookups++;
			sessions.find(cacheType, key, session => {
				if (session !== undefined) {
					this.#sessions.set(key, session);
				}

				this.#lookupDone();
			});
		}
	}

	#findTicketKey(name: Uint8Array | undefined, use: (key: TicketKey) => void): void {
		const {sessions, timeout} = this.#settings;
		this.#pendingLookups++;
		sessions.ticketKey(name, timeout, key => {
			if (key !== undefined) {
				use(key);
			}

			this.#lookupDone();
		});
	}

	#lookupDone(): void {
		this.#pendingLookups--;
		if (this.#pendingLookups === 0) {
			this.#done?.();
		}
	}

	/* Services do not share sessions, and releases of OpenSSL do not. */
	#cacheKey(id: Uint8Array): string {
		return `${hexText(id)}&s=${this.#client.serverid}&l=${OpenSSL_version_num()}`;
	}

	#log(line: string): void {
		if ((this.#client.logMask & TLS_LOG_CACHE) !== 0) {
			info(line);
		}
	}
}

const resumptions = new SslRegistry<ServerResumption>();

/** Handles the session and ticket callbacks of a connection until the result is disposed. */
export function registerResumption(ssl: Ssl, resumption: ServerResumption): Disposable {
	return resumptions.register(ssl, resumption);
}

/** Runs a callback with the state of its connection. OpenSSL cannot handle an exception: the result is `otherwise`. */
export function withResumption<Value>(
	ssl: Ssl,
	otherwise: Value,
	run: (resumption: ServerResumption) => Value,
): Value {
	try {
		const resumption = resumptions.get(ssl);
		return resumption === undefined ? otherwise : run(resumption);
	} catch (reason) {
		warning(`cannot resume a TLS session: ${errorText(reason)}`);
		return otherwise;
	}
}

/* Registered for the lifetime of the process. */
export const clientHelloCallback = registerClientHelloCallback(ssl =>
	withResumption(ssl, SSL_CLIENT_HELLO_SUCCESS, resumption =>
		resumption.hello(ssl) ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_RETRY,
	),
);
export const getSessionCallback = registerGetSessionCallback((ssl, id) =>
	withResumption<SslSession | null>(ssl, null, resumption => resumption.session(id)),
);
export const newSessionCallback = registerNewSessionCallback((ssl, session) =>
	withResumption<void>(ssl, undefined, resumption => resumption.store(session)),
);
