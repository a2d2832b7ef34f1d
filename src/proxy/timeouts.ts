/*++
/* NAME
/*	timeouts 3
/* SUMMARY
/*	time limits of a hand-off
/* DESCRIPTION
/*	One time limit at a time applies to a hand-off. While it proxies
/*	data, the limit is restarted whenever bytes are moved.
/*
/*	The handshake has one limit for all of its steps. With stock the
/*	limit is restarted with each step, so that a handshake with a peer
/*	that sends byte by byte can last for a day. But smtp(8)
/*	waits for the outcome only for the timeout in its request, and
/*	postscreen(8) waits as long for the first command.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c; postconf(5),
/*	smtpd_per_request_deadline, for the same idea
/*--*/

import {type Milliseconds, type Seconds, toMilliseconds} from '../base/units.ts';
import type {ReleaseFeatures} from '../conf/release.ts';
import type {Request} from '../wire/request.ts';

/**
 * Time for a client that has been greeted to send the first byte, and for any client to pass a descriptor or
 * disconnect after the status. Source: tlsproxy.c.
 */
export const SETUP_TIMEOUT = 100_000 as Milliseconds;
/** Time for a request, from its first byte. Source: tlsproxy.c, TLSP_INIT_TIMEOUT. */
export const REQUEST_TIMEOUT = 5000 as Milliseconds;

/**
 * Time for a client to send the first byte.
 *
 * A client that is not greeted has its request ready when it connects. If it sends nothing, it belongs to
 * another Postfix release: it waits for a greeting, without a time limit.
 */
export function greetingTimeout({greeting}: ReleaseFeatures): Milliseconds {
	return greeting ? SETUP_TIMEOUT : REQUEST_TIMEOUT;
}

/** Added to the session time limit of the request. Source: tlsproxy.c. */
const SESSION_GRACE = 10 as Seconds;

/** Time from the descriptor to the end of the handshake. */
export function handshakeTimeout(request: Request | undefined): Milliseconds {
	return toMilliseconds(request?.handshakeTimeout ?? (0 as Seconds));
}

/** Time after the handshake in which no bytes are moved. It is longer than the client's, which shall expire first. */
export function sessionTimeout(request: Request | undefined): Milliseconds {
	return toMilliseconds(((request?.sessionTimeout ?? 0) + SESSION_GRACE) as Seconds);
}
