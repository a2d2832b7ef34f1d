/*++
/* NAME
/*	state 3
/* SUMMARY
/*	state machine of a hand-off
/* DESCRIPTION
/*	A hand-off has a state. next() returns the state that follows an
/*	event, and the actions to perform. It has no side effects: no
/*	clock, no descriptor, no log.
/*
/*	awaiting-request	the greeting has been sent
/*	answered		the final status has been sent; the client
/*				disconnects
/*	awaiting-descriptor	status 1 has been sent
/*	looking-up		waiting for tlsmgr(8), before the next
/*				handshake step
/*	handshaking		TLS handshake with the remote peer
/*	proxying		data is moved in both directions
/*	closing			the client has closed; the TLS connection
/*				is being shut down
/*	closed			all resources are released
/* DIAGNOSTICS
/*	Panic: an event that is not possible in the current state.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c, which represents the state as
/*	flags and registered event handlers
/*--*/

import {Panic} from '../base/errors.ts';

/** State of a hand-off. */
export type State =
	| 'awaiting-request'
	| 'answered'
	| 'awaiting-descriptor'
	| 'looking-up'
	| 'handshaking'
	| 'proxying'
	| 'closing'
	| 'closed';

/** Event that changes the state. */
export type Event =
	/** The request is complete and can be served. */
	| 'accepted'
	/** The request cannot be served. */
	| 'refused'
	/** The client only asks for availability, and the role is available. */
	| 'available'
	/** The client has passed the remote peer's descriptor. */
	| 'descriptor'
	/** The lookup is complete, with or without a result. */
	| 'looked-up'
	/** The handshake needs a lookup before its next step. */
	| 'lookup-needed'
	| 'handshake-done'
	/** The client has closed, and all its data has been sent to the peer. */
	| 'plaintext-end'
	/** The peer has closed, and all its data has been written to the client. */
	| 'ciphertext-end'
	/** close_notify has been sent. */
	| 'shutdown-done'
	/** A connection is broken, a time limit has expired, the protocol is violated, or an exception was thrown. */
	| 'failure';

/** Action that a transition requires. */
export type Action =
	| 'send-status-1'
	| 'send-status-0'
	| 'look-up'
	| 'start-handshake'
	| 'send-report'
	| 'open-plaintext'
	| 'shutdown'
	| 'release';

/** The next state, and the actions to perform, in order. */
export interface Transition {
	readonly state: State;
	readonly actions: readonly Action[];
}

const closed: Transition = {state: 'closed', actions: ['release']};

/* The possible events of each state, without 'failure', which is possible in every state. */
const transitions: Readonly<Record<State, Readonly<Partial<Record<Event, Transition>>>>> = {
	'awaiting-request': {
		accepted: {state: 'awaiting-descriptor', actions: ['send-status-1']},
		refused: {state: 'answered', actions: ['send-status-0']},
		available: {state: 'answered', actions: ['send-status-1']},
	},
	answered: {'plaintext-end': closed},
	'awaiting-descriptor': {
		descriptor: {state: 'looking-up', actions: ['look-up']},
	},
	'looking-up': {
		'looked-up': {state: 'handshaking', actions: ['start-handshake']},
	},
	handshaking: {
		'lookup-needed': {state: 'looking-up', actions: ['look-up']},
		/*
		 * The report is sent before the first data. Both use the same stream, and the
		 * data comes from an arbitrary remote peer, which could otherwise forge a report.
		 */
		'handshake-done': {state: 'proxying', actions: ['send-report', 'open-plaintext']},
	},
	proxying: {
		'plaintext-end': {state: 'closing', actions: ['shutdown']},
		'ciphertext-end': closed,
	},
	closing: {'shutdown-done': closed},
	closed: {},
};

/** @throws {Panic} when the event is not possible in this state: a mistake in this program, not of a peer. */
export function next(state: State, event: Event): Transition {
	if (state === 'closed') {
		/* Events that were pending when the session was closed are ignored. */
		return {state, actions: []};
	}

	const transition = event === 'failure' ? closed : transitions[state][event];
	if (transition === undefined) {
		throw new Panic(`${event} while ${state}`);
	}

	return transition;
}
