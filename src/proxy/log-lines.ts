/*++
/* NAME
/*	log-lines 3
/* SUMMARY
/*	what the log says about a hand-off
/* DESCRIPTION
/*	The words of stock, without the label. Administrators' programs
/*	match them: pflogsumm(1), collate(1), and many of their own.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c
/*--*/

import {PeerError} from '../base/errors.ts';
import type {Role} from '../wire/request.ts';

/** Logged once per hand-off, as soon as its request list is complete, whatever follows. */
export function connectLine(role: Role | 'none', remoteEndpoint: string): string {
	const direction = {client: 'to', server: 'from', none: '(bogus_direction)'}[role];
	return `CONNECT ${direction} ${remoteEndpoint}`;
}

/** Logged once per hand-off that got as far as {@link connectLine}, when it is over. */
export function disconnectLine(remoteEndpoint: string): string {
	return `DISCONNECT ${remoteEndpoint}`;
}

/** Logged before {@link disconnectLine} when no byte of plaintext could have been moved. */
export function handshakeFailedLine(serverId: string, remoteEndpoint: string): string {
	return `TLS handshake failed for service=${serverId} peer=${remoteEndpoint}`;
}

/** A request that is malformed, or ends in the middle. */
export function requestProblemLine(missing: string, why: string): string {
	return `tlsp_get_request_event: receive ${missing}: ${why}`;
}

/** Something else came when the descriptor was due. */
export function descriptorProblemLine(why: string): string {
	return `tlsp_get_fd_event: receive remote SMTP peer file descriptor: ${why}`;
}

/** Something was thrown in a session, which ends by it. */
export function faultLine(remoteEndpoint: string | undefined, reason: unknown): string {
	const what = reason instanceof Error ? reason.message : String(reason);
	return reason instanceof PeerError ? what : `session ${remoteEndpoint ?? 'unknown'}: ${what}`;
}

/** A limit has passed during or after the handshake. */
export function timeoutLine(remoteEndpoint: string): string {
	return `ciphertext read/write timeout for ${remoteEndpoint}`;
}

/** A handshake is refused. After smtpd(8): "Connection concurrency limit exceeded". */
export function limitExceededLine(what: string, remoteEndpoint: string): string {
	return `TLS handshake concurrency limit exceeded: ${what}, refused ${remoteEndpoint}`;
}

/** How many more were refused since {@link limitExceededLine}, or since the last of these. */
export function moreRefusedLine(count: number): string {
	return `TLS handshake concurrency limit exceeded: ${count} more refused in the last minute`;
}

/** The client has not waited for the report about the handshake. */
export function reportProblemLine(why: string): string {
	return `cannot send TLS context: ${why}`;
}
