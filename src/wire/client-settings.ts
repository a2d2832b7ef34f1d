/*++
/* NAME
/*	client-settings 3
/* SUMMARY
/*	settings of a request in the client role
/* DESCRIPTION
/*	Three objects in one list: the global TLS settings of the process
/*	that asks, what selects an SSL_CTX, and what applies to the one
/*	connection. Names are those on the wire, which are those of main.cf
/*	where there is a parameter.
/* SEE ALSO
/*	postfix src/tls/tls_proxy_client_print.c,
/*	src/tls/tls_proxy_client_scan.c
/*--*/

import type {ReleaseFeatures} from '../conf/release.ts';
import {type AttributeList, printList} from './attribute-list.ts';
import {AttributeReader, type Field, type MessageOf, print, scan} from './field.ts';
import {settingsKey} from './settings-key.ts';

/* config_file and config_name came in patch releases, after the next minor release was out. */
const lateConfig = {since: '3.5.20', except: ['3.6', '3.8.0']} as const;

/** TLS_CLIENT_PARAMS, in wire order. Source: tls_proxy_client_param_print(). */
const clientParamsFields = [
	{attr: 'config_file', type: 'string', ...lateConfig},
	{attr: 'config_name', type: 'string', ...lateConfig},
	{attr: 'tls_high_cipherlist', type: 'string'},
	{attr: 'tls_medium_cipherlist', type: 'string'},
	{attr: 'tls_low_cipherlist', type: 'string', until: '3.8.0'},
	{attr: 'tls_export_cipherlist', type: 'string', until: '3.8.0'},
	{attr: 'tls_null_cipherlist', type: 'string'},
	{attr: 'tls_eecdh_auto_curves', type: 'string'},
	{attr: 'tls_eecdh_strong_curve', type: 'string'},
	{attr: 'tls_eecdh_ultra_curve', type: 'string'},
	{attr: 'tls_ffdhe_auto_groups', type: 'string', since: '3.8.0'},
	{attr: 'tls_disable_workarounds', type: 'string'},
	{attr: 'tls_ssl_options', type: 'string'},
	{attr: 'tls_dane_digests', type: 'string'},
	{attr: 'tlsmgr_service_name', type: 'string'},
	{attr: 'tls_session_ticket_cipher', type: 'string'},
	{attr: 'tls_daemon_random_bytes', type: 'int'},
	{attr: 'tls_append_default_CA', type: 'int'},
	{attr: 'tls_legacy_public_key_fingerprints', type: 'int', until: '3.11'},
	{attr: 'tls_preempt_cipherlist', type: 'int'},
	{attr: 'tls_wildcard_matches_multiple_labels', type: 'int'},
	{attr: 'tls_fast_shutdown_enable', type: 'int', since: '3.12'},
] as const satisfies readonly Field[];

/** TLS_CLIENT_INIT_PROPS, in wire order. Source: tls_proxy_client_init_print(). */
const clientInitFields = [
	{attr: 'log_param', type: 'string'},
	{attr: 'log_level', type: 'string'},
	{attr: 'verifydepth', type: 'int'},
	{attr: 'cache_type', type: 'string'},
	{attr: 'chain_files', type: 'string'},
	{attr: 'cert_file', type: 'string'},
	{attr: 'key_file', type: 'string'},
	{attr: 'dcert_file', type: 'string'},
	{attr: 'dkey_file', type: 'string'},
	{attr: 'eccert_file', type: 'string'},
	{attr: 'eckey_file', type: 'string'},
	{attr: 'CAfile', type: 'string'},
	{attr: 'CApath', type: 'string'},
	{attr: 'mdalg', type: 'string'},
] as const satisfies readonly Field[];

/* A TLSA record; before 3.6 the digests that it was turned into. */
const tlsa = [
	{attr: 'mdalg', type: 'string', until: '3.6'},
	{attr: 'certs', type: 'argv', until: '3.6'},
	{attr: 'pkeys', type: 'argv', until: '3.6'},
	{attr: 'usage', type: 'int', since: '3.6'},
	{attr: 'selector', type: 'int', since: '3.6'},
	{attr: 'mtype', type: 'int', since: '3.6'},
	{attr: 'data', type: 'data', since: '3.6'},
] as const satisfies readonly Field[];

const dane = [
	{attr: 'ta', type: 'repeat', until: '3.6', fields: tlsa},
	{attr: 'ee', type: 'repeat', until: '3.6', fields: tlsa},
	{attr: 'certs', type: 'repeat', until: '3.6', fields: [{attr: 'cert', type: 'data'}]},
	{attr: 'pkeys', type: 'repeat', until: '3.6', fields: [{attr: 'pkey', type: 'data'}]},
	{attr: 'domain', type: 'string'},
	{attr: 'flags', type: 'int', until: '3.6'},
	{attr: 'exp', type: 'long', until: '3.6'},
	{attr: 'tlsa', type: 'repeat', since: '3.6', fields: tlsa},
] as const satisfies readonly Field[];

const tlsrpt = [
	{attr: 'rpt_socket_name', type: 'string'},
	{attr: 'rpt_policy_domain', type: 'string'},
	{attr: 'rpt_policy_string', type: 'string'},
	{attr: 'tls_policy_type', type: 'int'},
	{attr: 'tls_policy_strings', type: 'argv'},
	{attr: 'tls_policy_domain', type: 'string'},
	{attr: 'mx_host_patterns', type: 'argv'},
	{attr: 'snd_mta_addr', type: 'string'},
	{attr: 'rcv_mta_name', type: 'string'},
	{attr: 'rcv_mta_addr', type: 'string'},
	{attr: 'rcv_mta_ehlo', type: 'string'},
	{attr: 'skip_reused_hs', type: 'int'},
	{attr: 'flags', type: 'int'},
] as const satisfies readonly Field[];

/** TLS_CLIENT_START_PROPS, in wire order. Source: tls_proxy_client_start_print(). */
const clientStartFields = [
	{attr: 'log_param', type: 'string', since: '3.12'},
	{attr: 'log_level', type: 'string', since: '3.12'},
	{attr: 'timeout', type: 'int'},
	{attr: 'enable_rpk', type: 'int', since: '3.9'},
	{attr: 'tls_level', type: 'int'},
	{attr: 'nexthop', type: 'string'},
	{attr: 'host', type: 'string'},
	{attr: 'namaddr', type: 'string'},
	{attr: 'sni', type: 'string'},
	{attr: 'serverid', type: 'string'},
	{attr: 'helo', type: 'string'},
	{attr: 'protocols', type: 'string'},
	{attr: 'cipher_grade', type: 'string'},
	{attr: 'cipher_exclusions', type: 'string'},
	{attr: 'matchargv', type: 'argv'},
	{attr: 'mdalg', type: 'string'},
	{attr: 'dane', type: 'optional', fields: dane},
	{attr: 'tlsrpt', type: 'optional', since: '3.10', build: true, fields: tlsrpt},
	{attr: 'forced_failure_type', type: 'string', since: '3.10'},
	{attr: 'trace_size_limit', type: 'int', since: '3.12'},
	{attr: 'trace_peer', type: 'string', since: '3.12'},
] as const satisfies readonly Field[];

/** Global TLS settings of the process that asks. */
export type ClientParams = MessageOf<typeof clientParamsFields>;
/** What selects an SSL_CTX. */
export type ClientInit = MessageOf<typeof clientInitFields>;
/** What applies to one connection. */
export type ClientStart = MessageOf<typeof clientStartFields>;

/** All settings of a request in the client role. */
export interface ClientSettings {
	readonly params: ClientParams;
	readonly init: ClientInit;
	readonly start: ClientStart;
}

/** What settings begin with: what all connections of a client have in common. */
export type CommonSettings = Pick<ClientSettings, 'params' | 'init'>;

function scanCommon(reader: AttributeReader): CommonSettings {
	return {
		params: scan(clientParamsFields, reader, 'client_params'),
		init: scan(clientInitFields, reader, 'client_init'),
	};
}

function scanStart(reader: AttributeReader): ClientStart {
	const start = scan(clientStartFields, reader, 'client_start');
	reader.finish('client_start');
	return start;
}

/** The beginning of a list of settings, as bytes and as what they mean. */
interface KnownPrefix {
	readonly bytes: Uint8Array;
	readonly common: CommonSettings;
}

/** Clients with settings of their own: services of master.cf, hardly ever more. */
const BEGINNINGS = 16;

/**
 * Parses settings, and the same beginning only once.
 *
 * Two thirds of each list are what main.cf and master.cf say, the same from every process of a service,
 * for every destination. What follows from the same bytes is the same: these objects are shared, and who
 * asks for an application can recognize them.
 */
export class ClientSettingsParser {
	readonly #features: ReleaseFeatures;
	#beginnings: readonly KnownPrefix[] = [];

	constructor(features: ReleaseFeatures) {
		this.#features = features;
	}

	/**
	 * Looks whether a list begins with what is known.
	 *
	 * @param bytes - from the beginning of a list.
	 * @returns how many of them are known, and what they mean.
	 */
	recognize(bytes: Buffer): {readonly common: CommonSettings; readonly taken: number} | undefined {
		for (const {bytes: known, common} of this.#beginnings) {
			if (bytes.length >= known.length && bytes.subarray(0, known.length).equals(known)) {
				return {common, taken: known.length};
			}
		}

		return undefined;
	}

	/**
	 * Parses a list.
	 *
	 * @param common - what its beginning means, which the list is without.
	 * @throws {PeerError} when the list is not what a client of this release sends.
	 */
	parse(list: AttributeList, common?: CommonSettings): ClientSettings {
		const reader = new AttributeReader(list, this.#features.format);
		if (common !== undefined) {
			return {...common, start: scanStart(reader)};
		}

		const found = scanCommon(reader);
		const beginning = list.slice(0, reader.taken);
		const start = scanStart(reader);
		/* As they were sent: the list goes on. */
		this.#keep({bytes: printList(beginning).subarray(0, -1), common: found});
		return {...found, start};
	}

	#keep(beginning: KnownPrefix): void {
		this.#beginnings = [beginning, ...this.#beginnings].slice(0, BEGINNINGS);
	}
}

/** The bytes of the settings, as a client sends them. */
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

/** The key of what selects an SSL_CTX. */
export function clientSettingsKey({params, init}: CommonSettings, {format}: ReleaseFeatures): string {
	return settingsKey([
		...print(clientParamsFields, params, format),
		...print(clientInitFields, init, format),
	]);
}
