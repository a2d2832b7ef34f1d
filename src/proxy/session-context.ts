/*++
/* NAME
/*	session-context 3
/* SUMMARY
/*	what sessions need of the process that they run in
/* DESCRIPTION
/*	A session knows its two descriptors and its time limits. Everything
/*	that sessions share comes from their host: the event loop, the
/*	clock, whatever connections are made with, and somebody to tell
/*	that a session is over.
/*--*/

import type {ReleaseFeatures} from '../conf/release.ts';
import type {DeadlineClock} from '../event/deadline.ts';
import type {Reactor} from '../event/reactor.ts';
import type {ConnectionParameters} from '../tls/connection/open-connection.ts';
import type {ClientSettingsParser} from '../wire/client-settings.ts';
import type {Role} from '../wire/request.ts';
import type {CompleteHandoff} from './handoff.ts';
import type {HandshakeLimiter} from './handshake-limits.ts';

/** What sessions need of the process that they run in. */
export interface SessionContext {
	readonly features: ReleaseFeatures;
	/** For the settings of all hand-offs. */
	readonly settingsParser: ClientSettingsParser;
	readonly reactor: Reactor;
	readonly clock: DeadlineClock;
	/** The handshakes in progress. */
	readonly handshakeLimiter: HandshakeLimiter;
	/**
	 * Finds or makes what the connection of a hand-off is made with.
	 *
	 * @returns undefined when the hand-off cannot be served; the reason has been logged.
	 */
	prepare(complete: CompleteHandoff): ConnectionParameters | undefined;
	/** Whether a role is served at all. */
	serves(role: Role): boolean;
	/** The session has released all it had. */
	ended(): void;
}
