/*++
/* NAME
/*	host 3
/* SUMMARY
/*	what sessions need of the process that they run in
/* DESCRIPTION
/*	A session knows its two descriptors and its time limits. Everything
/*	that sessions share comes from their host: the event loop, the
/*	clock, contexts, kept TLS sessions, and somebody to tell that a
/*	session is over.
/*--*/

import type {DeadlineClock} from '../event/deadline.ts';
import type {Reactor} from '../event/reactor.ts';
import type {Application} from '../tls/application.ts';
import type {SessionKeeper} from '../tls/connection.ts';
import type {Resumption} from '../tls/resumption.ts';
import type {ClientSettings} from '../wire/client.ts';
import type {Profile} from '../wire/release.ts';
import type {Request} from '../wire/request.ts';

/** What sessions need of the process that they run in. */
export interface SessionHost {
	readonly profile: Profile;
	readonly reactor: Reactor;
	readonly clock: DeadlineClock;
	/**
	 * Finds or makes the application for a request in the client role.
	 *
	 * @returns undefined when the request cannot be served; the reason has been logged.
	 */
	clientApplication(settings: ClientSettings): Application | undefined;
	/** Keeps the sessions of connections. */
	readonly keeper: SessionKeeper;
	/**
	 * Looks for a session that can be resumed. Answers at once or later, and always: with nothing, if need be.
	 */
	findSession(resumption: Resumption, done: (session: Uint8Array | undefined) => void): void;
	/** Whether the server role can be served; if not, the reason has been logged. */
	serverRole(request: Request): boolean;
	/** The session has released all it had. */
	ended(): void;
}
