/*++
/* NAME
/*	session-context 3
/* SUMMARY
/*	resources that the sessions of a process share
/* DESCRIPTION
/*	A session owns its descriptors and its time limit. The session
/*	context provides everything that sessions share: the event loop,
/*	the clock, the settings parser, the limits, and the parameters of
/*	connections. It is notified when a session has ended.
/*--*/

import type {DeadlineClock} from '../event/deadline.ts';
import type {Reactor} from '../event/reactor.ts';
import type {ConnectionParameters} from '../tls/connection/open-connection.ts';
import type {Role} from '../wire/request.ts';
import type {CompleteHandoff, HandoffContext} from './handoff.ts';
import type {HandshakeLimiter} from './handshake-limits.ts';

/** Resources that the sessions of a process share; borrowed by them. */
export interface SessionContext extends HandoffContext {
	readonly reactor: Reactor;
	readonly clock: DeadlineClock;
	readonly handshakeLimiter: HandshakeLimiter;
	/**
	 * Finds or makes the parameters of a connection.
	 *
	 * @returns undefined when the hand-off cannot be served; the reason has been logged.
	 */
	prepare(complete: CompleteHandoff): ConnectionParameters | undefined;
	/** Whether a role is enabled. */
	serves(role: Role): boolean;
	/** A session has ended and released its resources. Must not throw. */
	ended(): void;
}
