/*++
/* NAME
/*	message 3
/* SUMMARY
/*	requests to tlsmgr(8), and its replies
/* DESCRIPTION
/*	The same in all releases, but that the server speaks first from
/*	3.6 on. A reply begins with a status; what is behind a status other
/*	than zero may be left over from somebody else's request, and is not
/*	looked at. Attributes that nobody asked for are skipped.
/* DIAGNOSTICS
/*	PeerError: what came is no reply to that request.
/* SECURITY
/*	Sessions and keys are secrets: no message shows their text.
/* SEE ALSO
/*	postfix src/tls/tls_mgr.c, src/tls/tls_scache.h
/*--*/

import {PeerError} from '../base/errors.ts';
import type {Seconds} from '../base/units.ts';
import {type AttributeList, printList} from '../wire/attribute-list.ts';
import {TICKET_KEY_SIZE, type TicketKey, ticketKeyOf} from '../wire/ticket-key.ts';

/**
 * Bytes in a session, at most. A reply with a larger one would exceed the limit of attribute-list(3) for a value;
 * how large it is, decides the remote peer.
 */
export const SESSION_LIMIT = 49_152;

/** How long sessions of a cache type are kept. */
export interface CachePolicy {
	readonly cachable: boolean;
	readonly timeout: Seconds;
}

export function printLookup(cacheType: string, cacheId: string): Uint8Array {
	return printRequest('lookup', ['cache_type', cacheType], ['cache_id', cacheId]);
}

export function printUpdate(cacheType: string, cacheId: string, session: Uint8Array): Uint8Array {
	return printRequest(
		'update',
		['cache_type', cacheType],
		['cache_id', cacheId],
		['session', base64(session)],
	);
}

export function printDelete(cacheType: string, cacheId: string): Uint8Array {
	return printRequest('delete', ['cache_type', cacheType], ['cache_id', cacheId]);
}

export function printPolicy(cacheType: string): Uint8Array {
	return printRequest('policy', ['cache_type', cacheType]);
}

/** @param name - of a key that was used before, or nothing: then it is the key to issue tickets with. */
export function printTicketKey(name: Uint8Array): Uint8Array {
	return printRequest('tktkey', ['keyname', base64(name)]);
}

/** What the server says first, from 3.6 on. */
export function isGreeting(list: AttributeList): boolean {
	return list.length === 1 && list[0]?.[0] === 'protocol' && list[0][1] === 'tlsmgr_protocol';
}

/** The session of a lookup; undefined when there is none. */
export function parseLookup(list: AttributeList): Uint8Array | undefined {
	const session = succeeded(list) ? dataOf(list, 'session') : undefined;
	return session?.length === 0 ? undefined : session;
}

/** The answer to an update or a delete; undefined when nothing was stored or removed. */
export function parseDone(list: AttributeList): true | undefined {
	return succeeded(list) || undefined;
}

export function parsePolicy(list: AttributeList): CachePolicy | undefined {
	if (!succeeded(list)) {
		return undefined;
	}

	const timeout = numberOf(list, 'timeout');
	return {cachable: numberOf(list, 'cachable') !== 0 && timeout > 0, timeout: timeout as Seconds};
}

/** The key; undefined when there is none of that name. */
export function parseTicketKey(list: AttributeList): TicketKey | undefined {
	if (!succeeded(list)) {
		return undefined;
	}

	return ticketKeyOf(dataOf(list, 'keybuf', TICKET_KEY_SIZE));
}

function printRequest(name: string, ...attributes: AttributeList): Uint8Array {
	return printList([['request', name], ...attributes]);
}

function base64(bytes: Uint8Array): string {
	return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
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

/* Node.js decodes as much as it can of anything: ask first whether it is base64. */
function dataOf(list: AttributeList, name: string, size?: number): Buffer {
	const text = valueOf(list, name);
	if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
		throw new PeerError(`tlsmgr reply: ${name} is not base64`);
	}

	const bytes = Buffer.from(text, 'base64');
	if (size !== undefined && bytes.length !== size) {
		throw new PeerError(`tlsmgr reply: ${name} has ${bytes.length} bytes instead of ${size}`);
	}

	return bytes;
}

function valueOf(list: AttributeList, name: string): string {
	const found = list.find(([attribute]) => attribute === name);
	if (found === undefined) {
		throw new PeerError(`tlsmgr reply: no ${name}`);
	}

	return found[1];
}
