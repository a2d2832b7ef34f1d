/*++
/* NAME
/*	server-settings 3
/* SUMMARY
/*	parse the settings of a request in the server role
/* DESCRIPTION
/*	Since Postfix 3.12, requests in the server role contain settings:
/*	three objects in one list, as in the client role. In earlier
/*	releases the settings come from main.cf.
/* SEE ALSO
/*	messages(3), the fields
/*--*/

import type {ReleaseFeatures} from '../conf/release.ts';
import type {AttributeList} from './attribute-list.ts';
import {AttributeReader, type MessageOf, print, scan} from './field.ts';
import {serverInitFields, serverParamsFields, serverStartFields} from './messages.ts';
import {settingsKey} from './settings-key.ts';

/** The global TLS settings of the client process. */
export type ServerParams = MessageOf<typeof serverParamsFields>;
/** The settings that select an SSL_CTX. */
export type ServerInit = MessageOf<typeof serverInitFields>;
/** The settings of one connection. */
export type ServerStart = MessageOf<typeof serverStartFields>;

/** All settings of a request in the server role. */
export interface ServerSettings {
	readonly params: ServerParams;
	readonly init: ServerInit;
	readonly start: ServerStart;
}

/** Parses a list. @throws {PeerError} if it is not one of a client of this release. */
export function parseServerSettings(list: AttributeList, {format}: ReleaseFeatures): ServerSettings {
	const reader = new AttributeReader(list, format);
	const settings = {
		params: scan(serverParamsFields, reader, 'server_params'),
		init: scan(serverInitFields, reader, 'server_init'),
		start: scan(serverStartFields, reader, 'server_start'),
	};
	reader.finish('server_start');
	return settings;
}

/** The key of the settings that select an SSL_CTX. The name of the log level's parameter does not matter. */
export function serverSettingsKey(
	{params, init}: Pick<ServerSettings, 'params' | 'init'>,
	{format}: ReleaseFeatures,
): string {
	return settingsKey([
		...print(serverParamsFields, params, format),
		...print(serverInitFields, {...init, log_param: ''}, format),
	]);
}
