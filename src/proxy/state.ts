/*++
/* NAME
/*	state 3
/* SUMMARY
/*	the phases of a hand-off
/* DESCRIPTION
/*	A hand-off goes through phases; each event either leads to the
/*	next, or cannot happen. next() says which, and what has to be done
/*	about it, without doing anything itself: no clock, no descriptor,
/*	no log.
/*
/*	awaiting-request	the greeting has been sent
/*	answered		a status has been sent, and that was all:
/*				the client hangs up
/*	awaiting-descriptor	status 1 has been sent
/*	looking-up		other processes are asked for what the next
/*				step of the handshake has to know
/*	handshaking		TLS handshake with the remote peer
/*	proxying		bytes go both ways
/*	closing			the client has finished: tell the peer
/*	closed			all resources are released
/* DIAGNOSTICS
/*	Panic: an event that cannot happen in this phase.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c, which keeps the same knowledge in
/*	flags and in which event handler is registered
/*--*/

import {Panic} from '../base/errors.ts';

/** The phase of a hand-off. */
export type State =
	| 'awaiting-request'
	| 'answered'
	| 'awaiting-descriptor'
	| 'looking-up'
	| 'handshaking'
	| 'proxying'
	| 'closing'
	| 'closed';

/** What can happen. */
export type Event =
	/** The request is complete and can be served, or not. */
	| 'accepted'
	| 'refused'
	/** The client only wanted to know, and would be served. */
	| 'available'
	/** The client has passed the remote peer's descriptor. */
	| 'descriptor'
	/** What was looked for was found, or there is none. */
	| 'looked-up'
	/** The handshake cannot go on before something is looked up. */
	| 'question'
	| 'handshake-done'
	/** The client has finished, and all it wrote has been sent to the peer. */
	| 'plaintext-end'
	/** The peer has finished, and all it sent has been written to the client. */
	| 'ciphertext-end'
	/** The peer has been told that this is the end. */
	| 'shutdown-done'
	/** A connection is broken, a time limit has passed, or a peer breaks the protocol. */
	| 'failure';

/** What has to be done, in order. */
export type Action =
	| 'send-status-1'
	| 'send-status-0'
	| 'look-up'
	| 'start-handshake'
	| 'send-report'
	| 'open-plaintext'
	| 'shutdown'
	| 'release';

/** The next state, and the actions to perform. */
export interface Transition {
	readonly state: State;
	readonly actions: readonly Action[];
}

const closed: Transition = {state: 'closed', actions: ['release']};

/* What each phase answers to; 'failure' ends all of them. */
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
		question: {state: 'looking-up', actions: ['look-up']},
		/*
		 * Report first, open the plaintext side second. The report travels on the
		 * stream that will carry text from an arbitrary remote peer. Once that peer
		 * can write there, it could put a report of its own before ours.
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

/** @throws {Panic} when the event cannot happen in this state: our mistake, not the peer's. */
export function next(state: State, event: Event): Transition {
	if (state === 'closed') {
		/* Events that were under way when the session closed are no mistake. */
		return {state, actions: []};
	}

	const transition = event === 'failure' ? closed : transitions[state][event];
	if (transition === undefined) {
		throw new Panic(`${event} while ${state}`);
	}

	return transition;
}
