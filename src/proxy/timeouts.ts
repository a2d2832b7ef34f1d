/*++
/* NAME
/*	timeouts 3
/* SUMMARY
/*	time limits of a hand-off
/* DESCRIPTION
/*	A hand-off has one limit at a time. When it moves data, the limit
/*	starts over with each sign of life.
/*
/*	The handshake has one limit for all of it. With stock it starts
/*	over, too, and a peer that sends a byte now and then has a
/*	handshake that lasts for a day. Nobody waits for that: smtp(8)
/*	waits for the outcome as long as its request says, postscreen(8)
/*	for the first command as long, and then both are gone.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c; postconf(5),
/*	smtpd_per_request_deadline, for the same thought
/*--*/

import {type Milliseconds, type Seconds, toMilliseconds} from '../base/units.ts';
import type {ReleaseFeatures} from '../conf/release.ts';
import type {Request} from '../wire/request.ts';

/** Time for a client that is to be greeted to say anything, and for all to hang up or pass a descriptor. Source: tlsproxy.c. */
export const SETUP_TIMEOUT = 100_000 as Milliseconds;
/** Time for a request, once it has begun. Source: tlsproxy.c, TLSP_INIT_TIMEOUT. */
export const REQUEST_TIMEOUT = 5000 as Milliseconds;
/**
 * Time for a client to say something.
 *
 * One that speaks first has its request at hand when it connects. One that does not begin is of another
 * release: it waits to be greeted, and has no time limit for that.
 */
export function greetingTimeout({greeting}: ReleaseFeatures): Milliseconds {
	return greeting ? SETUP_TIMEOUT : REQUEST_TIMEOUT;
}

/** What is added to the session time limit of the request. Source: tlsproxy.c. */
const SESSION_GRACE = 10 as Seconds;

/** Time from the descriptor up to the end of the handshake. */
export function handshakeTimeout(request: Request | undefined): Milliseconds {
	return toMilliseconds(request?.handshakeTimeout ?? (0 as Seconds));
}

/** Time without a byte moved after the handshake: the client has to notice first. */
export function sessionTimeout(request: Request | undefined): Milliseconds {
	return toMilliseconds(((request?.sessionTimeout ?? 0) + SESSION_GRACE) as Seconds);
}
