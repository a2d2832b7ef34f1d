/*++
/* NAME
/*	host 3
/* SUMMARY
/*	what sessions need of the process that they run in
/* DESCRIPTION
/*	A session knows its two descriptors and its time limits. Everything
/*	that sessions share comes from their host: the event loop, the
/*	clock, whatever connections are made with, and somebody to tell
/*	that a session is over.
/*--*/

import type {DeadlineClock} from '../event/deadline.ts';
import type {Reactor} from '../event/reactor.ts';
import type {Opener} from '../tls/connection.ts';
import type {ClientSettingsParser} from '../wire/client.ts';
import type {Profile} from '../wire/release.ts';
import type {Role} from '../wire/request.ts';
import type {Concurrency} from './concurrency.ts';
import type {Order} from './handoff.ts';

/** What sessions need of the process that they run in. */
export interface SessionHost {
	readonly profile: Profile;
	/** For the settings of all hand-offs. */
	readonly settingsParser: ClientSettingsParser;
	readonly reactor: Reactor;
	readonly clock: DeadlineClock;
	/** The handshakes in progress. */
	readonly concurrency: Concurrency;
	/**
	 * Finds or makes what the connection of a hand-off is made with.
	 *
	 * @returns undefined when the hand-off cannot be served; the reason has been logged.
	 */
	prepare(order: Order): Opener | undefined;
	/** Whether a role is served at all. */
	serves(role: Role): boolean;
	/** The session has released all it had. */
	ended(): void;
}
