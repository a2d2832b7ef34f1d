/*++
/* NAME
/*	server-resumption 3
/* SUMMARY
/*	sessions that clients come back with
/* DESCRIPTION
/*	A session lives in a ticket that the client keeps, or, when it
/*	does not take tickets, with tlsmgr(8), under its id. Either way
/*	OpenSSL wants to know about it in the middle of the handshake, and
/*	cannot wait for an answer. So the hello of each client is looked
/*	at before OpenSSL does: when that shows that something has to be
/*	asked, the handshake is suspended, and goes on with the answers.
/*
/*	Callbacks know a connection by its SSL pointer only, so each is
/*	registered here for its lifetime.
/* DIAGNOSTICS
/*	What cannot be had, for whatever reason, costs resumption: a
/*	complete handshake, or a client that gets no ticket.
/* SEE ALSO
/*	postfix src/tls/tls_server.c, get_server_session_cb(),
/*	new_server_session_cb(), ticket_cb()
/*--*/

import {Finalizer} from '../../base/owned.ts';
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
} from '../../ffi/openssl/hello.ts';
import {OpenSSL_version_num} from '../../ffi/openssl/libcrypto.ts';
import type {Ssl} from '../../ffi/openssl/libssl.ts';
import {decodeSession, type SslSession, sessionBytes, sessionId} from '../../ffi/openssl/ssl-session.ts';
import {type EvpCipher, SSL_set_num_tickets} from '../../ffi/openssl/ticket.ts';
import {info, warning} from '../../log/log.ts';
import type {TicketKey} from '../../wire/ticket-key.ts';
import {printErrors} from '../library.ts';
import {TLS_LOG_CACHE} from '../log-mask.ts';
import {offeredResumption, type ServerCapabilities} from './client-hello.ts';

/** How sessions of clients are kept. */
export interface ServerSessionPolicy {
	/** Somebody keeps them. */
	readonly cachable: boolean;
	/** For how long they are good, in whatever way; zero: not at all. */
	readonly timeout: Seconds;
}

/** Whoever keeps sessions and ticket keys. Answers are given once, at once or later: with nothing, if need be. */
export interface ServerSessions {
	/** Sessions of one service are not resumed by another, as from 3.11.7 on. */
	readonly perService: boolean;
	policyOf(cacheType: string): ServerSessionPolicy;
	find(cacheType: string, key: string, done: (session: Uint8Array | undefined) => void): void;
	/** Must not throw. */
	keep(cacheType: string, key: string, session: Uint8Array): void;
	/** @param name - of a key that has to open a ticket; without, it is to issue them. */
	ticketKey(name: Uint8Array | undefined, timeout: Seconds, done: (key: TicketKey | undefined) => void): void;
}

/** What the connections of an application have to do with sessions. */
export interface ResumptionTerms {
	readonly cacheType: string;
	readonly abilities: ServerCapabilities;
	/** Of tickets; undefined when there are none. */
	readonly cipher: EvpCipher | undefined;
	readonly timeout: Seconds;
	readonly sessions: ServerSessions;
}

/** Whose sessions they are. */
export interface ResumptionNames {
	readonly namaddr: string;
	readonly serverid: string;
	readonly logMask: number;
}

/** The sessions that one connection may have to do with. */
export class ServerResumption {
	readonly #terms: ResumptionTerms;
	readonly #names: ResumptionNames;
	readonly #found = new Map<string, Uint8Array>();
	readonly #keys = new Map<string, TicketKey>();
	#asked = false;
	/* Questions without an answer, and who waits for the last one. */
	#open = 0;
	#done: (() => void) | undefined;
	#issues: TicketKey | undefined;
	#issued = false;
	#opened = false;

	constructor(terms: ResumptionTerms, names: ResumptionNames) {
		this.#terms = terms;
		this.#names = names;
	}

	/** The cipher of tickets; undefined when there are none. */
	get cipher(): EvpCipher | undefined {
		return this.#terms.cipher;
	}

	/** Whether a ticket was issued. */
	get issued(): boolean {
		return this.#issued;
	}

	/** Whether a ticket was opened. */
	get opened(): boolean {
		return this.#opened;
	}

	/** Waits for the answers to what the hello has raised; `done` is called at once or later. */
	lookUp(done: () => void): void {
		if (this.#open === 0) {
			done();
		} else {
			this.#done = done;
		}
	}

	/** The hello of the client is there: whether the handshake can go on. For the callback. */
	hello(ssl: Ssl): boolean {
		if (!this.#asked) {
			this.#asked = true;
			this.#ask(ssl);
		}

		if (this.#open > 0) {
			return false;
		}

		/* In TLS 1.3 the callback for tickets could only break the handshake off. */
		if (this.#terms.abilities.tickets && this.#issues === undefined) {
			SSL_set_num_tickets(ssl, 0);
		}

		return true;
	}

	/** The session of an id, if there is one. For the callback. */
	session(id: Uint8Array): SslSession | null {
		const {cacheType} = this.#terms;
		const {namaddr} = this.#names;
		const key = this.#cacheKey(id);
		this.#log(`${namaddr}: looking up session ${key} in ${cacheType} cache`);
		const bytes = this.#found.get(key);
		const session = bytes === undefined ? null : decodeSession(bytes);
		if (session !== null) {
			this.#log(`${namaddr}: reloaded session ${key} from ${cacheType} cache`);
		} else if (bytes !== undefined) {
			printErrors();
		}

		return session;
	}

	/** A new session is to be kept. For the callback. */
	keep(session: SslSession): void {
		const {cacheType, sessions} = this.#terms;
		const {namaddr} = this.#names;
		const key = this.#cacheKey(sessionId(session));
		this.#log(`${namaddr}: save session ${key} to ${cacheType} cache`);
		const bytes = sessionBytes(session);
		if (bytes !== undefined) {
			sessions.keep(cacheType, key, bytes);
		}
	}

	/** The key to issue a ticket with. For the callback. */
	issues(): TicketKey | undefined {
		return this.#ticket('Issuing', this.#issues);
	}

	/** The key to open a ticket with. For the callback. */
	opens(name: Uint8Array): TicketKey | undefined {
		return this.#ticket('Decrypting', this.#keys.get(hex(name)));
	}

	#ticket(what: 'Issuing' | 'Decrypting', key: TicketKey | undefined): TicketKey | undefined {
		if (key !== undefined) {
			this.#issued ||= what === 'Issuing';
			this.#opened ||= what === 'Decrypting';
			this.#log(`${this.#names.namaddr}: ${what} session ticket, key expiration: ${key.expires}`);
		}

		return key;
	}

	/* What is known already is answered at once. */
	#ask(ssl: Ssl): void {
		const {abilities, cacheType, sessions} = this.#terms;
		const hello = {sessionId: helloSessionId(ssl), extension: (type: number) => helloExtension(ssl, type)};
		const {keyNames, sessionIds} = offeredResumption(hello, abilities);
		if (abilities.tickets) {
			this.#askForKey(undefined, key => {
				this.#issues = key;
			});
		}

		for (const name of keyNames) {
			this.#askForKey(name, key => this.#keys.set(hex(name), key));
		}

		for (const id of sessionIds) {
			const key = this.#cacheKey(id);
			this.#open++;
			sessions.find(cacheType, key, session => {
				if (session !== undefined) {
					this.#found.set(key, session);
				}

				this.#answered();
			});
		}
	}

	#askForKey(name: Uint8Array | undefined, use: (key: TicketKey) => void): void {
		const {sessions, timeout} = this.#terms;
		this.#open++;
		sessions.ticketKey(name, timeout, key => {
			if (key !== undefined) {
				use(key);
			}

			this.#answered();
		});
	}

	#answered(): void {
		this.#open--;
		if (this.#open === 0) {
			this.#done?.();
		}
	}

	/* Services and libraries do not share sessions. */
	#cacheKey(id: Uint8Array): string {
		return `${hex(id)}&s=${this.#names.serverid}&l=${OpenSSL_version_num()}`;
	}

	#log(line: string): void {
		if ((this.#names.logMask & TLS_LOG_CACHE) !== 0) {
			info(line);
		}
	}
}

function hex(bytes: Uint8Array): string {
	return Buffer.from(bytes).toString('hex').toUpperCase();
}

const resumptions = new Map<Ssl, ServerResumption>();

/** Serves the callbacks of a connection until the result is disposed. */
export function serveResumption(ssl: Ssl, resumption: ServerResumption): Disposable {
	resumptions.set(ssl, resumption);
	return new Finalizer(() => resumptions.delete(ssl));
}

/** What a callback needs to know about a connection. Nothing may be thrown into OpenSSL. */
export function withResumption<Value>(
	ssl: Ssl,
	otherwise: Value,
	run: (resumption: ServerResumption) => Value,
): Value {
	try {
		const resumption = resumptions.get(ssl);
		return resumption === undefined ? otherwise : run(resumption);
	} catch (reason) {
		warning(`cannot resume a TLS session: ${reason instanceof Error ? reason.message : String(reason)}`);
		return otherwise;
	}
}

/* Registered for the life of the process. */
export const clientHelloCallback = registerClientHelloCallback(ssl =>
	withResumption(ssl, SSL_CLIENT_HELLO_SUCCESS, resumption =>
		resumption.hello(ssl) ? SSL_CLIENT_HELLO_SUCCESS : SSL_CLIENT_HELLO_RETRY,
	),
);
export const getSessionCallback = registerGetSessionCallback((ssl, id) =>
	withResumption<SslSession | null>(ssl, null, resumption => resumption.session(id)),
);
export const newSessionCallback = registerNewSessionCallback((ssl, session) =>
	withResumption<void>(ssl, undefined, resumption => resumption.keep(session)),
);
