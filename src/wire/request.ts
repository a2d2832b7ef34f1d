/*++
/* NAME
/*	request 3
/* SUMMARY
/*	greeting, request and status of a hand-off
/* DESCRIPTION
/*	The part of the protocol that is the same in every release, but
/*	for the greeting: before 3.6 the client speaks first.
/* SEE ALSO
/*	postfix src/tls/tls_proxy.h, src/tls/tls_proxy_clnt.c
/*--*/

import {PeerError} from '../base/errors.ts';
import type {Seconds} from '../base/units.ts';
import type {ReleaseFeatures} from '../conf/release.ts';
import {type AttributeList, printList, type WireText} from './attribute-list.ts';
import {AttributeReader, type Field, print, scan} from './field.ts';

/* Bits of the `flags` attribute. Source: postfix src/tls/tls_proxy.h. */
const TLS_PROXY_FLAG_ROLE_SERVER = 0x1;
const TLS_PROXY_FLAG_ROLE_CLIENT = 0x2;
const TLS_PROXY_FLAG_SEND_CONTEXT = 0x4;
const TLS_PROXY_FLAG_PROBE_ONLY = 0x8;

/** The part that we play towards the remote peer. */
export type Role = 'client' | 'server';

/** What a client asks for. */
export interface Request {
	/** `[address]:port` of the remote peer, for the log. */
	readonly remoteEndpoint: WireText;
	readonly role: Role;
	/** The client wants to know the outcome of the handshake. */
	readonly sendContext: boolean;
	/** The client only wants to know whether it would be served. */
	readonly probeOnly: boolean;
	readonly handshakeTimeout: Seconds;
	readonly sessionTimeout: Seconds;
	/** Name of the requesting service, for the log. */
	readonly serverId: WireText;
}

/** A request for no role, or for both: it is answered, with status 0. */
export class BadFlagsError extends PeerError {
	readonly remoteEndpoint: WireText;
	readonly serverId: WireText;

	/** No role at all was asked for, rather than both. */
	readonly bogusDirection: boolean;

	constructor(flags: number, remoteEndpoint: WireText, serverId: WireText) {
		super(`bad request flags: 0x${(flags >>> 0).toString(16)}`);
		this.remoteEndpoint = remoteEndpoint;
		this.serverId = serverId;
		this.bogusDirection = (flags & TLS_PROXY_FLAG_ROLE_SERVER) === 0;
	}
}

/* The wire has one name twice; in the table the second gets a name of its own. */
const head = [
	{attr: 'remote_endpoint', type: 'string'},
	{attr: 'flags', type: 'int'},
	{attr: 'timeout', type: 'int'},
] as const satisfies readonly Field[];
const tail = [
	{attr: 'timeout', type: 'int'},
	{attr: 'serverid', type: 'string'},
] as const satisfies readonly Field[];

/**
 * Parses a request.
 *
 * @throws {BadFlagsError} when it asks for no role, or for both.
 * @throws {PeerError} when it is no request.
 */
export function parseRequest(list: AttributeList, features: ReleaseFeatures): Request {
	const reader = new AttributeReader(list, features.format);
	const first = scan(head, reader, 'request');
	const second = scan(tail, reader, 'request');
	reader.finish('request');
	return {
		remoteEndpoint: detached(first.remote_endpoint),
		role: roleFromFlags(first.flags, first.remote_endpoint, second.serverid),
		sendContext: (first.flags & TLS_PROXY_FLAG_SEND_CONTEXT) !== 0,
		/* Releases before the bit had a meaning ignore it. */
		probeOnly: features.serverSettings && (first.flags & TLS_PROXY_FLAG_PROBE_ONLY) !== 0,
		handshakeTimeout: first.timeout as Seconds,
		sessionTimeout: second.timeout as Seconds,
		serverId: detached(second.serverid),
	};
}

/*
 * A text that was cut from a list keeps the memory of the whole list, and a session
 * needs these for as long as it lasts.
 */
function detached(text: WireText): WireText {
	return Buffer.from(text, 'latin1').toString('latin1');
}

/** The bytes of a request, as a client sends them. */
export function printRequest(request: Request, features: ReleaseFeatures): Uint8Array {
	const {format} = features;
	const flags =
		(request.role === 'server' ? TLS_PROXY_FLAG_ROLE_SERVER : TLS_PROXY_FLAG_ROLE_CLIENT) |
		(request.sendContext ? TLS_PROXY_FLAG_SEND_CONTEXT : 0) |
		(request.probeOnly ? TLS_PROXY_FLAG_PROBE_ONLY : 0);
	return printList([
		...print(
			head,
			{remote_endpoint: request.remoteEndpoint, flags, timeout: request.handshakeTimeout},
			format,
		),
		...print(tail, {timeout: request.sessionTimeout, serverid: request.serverId}, format),
	]);
}

const greetingBytes = printList([['protocol', 'tlsproxy_protocol']]);
const statusBytes = [printList([['status', '0']]), printList([['status', '1']])] as const;

/** What the server sends before anything else, only to be read; undefined in releases that have no greeting. */
export function greeting(features: ReleaseFeatures): Uint8Array | undefined {
	return features.greeting ? greetingBytes : undefined;
}

/** Whether the request can be served: 1, go ahead. Bytes that are only to be read. */
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
