/*++
/* NAME
/*	main-cf-settings 3
/* SUMMARY
/*	TLS settings of this service from main.cf
/* DESCRIPTION
/*	Converts main.cf parameters into the settings of a request, so that
/*	settings from main.cf and from requests are processed alike.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c
/*--*/

import {toBytes} from '../base/text.ts';
import type {Configuration} from '../conf/configuration.ts';
import type {NameOf} from '../conf/parameters.ts';
import type {CredentialFileNames} from '../tls/context/credential-store.ts';
import type {ServerParams} from '../tls/context/server-context.ts';
import type {ClientInit, ClientParams} from '../wire/client-settings.ts';
import type {ServerInit} from '../wire/server-settings.ts';

/** The requirements of the server role for remote SMTP clients. */
export interface ServerRequirements {
	/** TLS is mandatory. */
	readonly mandatory: boolean;
	/** The server requests a client certificate. */
	readonly asksCertificate: boolean;
	/** The handshake fails without a client certificate. */
	readonly requiresCertificate: boolean;
}

/** The configured certificate, key and CA files. */
export function credentialFileNames(
	configuration: Configuration,
	prefix: 'smtp_tls' | 'lmtp_tls' | 'tlsproxy_client' | 'tlsproxy_tls',
): CredentialFileNames {
	const file = (name: NameOf<'string'>): string => toBytes(configuration.string(name));
	return {
		chain_files: file(`${prefix}_chain_files`),
		cert_file: file(`${prefix}_cert_file`),
		key_file: file(`${prefix}_key_file`),
		dcert_file: file(`${prefix}_dcert_file`),
		dkey_file: file(`${prefix}_dkey_file`),
		eccert_file: file(`${prefix}_eccert_file`),
		eckey_file: file(`${prefix}_eckey_file`),
		CAfile: file(`${prefix}_CAfile`),
		CApath: file(`${prefix}_CApath`),
	};
}

/** Settings of TLS_CLIENT_PARAMS. All fields but the first two are named after the main.cf parameter. */
export function clientParams(configuration: Configuration): ClientParams {
	const text = (name: NameOf<'string'>): string => textOf(configuration, name);
	const flag = (name: NameOf<'boolean'>): number => flagOf(configuration, name);
	const {obsoleteCipherLists} = configuration.features;
	return {
		config_file: text('tls_config_file'),
		config_name: text('tls_config_name'),
		tls_high_cipherlist: text('tls_high_cipherlist'),
		tls_medium_cipherlist: text('tls_medium_cipherlist'),
		/* Later releases still have the parameters, but do not send them. */
		tls_low_cipherlist: obsoleteCipherLists ? text('tls_low_cipherlist') : undefined,
		tls_export_cipherlist: obsoleteCipherLists ? text('tls_export_cipherlist') : undefined,
		tls_null_cipherlist: text('tls_null_cipherlist'),
		tls_eecdh_auto_curves: text('tls_eecdh_auto_curves'),
		tls_eecdh_strong_curve: text('tls_eecdh_strong_curve'),
		tls_eecdh_ultra_curve: text('tls_eecdh_ultra_curve'),
		tls_ffdhe_auto_groups: text('tls_ffdhe_auto_groups'),
		tls_disable_workarounds: text('tls_disable_workarounds'),
		tls_ssl_options: text('tls_ssl_options'),
		tls_dane_digests: text('tls_dane_digests'),
		tlsmgr_service_name: text('tlsmgr_service_name'),
		tls_session_ticket_cipher: text('tls_session_ticket_cipher'),
		tls_daemon_random_bytes: configuration.integer('tls_daemon_random_bytes'),
		tls_append_default_CA: flag('tls_append_default_CA'),
		tls_legacy_public_key_fingerprints: flag('tls_legacy_public_key_fingerprints'),
		tls_preempt_cipherlist: flag('tls_preempt_cipherlist'),
		tls_wildcard_matches_multiple_labels: flag('tls_wildcard_matches_multiple_labels'),
		tls_fast_shutdown_enable: flag('tls_fast_shutdown_enable'),
	};
}

/** Settings of TLS_CLIENT_INIT_PROPS from tlsproxy_client_* parameters. */
export function clientInit(configuration: Configuration): ClientInit {
	return {
		log_param: configuration.has('tlsproxy_client_loglevel_parameter')
			? configuration.string('tlsproxy_client_loglevel_parameter')
			: 'smtp_tls_loglevel',
		log_level: configuration.string('tlsproxy_client_loglevel'),
		verifydepth: configuration.integer('tlsproxy_client_scert_verifydepth'),
		cache_type: 'smtp',
		...credentialFileNames(configuration, 'tlsproxy_client'),
		mdalg: configuration.string('tlsproxy_client_fingerprint_digest'),
	};
}

/** The global settings of the server role. */
export function serverParams(configuration: Configuration): ServerParams {
	const {config_file = 'default', config_name = '', ...params} = clientParams(configuration);
	return {
		...params,
		config_file,
		config_name,
		tls_eecdh_auto_curves: serverCurves(configuration, params),
		tls_ffdhe_auto_groups: params.tls_ffdhe_auto_groups ?? '',
		tls_fast_shutdown_enable: params.tls_fast_shutdown_enable ?? 0,
		tls_server_sni_maps: textOf(configuration, 'tls_server_sni_maps'),
		tls_trust_server_ccerts: flagOf(configuration, 'tls_trust_server_ccerts'),
	};
}

/* Before 3.6, the EECDH grade selects the curves. */
function serverCurves(
	configuration: Configuration,
	params: Omit<ClientParams, 'config_file' | 'config_name'>,
): string {
	const {tls_eecdh_auto_curves, tls_eecdh_strong_curve, tls_eecdh_ultra_curve} = params;
	if (!configuration.features.curveByGrade) {
		return tls_eecdh_auto_curves;
	}

	switch (configuration.string('tlsproxy_tls_eecdh_grade').toLowerCase()) {
		case 'strong':
			return tls_eecdh_strong_curve;
		case 'ultra':
			return tls_eecdh_ultra_curve;
		default:
			return tls_eecdh_auto_curves;
	}
}

/** Settings that select the SSL_CTX of the server role. */
export function serverInit(
	configuration: Configuration,
	{mandatory, asksCertificate}: ServerRequirements,
): ServerInit {
	const {cert_file, ...files} = credentialFileNames(configuration, 'tlsproxy_tls');
	return {
		log_param: 'tlsproxy_tls_loglevel',
		log_level: configuration.string('tlsproxy_tls_loglevel'),
		verifydepth: configuration.integer('tlsproxy_tls_ccert_verifydepth'),
		cache_type: 'smtpd',
		set_sessid: flagOf(configuration, 'tlsproxy_tls_always_issue_session_ids'),
		...files,
		cert_file: cert_file.toLowerCase() === 'none' ? '' : cert_file,
		protocols: configuration.string(
			mandatory ? 'tlsproxy_tls_mandatory_protocols' : 'tlsproxy_tls_protocols',
		),
		eecdh_grade: configuration.string('tlsproxy_tls_eecdh_grade'),
		dh1024_param_file: toBytes(configuration.string('tlsproxy_tls_dh1024_param_file')),
		dh512_param_file: toBytes(configuration.string('tlsproxy_tls_dh512_param_file')),
		ask_ccert: asksCertificate ? 1 : 0,
		mdalg: configuration.string('tlsproxy_tls_fingerprint_digest'),
	};
}

/** Settings of each server-role connection. */
export function serverStart(
	configuration: Configuration,
	{mandatory, asksCertificate, requiresCertificate}: ServerRequirements,
) {
	const exclusions = [
		configuration.string('tlsproxy_tls_exclude_ciphers'),
		mandatory ? configuration.string('tlsproxy_tls_mandatory_exclude_ciphers') : '',
		/* A server that requests a client certificate must itself send one. */
		asksCertificate ? 'aNULL' : '',
	];
	return {
		enable_rpk: flagOf(configuration, 'tlsproxy_tls_enable_rpk'),
		requirecert: requiresCertificate ? 1 : 0,
		cipher_grade: configuration.string(mandatory ? 'tlsproxy_tls_mandatory_ciphers' : 'tlsproxy_tls_ciphers'),
		cipher_exclusions: exclusions.filter(text => text !== '').join(' '),
		mdalg: configuration.string('tlsproxy_tls_fingerprint_digest'),
	};
}

function textOf(configuration: Configuration, name: NameOf<'string'>): string {
	return configuration.has(name) ? configuration.string(name) : '';
}

function flagOf(configuration: Configuration, name: NameOf<'boolean'>): number {
	return configuration.has(name) && configuration.boolean(name) ? 1 : 0;
}
