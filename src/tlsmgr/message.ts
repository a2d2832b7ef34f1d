/*++
/* NAME
/*	message 3
/* SUMMARY
/*	encodes requests to tlsmgr(8) and parses its replies
/* DESCRIPTION
/*	The protocol is the same in all releases, except that from Postfix
/*	3.6 on the server sends a greeting. A reply starts with a status.
/*	If the status is not zero, the other attributes may be left over
/*	from another client's request, and are ignored. Unknown attributes
/*	are skipped.
/* DIAGNOSTICS
/*	PeerError: the reply does not match the request.
/* SECURITY
/*	Sessions and keys are secrets: no error message contains them.
/* SEE ALSO
/*	postfix src/tls/tls_mgr.c, src/tls/tls_scache.h
/*--*/

import {PeerError} from '../base/errors.ts';
import {decodeBase64} from '../base/text.ts';
import type {Seconds} from '../base/units.ts';
import {type AttributeList, printList} from '../wire/attribute-list.ts';
import {TICKET_KEY_SIZE, type TicketKey, ticketKeyOf} from '../wire/ticket-key.ts';

/**
 * Maximum size of a session, in bytes. A reply with a larger one would exceed the value limit of
 * attribute-list(3). The remote peer determines the size of a session.
 */
export const SESSION_LIMIT = 49_152;

/** Whether and how long sessions of a cache type are stored. */
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

/** @param name - of the key that decrypts a ticket; empty: the key that new tickets are issued with. */
export function printTicketKey(name: Uint8Array): Uint8Array {
	return printRequest('tktkey', ['keyname', base64(name)]);
}

/** Whether a list is the greeting of tlsmgr(8), which it sends from Postfix 3.6 on. */
export function isGreeting(list: AttributeList): boolean {
	return list.length === 1 && list[0]?.[0] === 'protocol' && list[0][1] === 'tlsmgr_protocol';
}

/** The reply to a lookup: the session; undefined if it was not found. */
export function parseLookup(list: AttributeList): Uint8Array | undefined {
	const session = succeeded(list) ? dataOf(list, 'session') : undefined;
	return session?.length === 0 ? undefined : session;
}

/** The reply to an update or a delete; undefined if nothing was stored or removed. */
export function parseDone(list: AttributeList): true | undefined {
	return succeeded(list) || undefined;
}

/** The reply to a policy request; undefined if the cache type is unknown. */
export function parsePolicy(list: AttributeList): CachePolicy | undefined {
	if (!succeeded(list)) {
		return undefined;
	}

	const timeout = numberOf(list, 'timeout');
	return {cachable: numberOf(list, 'cachable') !== 0 && timeout > 0, timeout: timeout as Seconds};
}

/** The reply to a ticket key request: the key; undefined if it was not found. */
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

	/* Negative numbers are sent as unsigned 32-bit numbers. */
	return Number(text) | 0;
}

function dataOf(list: AttributeList, name: string, size?: number): Buffer {
	const bytes = decodeBase64(valueOf(list, name));
	if (bytes === undefined) {
		throw new PeerError(`tlsmgr reply: ${name} is not base64`);
	}

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
