/*++
/* NAME
/*	parameters 3
/* SUMMARY
/*	the configuration parameters of tlsproxy(8)
/* DESCRIPTION
/*	A table with the type, the limits, and the releases of each
/*	parameter. The TypeScript types of names are derived from the
/*	table, so that using a string parameter as an integer does not
/*	compile.
/*
/*	Defaults are not in the table: they come from the installed
/*	postconf(1).
/* SEE ALSO
/*	postconf(5)
/*--*/

import {compareReleases, type Release} from './release.ts';

/** A parameter. */
export interface Parameter {
	readonly type: 'string' | 'integer' | 'boolean' | 'time';
	/** Minimum value; for a time, in seconds. */
	readonly min?: number;
	/** Maximum value; for a time, in seconds. */
	readonly max?: number;
	/** Minimum length of a string, in bytes. */
	readonly minLength?: number;
	/** First release without that minimum length. */
	readonly minLengthUntil?: Release;
	/** Unit of a time that has none: that of the default value. */
	readonly unit?: TimeUnit;
	/** First release that has the parameter; by default, 3.4. */
	readonly since?: Release;
	/** First release that no longer has the parameter. */
	readonly until?: Release;
}

/** Suffix of a time value: seconds, minutes, hours, days, weeks. */
export type TimeUnit = 's' | 'm' | 'h' | 'd' | 'w';

/** A parameter that this program reads. */
export type ParameterName = keyof typeof parameters;

/** The names of the parameters of one type. */
export type NameOf<Type extends Parameter['type']> = {
	[Name in ParameterName]: (typeof parameters)[Name]['type'] extends Type ? Name : never;
}[ParameterName];

/** The entry of a parameter. */
export function parameterOf(name: ParameterName): Parameter {
	return parameters[name];
}

/** Whether a release has a parameter. */
export function isIn(release: Release, {since, until}: Parameter): boolean {
	return (
		(since === undefined || compareReleases(release, since) >= 0) &&
		(until === undefined || compareReleases(release, until) < 0)
	);
}

/*
 * since and until are compared with mail_version, also if release(3) does not know that
 * release. A release that lacks a parameter of this table is handled by has(): postconf(1)
 * does not print the parameter.
 */
const parameters = {
	/* The generic library. Source: postfix src/global/mail_params.c. */
	command_directory: {type: 'string', minLength: 1},
	compatibility_level: {type: 'string'},
	daemon_directory: {type: 'string', minLength: 1},
	enable_idna2003_compatibility: {type: 'boolean'},
	import_environment: {type: 'string'},
	inet_protocols: {type: 'string'},
	ipc_idle: {type: 'time', unit: 's', min: 1},
	ipc_timeout: {type: 'time', unit: 's', min: 1},
	ipc_ttl: {type: 'time', unit: 's', min: 1},
	mail_owner: {type: 'string', minLength: 1},
	mail_version: {type: 'string', minLength: 1},
	maillog_file: {type: 'string'},
	maillog_file_prefixes: {type: 'string', minLength: 1},
	max_idle: {type: 'time', unit: 's', min: 1},
	max_use: {type: 'integer', min: 1},
	meta_directory: {type: 'string', minLength: 1},
	multi_instance_name: {type: 'string'},
	mydomain: {type: 'string', minLength: 1},
	myhostname: {type: 'string', minLength: 1},
	postlog_service_name: {type: 'string', minLength: 1},
	process_id_directory: {type: 'string', minLength: 1},
	queue_directory: {type: 'string', minLength: 1},
	setgid_group: {type: 'string', minLength: 1},
	shlib_directory: {type: 'string', minLength: 1},
	smtputf8_enable: {type: 'boolean'},
	syslog_facility: {type: 'string', minLength: 1},
	syslog_name: {type: 'string', minLength: 1},

	/* The TLS library. Source: postfix src/tls/tls_misc.c. */
	openssl_path: {type: 'string', minLength: 1},
	tls_append_default_CA: {type: 'boolean'},
	tls_config_file: {type: 'string', since: '3.5'},
	tls_config_name: {type: 'string', since: '3.5'},
	tls_daemon_random_bytes: {type: 'integer', min: 1},
	tls_dane_digests: {type: 'string', minLength: 1},
	tls_disable_workarounds: {type: 'string'},
	tls_eecdh_auto_curves: {type: 'string', minLength: 1, minLengthUntil: '3.6'},
	tls_eecdh_strong_curve: {type: 'string', minLength: 1, minLengthUntil: '3.6'},
	tls_eecdh_ultra_curve: {type: 'string', minLength: 1, minLengthUntil: '3.6'},
	tls_export_cipherlist: {type: 'string', minLength: 1, minLengthUntil: '3.8'},
	tls_fast_shutdown_enable: {type: 'boolean'},
	tls_ffdhe_auto_groups: {type: 'string', since: '3.8'},
	tls_high_cipherlist: {type: 'string', minLength: 1},
	tls_legacy_public_key_fingerprints: {type: 'boolean', until: '3.11'},
	tls_low_cipherlist: {type: 'string', minLength: 1, minLengthUntil: '3.8'},
	tls_medium_cipherlist: {type: 'string', minLength: 1},
	tls_null_cipherlist: {type: 'string', minLength: 1},
	tls_preempt_cipherlist: {type: 'boolean'},
	tls_server_sni_maps: {type: 'string'},
	tls_session_ticket_cipher: {type: 'string'},
	tls_ssl_options: {type: 'string'},
	tls_trace_rate_limit: {type: 'integer', since: '3.12'},
	tls_trust_server_ccerts: {type: 'boolean', since: '3.12'},
	tls_wildcard_matches_multiple_labels: {type: 'boolean'},
	tlsmgr_service_name: {type: 'string', minLength: 1},

	/* Parameters of smtp(8), lmtp(8) and smtpd(8): the defaults of the next group, and the files of clients. */
	lmtp_tls_CAfile: {type: 'string'},
	lmtp_tls_CApath: {type: 'string'},
	lmtp_tls_cert_file: {type: 'string'},
	lmtp_tls_chain_files: {type: 'string'},
	lmtp_tls_dcert_file: {type: 'string'},
	lmtp_tls_dkey_file: {type: 'string'},
	lmtp_tls_eccert_file: {type: 'string'},
	lmtp_tls_eckey_file: {type: 'string'},
	lmtp_tls_key_file: {type: 'string'},
	smtp_enforce_tls: {type: 'boolean'},
	smtp_tls_CAfile: {type: 'string'},
	smtp_tls_CApath: {type: 'string'},
	smtp_tls_cert_file: {type: 'string'},
	smtp_tls_chain_files: {type: 'string'},
	smtp_tls_dcert_file: {type: 'string'},
	smtp_tls_dkey_file: {type: 'string'},
	smtp_tls_eccert_file: {type: 'string'},
	smtp_tls_eckey_file: {type: 'string'},
	smtp_tls_fingerprint_digest: {type: 'string', minLength: 1},
	smtp_tls_key_file: {type: 'string'},
	smtp_tls_loglevel: {type: 'string'},
	smtp_tls_per_site: {type: 'string'},
	smtp_tls_policy_maps: {type: 'string'},
	smtp_tls_scert_verifydepth: {type: 'integer'},
	smtp_tls_security_level: {type: 'string'},
	smtp_use_tls: {type: 'boolean'},
	smtpd_enforce_tls: {type: 'boolean'},
	smtpd_tls_always_issue_session_ids: {type: 'boolean'},
	smtpd_tls_ask_ccert: {type: 'boolean'},
	smtpd_tls_CAfile: {type: 'string'},
	smtpd_tls_CApath: {type: 'string'},
	smtpd_tls_ccert_verifydepth: {type: 'integer'},
	smtpd_tls_cert_file: {type: 'string'},
	smtpd_tls_chain_files: {type: 'string'},
	smtpd_tls_ciphers: {type: 'string', minLength: 1},
	smtpd_tls_dcert_file: {type: 'string'},
	smtpd_tls_dh1024_param_file: {type: 'string'},
	smtpd_tls_dh512_param_file: {type: 'string'},
	smtpd_tls_dkey_file: {type: 'string'},
	smtpd_tls_eccert_file: {type: 'string'},
	smtpd_tls_eckey_file: {type: 'string'},
	smtpd_tls_eecdh_grade: {type: 'string', minLength: 1},
	smtpd_tls_enable_rpk: {type: 'boolean', since: '3.9'},
	smtpd_tls_exclude_ciphers: {type: 'string'},
	smtpd_tls_fingerprint_digest: {type: 'string', minLength: 1},
	smtpd_tls_key_file: {type: 'string'},
	smtpd_tls_loglevel: {type: 'string'},
	smtpd_tls_mandatory_ciphers: {type: 'string', minLength: 1},
	smtpd_tls_mandatory_exclude_ciphers: {type: 'string'},
	smtpd_tls_mandatory_protocols: {type: 'string'},
	smtpd_tls_protocols: {type: 'string'},
	smtpd_tls_req_ccert: {type: 'boolean'},
	smtpd_tls_security_level: {type: 'string'},
	smtpd_use_tls: {type: 'boolean'},

	/* tlsproxy(8). Source: postfix src/tlsproxy/tlsproxy.c. */
	tlsproxy_client_CAfile: {type: 'string'},
	tlsproxy_client_CApath: {type: 'string'},
	tlsproxy_client_cert_file: {type: 'string'},
	tlsproxy_client_chain_files: {type: 'string'},
	tlsproxy_client_dcert_file: {type: 'string'},
	tlsproxy_client_dkey_file: {type: 'string'},
	tlsproxy_client_eccert_file: {type: 'string'},
	tlsproxy_client_eckey_file: {type: 'string'},
	tlsproxy_client_enforce_tls: {type: 'boolean'},
	tlsproxy_client_fingerprint_digest: {type: 'string', minLength: 1},
	tlsproxy_client_key_file: {type: 'string'},
	tlsproxy_client_level: {type: 'string', until: '3.7'},
	tlsproxy_client_loglevel: {type: 'string'},
	tlsproxy_client_loglevel_parameter: {type: 'string', until: '3.12'},
	tlsproxy_client_per_site: {type: 'string'},
	tlsproxy_client_policy: {type: 'string', until: '3.7'},
	tlsproxy_client_policy_maps: {type: 'string', since: '3.7'},
	tlsproxy_client_scert_verifydepth: {type: 'integer'},
	tlsproxy_client_security_level: {type: 'string', since: '3.7'},
	tlsproxy_client_use_tls: {type: 'boolean'},
	tlsproxy_enforce_tls: {type: 'boolean'},
	tlsproxy_tls_always_issue_session_ids: {type: 'boolean'},
	tlsproxy_tls_ask_ccert: {type: 'boolean'},
	tlsproxy_tls_CAfile: {type: 'string'},
	tlsproxy_tls_CApath: {type: 'string'},
	tlsproxy_tls_ccert_verifydepth: {type: 'integer'},
	tlsproxy_tls_cert_file: {type: 'string'},
	tlsproxy_tls_chain_files: {type: 'string'},
	tlsproxy_tls_ciphers: {type: 'string', minLength: 1},
	tlsproxy_tls_dcert_file: {type: 'string'},
	tlsproxy_tls_dh1024_param_file: {type: 'string'},
	tlsproxy_tls_dh512_param_file: {type: 'string'},
	tlsproxy_tls_dkey_file: {type: 'string'},
	tlsproxy_tls_eccert_file: {type: 'string'},
	tlsproxy_tls_eckey_file: {type: 'string'},
	tlsproxy_tls_eecdh_grade: {type: 'string', minLength: 1},
	tlsproxy_tls_enable_rpk: {type: 'boolean', since: '3.9'},
	tlsproxy_tls_exclude_ciphers: {type: 'string'},
	tlsproxy_tls_fingerprint_digest: {type: 'string', minLength: 1},
	tlsproxy_tls_key_file: {type: 'string'},
	tlsproxy_tls_loglevel: {type: 'string'},
	tlsproxy_tls_mandatory_ciphers: {type: 'string', minLength: 1},
	tlsproxy_tls_mandatory_exclude_ciphers: {type: 'string'},
	tlsproxy_tls_mandatory_protocols: {type: 'string'},
	tlsproxy_tls_protocols: {type: 'string'},
	tlsproxy_tls_req_ccert: {type: 'boolean'},
	tlsproxy_tls_security_level: {type: 'string'},
	tlsproxy_use_tls: {type: 'boolean'},
	tlsproxy_watchdog_timeout: {type: 'time', unit: 's', min: 10},
} as const satisfies Readonly<Record<string, Parameter>>;

/** All names, in the order in which they are checked. */
export const parameterNames = Object.keys(parameters) as readonly ParameterName[];
