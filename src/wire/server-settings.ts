/*++
/* NAME
/*	server-settings 3
/* SUMMARY
/*	settings of a request in the server role
/* DESCRIPTION
/*	From 3.12 on the server role has settings on the wire, three
/*	objects in one list, like those of the client role. Before that
/*	they come from main.cf.
/* SEE ALSO
/*	postfix src/tls/tls_proxy_server_param_proto.c,
/*	src/tls/tls_proxy_server_init_proto.c,
/*	src/tls/tls_proxy_server_start_proto.c
/*--*/

import type {ReleaseFeatures} from '../conf/release.ts';
import {type AttributeList, printList} from './attribute-list.ts';
import {AttributeReader, type Field, type MessageOf, print, scan} from './field.ts';
import {settingsKey} from './settings-key.ts';

const serverParamsFields = [
	{attr: 'config_file', type: 'string'},
	{attr: 'config_name', type: 'string'},
	{attr: 'tls_high_cipherlist', type: 'string'},
	{attr: 'tls_medium_cipherlist', type: 'string'},
	{attr: 'tls_null_cipherlist', type: 'string'},
	{attr: 'tls_eecdh_auto_curves', type: 'string'},
	{attr: 'tls_eecdh_strong_curve', type: 'string'},
	{attr: 'tls_eecdh_ultra_curve', type: 'string'},
	{attr: 'tls_ffdhe_auto_groups', type: 'string'},
	{attr: 'tls_disable_workarounds', type: 'string'},
	{attr: 'tls_ssl_options', type: 'string'},
	{attr: 'tlsmgr_service_name', type: 'string'},
	{attr: 'tls_session_ticket_cipher', type: 'string'},
	{attr: 'tls_daemon_random_bytes', type: 'int'},
	{attr: 'tls_append_default_CA', type: 'int'},
	{attr: 'tls_preempt_cipherlist', type: 'int'},
	{attr: 'tls_wildcard_matches_multiple_labels', type: 'int'},
	{attr: 'tls_server_sni_maps', type: 'string'},
	{attr: 'tls_fast_shutdown_enable', type: 'int'},
	{attr: 'tls_trust_server_ccerts', type: 'int'},
] as const satisfies readonly Field[];

const serverInitFields = [
	{attr: 'log_param', type: 'string'},
	{attr: 'log_level', type: 'string'},
	{attr: 'verifydepth', type: 'int'},
	{attr: 'cache_type', type: 'string'},
	{attr: 'set_sessid', type: 'int'},
	{attr: 'chain_files', type: 'string'},
	{attr: 'cert_file', type: 'string'},
	{attr: 'key_file', type: 'string'},
	{attr: 'dcert_file', type: 'string'},
	{attr: 'dkey_file', type: 'string'},
	{attr: 'eccert_file', type: 'string'},
	{attr: 'eckey_file', type: 'string'},
	{attr: 'CAfile', type: 'string'},
	{attr: 'CApath', type: 'string'},
	{attr: 'protocols', type: 'string'},
	{attr: 'eecdh_grade', type: 'string'},
	{attr: 'dh1024_param_file', type: 'string'},
	{attr: 'dh512_param_file', type: 'string'},
	{attr: 'ask_ccert', type: 'int'},
	{attr: 'mdalg', type: 'string'},
] as const satisfies readonly Field[];

const serverStartFields = [
	{attr: 'log_param', type: 'string'},
	{attr: 'log_level', type: 'string'},
	{attr: 'timeout', type: 'int'},
	{attr: 'enable_rpk', type: 'int'},
	{attr: 'requirecert', type: 'int'},
	{attr: 'serverid', type: 'string'},
	{attr: 'namaddr', type: 'string'},
	{attr: 'cipher_grade', type: 'string'},
	{attr: 'cipher_exclusions', type: 'string'},
	{attr: 'mdalg', type: 'string'},
	{attr: 'trace_size_limit', type: 'int'},
	{attr: 'trace_peer', type: 'string'},
] as const satisfies readonly Field[];

/** Global TLS settings of the process that asks. */
export type ServerParams = MessageOf<typeof serverParamsFields>;
/** What selects an SSL_CTX. */
export type ServerInit = MessageOf<typeof serverInitFields>;
/** What applies to one connection. */
export type ServerStart = MessageOf<typeof serverStartFields>;

/** All settings of a request in the server role. */
export interface ServerSettings {
	readonly params: ServerParams;
	readonly init: ServerInit;
	readonly start: ServerStart;
}

/** @throws {PeerError} when the list is not what a client of this release sends. */
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

/** The bytes of the settings, as a client sends them. */
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

/** The key of what selects an SSL_CTX. Which parameter the log level comes from makes no difference. */
export function serverSettingsKey(
	{params, init}: Pick<ServerSettings, 'params' | 'init'>,
	{format}: ReleaseFeatures,
): string {
	return settingsKey([
		...print(serverParamsFields, params, format),
		...print(serverInitFields, {...init, log_param: ''}, format),
	]);
}
