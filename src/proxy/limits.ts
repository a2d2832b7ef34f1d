/*++
/* NAME
/*	limits 3
/* SUMMARY
/*	time limits of a hand-off
/* DESCRIPTION
/*	A hand-off has one limit at a time, which starts over with each
/*	sign of life. That of the handshake is in the request as it is.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c
/*--*/

import {type Milliseconds, type Seconds, toMilliseconds} from '../units.ts';
import type {Request} from '../wire/request.ts';

/** Time for a client to say anything, and to hang up or pass a descriptor. Source: tlsproxy.c. */
export const SETUP_LIMIT = 100_000 as Milliseconds;
/** Time for a request, once it has begun. Source: tlsproxy.c, TLSP_INIT_TIMEOUT. */
export const REQUEST_LIMIT = 5000 as Milliseconds;
/** What is added to the session time limit of the request. Source: tlsproxy.c. */
const SESSION_GRACE = 10 as Seconds;

/** Time without a byte moved after the handshake: the client has to notice first. */
export function sessionLimit(request: Request | undefined): Milliseconds {
	return toMilliseconds(((request?.sessionTimeout ?? 0) + SESSION_GRACE) as Seconds);
}
