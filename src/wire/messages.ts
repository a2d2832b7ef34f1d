/*++
/* NAME
/*	messages 3
/* SUMMARY
/*	the messages of the tlsproxy(8) protocol, as tables of fields
/* DESCRIPTION
/*	Each table lists the attributes of one object in wire order, and
/*	the formats that have them: see field(3). The names are those on
/*	the wire. Most of them are names of main.cf parameters.
/*
/*	The settings of both roles consist of three objects: the global
/*	TLS settings of the client process (params), the settings that
/*	select an SSL_CTX (init), and the settings of one connection
/*	(start). The roles have groups of fields in common, which are
/*	listed once. Settings of the server role are sent since 3.12 only.
/* SEE ALSO
/*	postfix src/tls/tls_proxy.h, src/tls/tls_proxy_clnt.c
/*	postfix src/tls/tls_proxy_client_print.c (since 3.12,
/*	tls_proxy_client_param_proto.c, tls_proxy_client_init_proto.c,
/*	tls_proxy_client_start_proto.c)
/*	postfix src/tls/tls_proxy_server_param_proto.c
/*	postfix src/tls/tls_proxy_server_init_proto.c
/*	postfix src/tls/tls_proxy_server_start_proto.c
/*	postfix src/tls/tls_proxy_context_print.c
/*--*/

import {type Field, inFormats} from './field.ts';

/* Bits of the `flags` attribute of a request. Source: postfix src/tls/tls_proxy.h. */
export const TLS_PROXY_FLAG_ROLE_SERVER = 0x1;
export const TLS_PROXY_FLAG_ROLE_CLIENT = 0x2;
export const TLS_PROXY_FLAG_SEND_CONTEXT = 0x4;
export const TLS_PROXY_FLAG_PROBE_ONLY = 0x8;

/**
 * The first attributes of a request. A request contains the name `timeout` twice: the time limit of the
 * handshake, then that of reads and writes. A message cannot contain a name twice, so a request is two tables.
 */
export const requestHeadFields = [
	{attr: 'remote_endpoint', type: 'string'},
	{attr: 'flags', type: 'int'},
	{attr: 'timeout', type: 'int'},
] as const satisfies readonly Field[];
/** The other attributes of a request. */
export const requestTailFields = [
	{attr: 'timeout', type: 'int'},
	{attr: 'serverid', type: 'string'},
] as const satisfies readonly Field[];

/* Groups of global settings. */

const configFields = [
	{attr: 'config_file', type: 'string'},
	{attr: 'config_name', type: 'string'},
] as const satisfies readonly Field[];

const cipherListFields = [
	{attr: 'tls_high_cipherlist', type: 'string'},
	{attr: 'tls_medium_cipherlist', type: 'string'},
] as const satisfies readonly Field[];

const nullAndCurveFields = [
	{attr: 'tls_null_cipherlist', type: 'string'},
	{attr: 'tls_eecdh_auto_curves', type: 'string'},
	{attr: 'tls_eecdh_strong_curve', type: 'string'},
	{attr: 'tls_eecdh_ultra_curve', type: 'string'},
] as const satisfies readonly Field[];

const finiteFieldFields = [
	{attr: 'tls_ffdhe_auto_groups', type: 'string'},
] as const satisfies readonly Field[];

const optionFields = [
	{attr: 'tls_disable_workarounds', type: 'string'},
	{attr: 'tls_ssl_options', type: 'string'},
] as const satisfies readonly Field[];

const tlsmgrFields = [
	{attr: 'tlsmgr_service_name', type: 'string'},
	{attr: 'tls_session_ticket_cipher', type: 'string'},
	{attr: 'tls_daemon_random_bytes', type: 'int'},
	{attr: 'tls_append_default_CA', type: 'int'},
] as const satisfies readonly Field[];

const preemptAndWildcardFields = [
	{attr: 'tls_preempt_cipherlist', type: 'int'},
	{attr: 'tls_wildcard_matches_multiple_labels', type: 'int'},
] as const satisfies readonly Field[];

const shutdownFields = [{attr: 'tls_fast_shutdown_enable', type: 'int'}] as const satisfies readonly Field[];

/* Groups of settings that select an SSL_CTX. */

const logFields = [
	{attr: 'log_param', type: 'string'},
	{attr: 'log_level', type: 'string'},
] as const satisfies readonly Field[];

const cacheFields = [
	{attr: 'verifydepth', type: 'int'},
	{attr: 'cache_type', type: 'string'},
] as const satisfies readonly Field[];

const credentialFields = [
	{attr: 'chain_files', type: 'string'},
	{attr: 'cert_file', type: 'string'},
	{attr: 'key_file', type: 'string'},
	{attr: 'dcert_file', type: 'string'},
	{attr: 'dkey_file', type: 'string'},
	{attr: 'eccert_file', type: 'string'},
	{attr: 'eckey_file', type: 'string'},
	{attr: 'CAfile', type: 'string'},
	{attr: 'CApath', type: 'string'},
] as const satisfies readonly Field[];

/* Groups of settings of one connection. */

const timeoutFields = [{attr: 'timeout', type: 'int'}] as const satisfies readonly Field[];

const rawPublicKeyFields = [{attr: 'enable_rpk', type: 'int'}] as const satisfies readonly Field[];

const cipherFields = [
	{attr: 'cipher_grade', type: 'string'},
	{attr: 'cipher_exclusions', type: 'string'},
] as const satisfies readonly Field[];

const digestFields = [{attr: 'mdalg', type: 'string'}] as const satisfies readonly Field[];

const traceFields = [
	{attr: 'trace_size_limit', type: 'int'},
	{attr: 'trace_peer', type: 'string'},
] as const satisfies readonly Field[];

/** TLS_CLIENT_PARAMS. Source: tls_proxy_client_param_print(). */
export const clientParamsFields = [
	/* Added in patch releases, after the first releases of 3.6 and 3.8. */
	...inFormats({since: '3.5.20', except: ['3.6', '3.8.0']}, configFields),
	...cipherListFields,
	{attr: 'tls_low_cipherlist', type: 'string', until: '3.8.0'},
	{attr: 'tls_export_cipherlist', type: 'string', until: '3.8.0'},
	...nullAndCurveFields,
	...inFormats({since: '3.8.0'}, finiteFieldFields),
	...optionFields,
	{attr: 'tls_dane_digests', type: 'string'},
	...tlsmgrFields,
	{attr: 'tls_legacy_public_key_fingerprints', type: 'int', until: '3.11'},
	...preemptAndWildcardFields,
	...inFormats({since: '3.12'}, shutdownFields),
] as const satisfies readonly Field[];

/** TLS_CLIENT_INIT_PROPS. Source: tls_proxy_client_init_print(). */
export const clientInitFields = [
	...logFields,
	...cacheFields,
	...credentialFields,
	...digestFields,
] as const satisfies readonly Field[];

/* A TLSA record; before 3.6, digests that were computed from records. */
const tlsaFields = [
	{attr: 'mdalg', type: 'string', until: '3.6'},
	{attr: 'certs', type: 'argv', until: '3.6'},
	{attr: 'pkeys', type: 'argv', until: '3.6'},
	{attr: 'usage', type: 'int', since: '3.6'},
	{attr: 'selector', type: 'int', since: '3.6'},
	{attr: 'mtype', type: 'int', since: '3.6'},
	{attr: 'data', type: 'data', since: '3.6'},
] as const satisfies readonly Field[];

const daneFields = [
	{attr: 'ta', type: 'repeat', until: '3.6', fields: tlsaFields},
	{attr: 'ee', type: 'repeat', until: '3.6', fields: tlsaFields},
	{attr: 'certs', type: 'repeat', until: '3.6', fields: [{attr: 'cert', type: 'data'}]},
	{attr: 'pkeys', type: 'repeat', until: '3.6', fields: [{attr: 'pkey', type: 'data'}]},
	{attr: 'domain', type: 'string'},
	{attr: 'flags', type: 'int', until: '3.6'},
	{attr: 'exp', type: 'long', until: '3.6'},
	{attr: 'tlsa', type: 'repeat', since: '3.6', fields: tlsaFields},
] as const satisfies readonly Field[];

const tlsrptFields = [
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

/** TLS_CLIENT_START_PROPS. Source: tls_proxy_client_start_print(). */
export const clientStartFields = [
	...inFormats({since: '3.12'}, logFields),
	...timeoutFields,
	...inFormats({since: '3.9'}, rawPublicKeyFields),
	{attr: 'tls_level', type: 'int'},
	{attr: 'nexthop', type: 'string'},
	{attr: 'host', type: 'string'},
	{attr: 'namaddr', type: 'string'},
	{attr: 'sni', type: 'string'},
	{attr: 'serverid', type: 'string'},
	{attr: 'helo', type: 'string'},
	{attr: 'protocols', type: 'string'},
	...cipherFields,
	{attr: 'matchargv', type: 'argv'},
	...digestFields,
	{attr: 'dane', type: 'optional', fields: daneFields},
	{attr: 'tlsrpt', type: 'optional', since: '3.10', build: true, fields: tlsrptFields},
	{attr: 'forced_failure_type', type: 'string', since: '3.10'},
	...inFormats({since: '3.12'}, traceFields),
] as const satisfies readonly Field[];

/** TLS_SERVER_PARAMS. Source: tls_proxy_server_param_print(). */
export const serverParamsFields = [
	...configFields,
	...cipherListFields,
	...nullAndCurveFields,
	...finiteFieldFields,
	...optionFields,
	...tlsmgrFields,
	...preemptAndWildcardFields,
	{attr: 'tls_server_sni_maps', type: 'string'},
	...shutdownFields,
	{attr: 'tls_trust_server_ccerts', type: 'int'},
] as const satisfies readonly Field[];

/** TLS_SERVER_INIT_PROPS. Source: tls_proxy_server_init_print(). */
export const serverInitFields = [
	...logFields,
	...cacheFields,
	{attr: 'set_sessid', type: 'int'},
	...credentialFields,
	{attr: 'protocols', type: 'string'},
	{attr: 'eecdh_grade', type: 'string'},
	{attr: 'dh1024_param_file', type: 'string'},
	{attr: 'dh512_param_file', type: 'string'},
	{attr: 'ask_ccert', type: 'int'},
	...digestFields,
] as const satisfies readonly Field[];

/** TLS_SERVER_START_PROPS. Source: tls_proxy_server_start_print(). */
export const serverStartFields = [
	...logFields,
	...timeoutFields,
	...rawPublicKeyFields,
	{attr: 'requirecert', type: 'int'},
	{attr: 'serverid', type: 'string'},
	{attr: 'namaddr', type: 'string'},
	...cipherFields,
	...digestFields,
	...traceFields,
] as const satisfies readonly Field[];

/** The part of TLS_SESS_STATE that a client receives. Source: tls_proxy_context_print(). */
export const handshakeReportFields = [
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
