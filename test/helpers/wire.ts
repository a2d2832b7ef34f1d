/*
 * The client's side of the protocol: the messages that this program only reads are
 * printed, and those that it only writes are parsed.
 */
import type {ReleaseFeatures} from '../../src/conf/release.ts';
import {type AttributeList, printList} from '../../src/wire/attribute-list.ts';
import type {ClientSettings} from '../../src/wire/client-settings.ts';
import {AttributeReader, print, scan} from '../../src/wire/field.ts';
import type {HandshakeReport} from '../../src/wire/handshake-report.ts';
import {
	clientInitFields,
	clientParamsFields,
	clientStartFields,
	handshakeReportFields,
	requestHeadFields,
	requestTailFields,
	serverInitFields,
	serverParamsFields,
	serverStartFields,
	TLS_PROXY_FLAG_PROBE_ONLY,
	TLS_PROXY_FLAG_ROLE_CLIENT,
	TLS_PROXY_FLAG_ROLE_SERVER,
	TLS_PROXY_FLAG_SEND_CONTEXT,
} from '../../src/wire/messages.ts';
import type {Request} from '../../src/wire/request.ts';
import type {ServerSettings} from '../../src/wire/server-settings.ts';

/** Encodes a request. */
export function printRequest(request: Request, {format}: ReleaseFeatures): Uint8Array {
	const {remoteEndpoint, role, sendContext, probeOnly, handshakeTimeout, sessionTimeout, serverId} = request;
	const flags =
		(role === 'server' ? TLS_PROXY_FLAG_ROLE_SERVER : TLS_PROXY_FLAG_ROLE_CLIENT) |
		(sendContext ? TLS_PROXY_FLAG_SEND_CONTEXT : 0) |
		(probeOnly ? TLS_PROXY_FLAG_PROBE_ONLY : 0);
	const head = {remote_endpoint: remoteEndpoint, flags, timeout: handshakeTimeout};
	const tail = {timeout: sessionTimeout, serverid: serverId};
	return printList([...print(requestHeadFields, head, format), ...print(requestTailFields, tail, format)]);
}

/** Encodes the settings of a request in the client role. */
export function printClientSettings(
	{params, init, start}: ClientSettings,
	{format}: ReleaseFeatures,
): Uint8Array {
	return printList([
		...print(clientParamsFields, params, format),
		...print(clientInitFields, init, format),
		...print(clientStartFields, start, format),
	]);
}

/** Encodes the settings of a request in the server role. */
export function printServerSettings(
	{params, init, start}: ServerSettings,
	{format}: ReleaseFeatures,
): Uint8Array {
	return printList([
		...print(serverParamsFields, params, format),
		...print(serverInitFields, init, format),
		...print(serverStartFields, start, format),
	]);
}

/** Parses a report. @throws {PeerError} if it is not one of the release. */
export function parseReport(list: AttributeList, {format}: ReleaseFeatures): HandshakeReport {
	const reader = new AttributeReader(list, format);
	const report = scan(handshakeReportFields, reader, 'tls_context');
	reader.finish('tls_context');
	return report;
}
