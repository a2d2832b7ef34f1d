/*++
/* NAME
/*	request 3
/* SUMMARY
/*	greeting, request and status of a hand-off
/* DESCRIPTION
/*	The first three messages of a hand-off: the greeting of this
/*	program, the request of the client, and the status. They are the
/*	same in all releases, except that there is no greeting before
/*	Postfix 3.6.
/* SEE ALSO
/*	messages(3), the fields
/*	postfix src/tls/tls_proxy.h, src/tls/tls_proxy_clnt.c
/*--*/

import {PeerError} from '../base/errors.ts';
import type {Seconds} from '../base/units.ts';
import type {ReleaseFeatures} from '../conf/release.ts';
import {type AttributeList, printList, type WireText} from './attribute-list.ts';
import {AttributeReader, scan} from './field.ts';
import {
	requestHeadFields,
	requestTailFields,
	TLS_PROXY_FLAG_PROBE_ONLY,
	TLS_PROXY_FLAG_ROLE_CLIENT,
	TLS_PROXY_FLAG_ROLE_SERVER,
	TLS_PROXY_FLAG_SEND_CONTEXT,
} from './messages.ts';

/** The role of this program in the TLS session with the remote peer. */
export type Role = 'client' | 'server';

/** A request of a client. */
export interface Request {
	/** `[address]:port` of the remote peer, for log lines. */
	readonly remoteEndpoint: WireText;
	readonly role: Role;
	/** The client wants a report on the handshake. */
	readonly sendContext: boolean;
	/** The client wants a status only, and passes no descriptor. */
	readonly probeOnly: boolean;
	readonly handshakeTimeout: Seconds;
	readonly sessionTimeout: Seconds;
	/** Name of the client's service, for log lines. */
	readonly serverId: WireText;
}

/** A request for no role, or for both roles. It is answered with status 0. */
export class BadFlagsError extends PeerError {
	readonly remoteEndpoint: WireText;
	readonly serverId: WireText;

	/** The request is for no role, not for both. */
	readonly bogusDirection: boolean;

	constructor(flags: number, remoteEndpoint: WireText, serverId: WireText) {
		super(`bad request flags: 0x${(flags >>> 0).toString(16)}`);
		this.remoteEndpoint = remoteEndpoint;
		this.serverId = serverId;
		this.bogusDirection = (flags & TLS_PROXY_FLAG_ROLE_SERVER) === 0;
	}
}

/**
 * Parses a request.
 *
 * @throws {BadFlagsError} if the request is for no role, or for both.
 * @throws {PeerError} if the list is not a request.
 */
export function parseRequest(list: AttributeList, features: ReleaseFeatures): Request {
	const reader = new AttributeReader(list, features.format);
	const head = scan(requestHeadFields, reader, 'request');
	const tail = scan(requestTailFields, reader, 'request');
	reader.finish('request');
	return {
		remoteEndpoint: detached(head.remote_endpoint),
		role: roleFromFlags(head.flags, head.remote_endpoint, tail.serverid),
		sendContext: (head.flags & TLS_PROXY_FLAG_SEND_CONTEXT) !== 0,
		/* Earlier releases ignore the bit. */
		probeOnly: features.serverSettings && (head.flags & TLS_PROXY_FLAG_PROBE_ONLY) !== 0,
		handshakeTimeout: head.timeout as Seconds,
		sessionTimeout: tail.timeout as Seconds,
		serverId: detached(tail.serverid),
	};
}

/*
 * Copies a string. A slice refers to the string of the whole list, and a session refers
 * to these strings until it ends.
 */
function detached(text: WireText): WireText {
	return Buffer.from(text, 'latin1').toString('latin1');
}

const greetingBytes = printList([['protocol', 'tlsproxy_protocol']]);
const statusBytes = [printList([['status', '0']]), printList([['status', '1']])] as const;

/**
 * The greeting, which is sent when a client connects. The bytes are shared, and must not be changed.
 *
 * @returns undefined in releases without a greeting.
 */
export function greeting(features: ReleaseFeatures): Uint8Array | undefined {
	return features.greeting ? greetingBytes : undefined;
}

/**
 * The status: 1 if the request is accepted. The bytes are shared, and must not be changed.
 */
export function printStatus(status: 0 | 1): Uint8Array {
	return statusBytes[status];
}

function roleFromFlags(flags: number, remoteEndpoint: WireText, serverId: WireText): Role {
	switch (flags & (TLS_PROXY_FLAG_ROLE_CLIENT | TLS_PROXY_FLAG_ROLE_SERVER)) {
		case TLS_PROXY_FLAG_ROLE_CLIENT:
			return 'client';
		case TLS_PROXY_FLAG_ROLE_SERVER:
			return 'server';
		default:
			throw new BadFlagsError(flags, remoteEndpoint, serverId);
	}
}
