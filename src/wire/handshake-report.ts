/*++
/* NAME
/*	handshake-report 3
/* SUMMARY
/*	the report on a handshake
/* DESCRIPTION
/*	One list with one object. The client reads what follows as bytes
/*	from the remote peer, so exactly the attributes of its release may
/*	be sent, no more. smtp(8) stores the report in a line-oriented
/*	record: a value with a line feed would break that.
/* SEE ALSO
/*	postfix src/tls/tls_proxy_context_print.c
/*--*/

import type {ReleaseFeatures} from '../conf/release.ts';
import {type AttributeList, printList} from './attribute-list.ts';
import {AttributeReader, type Field, type MessageOf, print, scan} from './field.ts';

const contextFields = [
	{attr: 'peer_CN', type: 'string'},
	{attr: 'issuer_CN', type: 'string'},
	{attr: 'peer_fingerprint', type: 'string'},
	{attr: 'peer_pubkey_fingerprint', type: 'string'},
	{attr: 'level', type: 'int', since: '3.6'},
	{attr: 'peer_status', type: 'int'},
	{attr: 'cipher_protocol', type: 'string'},
	{attr: 'cipher_name', type: 'string'},
	{attr: 'cipher_usebits', type: 'int'},
	{attr: 'cipher_algbits', type: 'int'},
	{attr: 'key_exchange', type: 'string'},
	{attr: 'key_exchange_curve', type: 'string'},
	{attr: 'key_exchange_bits', type: 'int'},
	{attr: 'ctos_rpk', type: 'int', since: '3.9'},
	{attr: 'stoc_rpk', type: 'int', since: '3.9'},
	{attr: 'clnt_signature', type: 'string'},
	{attr: 'clnt_signature_curve', type: 'string'},
	{attr: 'clnt_signature_bits', type: 'int'},
	{attr: 'clnt_signature_digest', type: 'string'},
	{attr: 'srvr_signature', type: 'string'},
	{attr: 'srvr_signature_curve', type: 'string'},
	{attr: 'srvr_signature_bits', type: 'int'},
	{attr: 'srvr_signature_digest', type: 'string'},
	{attr: 'namaddr', type: 'string'},
	{attr: 'rpt_reported', type: 'int', since: '3.10'},
	{attr: 'trace_size_limit', type: 'int', since: '3.12'},
] as const satisfies readonly Field[];

/** What the client is told about a handshake. */
export type HandshakeReport = MessageOf<typeof contextFields>;

/** The bytes of a report. Line feeds become question marks. */
export function printReport(context: HandshakeReport, {format}: ReleaseFeatures): Uint8Array {
	const list = print(contextFields, context, format);
	/* There are none, unless a certificate has strange names. */
	return printList(list.some(attribute => attribute[1].includes('\n')) ? list.map(withoutLineFeeds) : list);
}

function withoutLineFeeds([name, value]: AttributeList[number]): AttributeList[number] {
	return [name, value.replaceAll('\n', '?')];
}

/** Parses a report, as a client does. @throws {PeerError} when it is not one of this release. */
export function parseReport(list: AttributeList, {format}: ReleaseFeatures): HandshakeReport {
	const reader = new AttributeReader(list, format);
	const context = scan(contextFields, reader, 'tls_context');
	reader.finish('tls_context');
	return context;
}
