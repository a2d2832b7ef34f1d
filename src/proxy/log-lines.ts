/*++
/* NAME
/*	log-lines 3
/* SUMMARY
/*	log lines about a hand-off
/* DESCRIPTION
/*	The lines are those of stock, without the label. Log analyzers such
/*	as pflogsumm(1) and collate(1) match them.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c
/*--*/

import {PeerError} from '../base/errors.ts';
import {errorText} from '../base/text.ts';
import type {Role} from '../wire/request.ts';

/** Logged once per hand-off, as soon as its request list is complete. */
export function connectLine(role: Role | 'none', remoteEndpoint: string): string {
	const direction = {client: 'to', server: 'from', none: '(bogus_direction)'}[role];
	return `CONNECT ${direction} ${remoteEndpoint}`;
}

/** Logged at the end of each hand-off for which {@link connectLine} was logged. */
export function disconnectLine(remoteEndpoint: string): string {
	return `DISCONNECT ${remoteEndpoint}`;
}

/** Logged before {@link disconnectLine} when the handshake was not completed. */
export function handshakeFailedLine(serverId: string, remoteEndpoint: string): string {
	return `TLS handshake failed for service=${serverId} peer=${remoteEndpoint}`;
}

/** A request is malformed or incomplete. */
export function requestProblemLine(missing: string, why: string): string {
	return `tlsp_get_request_event: receive ${missing}: ${why}`;
}

/** The client has not passed exactly one descriptor. */
export function descriptorProblemLine(why: string): string {
	return `tlsp_get_fd_event: receive remote SMTP peer file descriptor: ${why}`;
}

/** An exception ends a session. */
export function faultLine(remoteEndpoint: string | undefined, reason: unknown): string {
	const text = errorText(reason);
	return reason instanceof PeerError ? text : `session ${remoteEndpoint ?? 'unknown'}: ${text}`;
}

/** A time limit has expired during or after the handshake. */
export function timeoutLine(remoteEndpoint: string): string {
	return `ciphertext read/write timeout for ${remoteEndpoint}`;
}

/** A handshake is refused. Similar to smtpd(8): "Connection concurrency limit exceeded". */
export function limitExceededLine(count: string, remoteEndpoint: string): string {
	return `TLS handshake concurrency limit exceeded: ${count}, refused ${remoteEndpoint}`;
}

/** Number of handshakes that were refused since the last {@link limitExceededLine} or line of this kind. */
export function moreRefusedLine(count: number): string {
	return `TLS handshake concurrency limit exceeded: ${count} more refused in the last minute`;
}

/** The client has disconnected before the report about the handshake was sent. */
export function reportProblemLine(why: string): string {
	return `cannot send TLS context: ${why}`;
}
