/*++
/* NAME
/*	message 3
/* SUMMARY
/*	requests to tlsmgr(8), and its replies
/* DESCRIPTION
/*	The same in all releases. A reply begins with a status; what is
/*	behind a status other than zero may be left over from somebody
/*	else's request, and is not looked at.
/* DIAGNOSTICS
/*	PeerError: what came is no reply to that request.
/* SEE ALSO
/*	postfix src/tls/tls_mgr.c
/*--*/

import {PeerError} from '../errors.ts';
import type {Seconds} from '../units.ts';
import {type AttributeList, printList} from '../wire/attr.ts';

/** How long sessions of a cache type are kept. */
export interface CachePolicy {
	readonly cachable: boolean;
	readonly timeout: Seconds;
}

export function printLookup(cacheType: string, cacheId: string): Uint8Array {
	return printList([
		['request', 'lookup'],
		['cache_type', cacheType],
		['cache_id', cacheId],
	]);
}

export function printUpdate(cacheType: string, cacheId: string, session: Uint8Array): Uint8Array {
	return printList([
		['request', 'update'],
		['cache_type', cacheType],
		['cache_id', cacheId],
		['session', Buffer.from(session).toString('base64')],
	]);
}

export function printPolicy(cacheType: string): Uint8Array {
	return printList([
		['request', 'policy'],
		['cache_type', cacheType],
	]);
}

/** The session of a lookup; undefined when there is none. */
export function parseLookup(list: AttributeList): Uint8Array | undefined {
	const session = succeeded(list) ? Buffer.from(valueOf(list, 'session'), 'base64') : undefined;
	return session === undefined || session.length === 0 ? undefined : session;
}

/** The answer to an update; undefined when nothing was stored. */
export function parseUpdate(list: AttributeList): true | undefined {
	return succeeded(list) || undefined;
}

export function parsePolicy(list: AttributeList): CachePolicy | undefined {
	if (!succeeded(list)) {
		return undefined;
	}

	const timeout = numberOf(list, 'timeout');
	return {cachable: numberOf(list, 'cachable') !== 0 && timeout > 0, timeout: timeout as Seconds};
}

/** What the server says first, from 3.6 on. */
export function isGreeting(list: AttributeList): boolean {
	return list.length === 1 && list[0]?.[0] === 'protocol' && list[0][1] === 'tlsmgr_protocol';
}

function succeeded(list: AttributeList): boolean {
	return numberOf(list, 'status') === 0;
}

function numberOf(list: AttributeList, name: string): number {
	const text = valueOf(list, name);
	if (!/^\d{1,10}$/.test(text)) {
		throw new PeerError(`tlsmgr reply: ${name}: "${text.slice(0, 100)}" is not a number`);
	}

	/* Negative numbers travel as large ones. */
	return Number(text) | 0;
}

function valueOf(list: AttributeList, name: string): string {
	const found = list.find(([attribute]) => attribute === name);
	if (found === undefined) {
		throw new PeerError(`tlsmgr reply: no ${name}`);
	}

	return found[1];
}
