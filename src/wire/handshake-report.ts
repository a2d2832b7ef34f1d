/*++
/* NAME
/*	handshake-report 3
/* SUMMARY
/*	encode the report on a handshake
/* DESCRIPTION
/*	A report is one list with one object. The client takes the bytes
/*	after it for data from the remote peer, so a report must contain
/*	exactly the attributes of the client's release. smtp(8) stores the
/*	report in a record of lines, which a value with a line feed would
/*	break.
/* SEE ALSO
/*	messages(3), the fields
/*	postfix src/tls/tls_proxy_context_print.c
/*--*/

import type {ReleaseFeatures} from '../conf/release.ts';
import {type AttributeList, printList} from './attribute-list.ts';
import {type MessageOf, print} from './field.ts';
import {handshakeReportFields} from './messages.ts';

/** The outcome of a handshake, as it is reported to the client. */
export type HandshakeReport = MessageOf<typeof handshakeReportFields>;

/** Encodes a report. Line feeds are replaced by question marks. */
export function printReport(report: HandshakeReport, {format}: ReleaseFeatures): Uint8Array {
	const list = print(handshakeReportFields, report, format);
	/* Only names in a certificate can contain line feeds; most reports are printed without a copy. */
	return printList(list.some(attribute => attribute[1].includes('\n')) ? list.map(withoutLineFeeds) : list);
}

function withoutLineFeeds([name, value]: AttributeList[number]): AttributeList[number] {
	return [name, value.replaceAll('\n', '?')];
}
