/*++
/* NAME
/*	client-role 3
/* SUMMARY
/*	with what requests of the client role are served
/* DESCRIPTION
/*	Before the jail: loads what clients of this service may name in
/*	their requests, and makes the application for those whose settings
/*	are those of tlsproxy_client_*. Afterwards: finds or makes the
/*	application for each request.
/*
/*	The settings of the request are applied. Stock compares them with
/*	its own, warns, and serves with those of its own that it likes.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c, tlsp_client_init()
/*--*/

import type {Configuration} from './conf/configuration.ts';
import {type MasterFile, mailClients} from './conf/services.ts';
import * as log from './log.ts';
import type {SessionStore} from './session-store.ts';
import {type Application, ApplicationCache, clientApplication} from './tls/application.ts';
import {namedFiles} from './tls/certificates.ts';
import {Keyring, type MaterialFiles} from './tls/keyring.ts';
import {startLibrary} from './tls/library.ts';
import {policyComplaint} from './tls/policy.ts';
import {
	type ClientInit,
	type ClientParams,
	type ClientSettings,
	initText,
	paramsText,
} from './wire/client.ts';
import type {Profile} from './wire/release.ts';

/** Applications that are kept. More than any site has of policies; the rest is made again when needed. */
const APPLICATION_LIMIT = 100;

/** The client role of one process. */
export class ClientRole {
	readonly #configuration: Configuration;
	readonly #profile: Profile;
	readonly #sessions: SessionStore;
	readonly #enabled: boolean;
	readonly #applications = new ApplicationCache(APPLICATION_LIMIT);
	readonly #keyring = new Keyring();

	/** @param sessions - borrowed: who knows whether sessions are kept. */
	constructor(configuration: Configuration, profile: Profile, sessions: SessionStore) {
		this.#configuration = configuration;
		this.#profile = profile;
		this.#sessions = sessions;
		this.#enabled = isEnabled(configuration);
	}

	/**
	 * Loads what has to be loaded as root. To be called once, before the jail.
	 *
	 * @param reading - of master.cf: it takes postconf(1) a while, which others have used meanwhile.
	 */
	async load(reading: Promise<MasterFile>): Promise<void> {
		/* Before anything else is asked of OpenSSL, its configuration has to be applied. */
		const params = ownParams(this.#configuration);
		if (!this.#enabled || !startLibrary(params.config_file ?? 'default', params.config_name ?? '')) {
			return;
		}

		const appendDefault = params.tls_append_default_CA !== 0;
		const [master] = await Promise.all([reading, this.#sessions.learn()]);
		for (const {service, program, configuration} of mailClients(master, this.#configuration)) {
			/* That one of them has files that cannot be read is the trouble of its mail alone. */
			if (!this.#keyring.load(filesOf(configuration, `${program}_tls`), appendDefault)) {
				log.warning(`${service}: its certificates cannot be used, and this service refuses its requests`);
			}
		}

		const init = ownInit(this.#configuration);
		if (!this.#keyring.load(init, appendDefault) || this.#make({params, init}) === undefined) {
			log.warning('TLS client initialization failed');
		}
	}

	/** The application for a request; undefined when it cannot be served, and the log says why. */
	applicationFor(settings: ClientSettings): Application | undefined {
		if (!this.#enabled) {
			log.warning('TLS client role is disabled by configuration');
			return undefined;
		}

		const complaint = policyComplaint(settings.start);
		if (complaint !== undefined) {
			log.warning(`${settings.start.namaddr}: ${complaint}`);
			return undefined;
		}

		const found = this.#applications.find(keyOf(settings, this.#profile));
		if (found !== undefined) {
			return found;
		}

		const {params, init} = settings;
		if (!this.#keyring.has(init, params.tls_append_default_CA !== 0)) {
			const files = [...namedFiles(init), init.CAfile, init.CApath].filter(name => name !== '');
			/* Administrators search for the first line of stock's warning. */
			log.warning('request from tlsproxy client with unexpected settings');
			log.warning(`files are opened without privileges: ${files.join(', ')}`);
			log.warning(
				'to avoid this, let smtp_tls_* parameters in main.cf or master.cf name them, or run another tlsproxy service with tlsproxy_client_* settings that match the client, and name it in tlsproxy_service_name',
			);
		}

		return this.#make(settings);
	}

	#make(settings: Pick<ClientSettings, 'params' | 'init'>): Application | undefined {
		const {params, init} = settings;
		const timeout = this.#sessions.timeoutOf(init.cache_type);
		const own = scopeOf({params: ownParams(this.#configuration), init: ownInit(this.#configuration)});
		const scope = scopeOf(settings);
		const made = clientApplication(
			params,
			init,
			this.#keyring,
			timeout === undefined ? undefined : {timeout, scope: scope === own ? '' : scope},
		);
		if (made !== undefined) {
			this.#applications.add(keyOf(settings, this.#profile), made);
		}

		return made;
	}
}

/*
 * Who we are for servers, and whom we trust: what a session must not be taken from
 * one to the other. Sessions of a request with the settings of this service are
 * shared with stock's, which has no others.
 */
function scopeOf({params, init}: Pick<ClientSettings, 'params' | 'init'>): string {
	return [
		init.chain_files,
		init.cert_file,
		init.key_file,
		init.dcert_file,
		init.dkey_file,
		init.eccert_file,
		init.eckey_file,
		init.CAfile,
		init.CApath,
		init.verifydepth,
		init.mdalg,
		params.tls_append_default_CA,
		params.tls_dane_digests,
	].join('\n');
}

/* Source: pre_jail_init_client(), postfix src/tlsproxy/tlsproxy.c. */
function isEnabled(configuration: Configuration): boolean {
	const [levelName, policyName] = configuration.has('tlsproxy_client_security_level')
		? (['tlsproxy_client_security_level', 'tlsproxy_client_policy_maps'] as const)
		: (['tlsproxy_client_level', 'tlsproxy_client_policy'] as const);
	const level = configuration.string(levelName).toLowerCase();
	if (
		level === ''
			? configuration.boolean('tlsproxy_client_use_tls') ||
				configuration.boolean('tlsproxy_client_enforce_tls')
			: level !== 'none'
	) {
		return true;
	}

	return configuration.string('tlsproxy_client_per_site') !== '' || configuration.string(policyName) !== '';
}

function filesOf(
	configuration: Configuration,
	prefix: 'smtp_tls' | 'lmtp_tls' | 'tlsproxy_client',
): MaterialFiles {
	return {
		chain_files: configuration.string(`${prefix}_chain_files`),
		cert_file: configuration.string(`${prefix}_cert_file`),
		key_file: configuration.string(`${prefix}_key_file`),
		dcert_file: configuration.string(`${prefix}_dcert_file`),
		dkey_file: configuration.string(`${prefix}_dkey_file`),
		eccert_file: configuration.string(`${prefix}_eccert_file`),
		eckey_file: configuration.string(`${prefix}_eckey_file`),
		CAfile: configuration.string(`${prefix}_CAfile`),
		CApath: configuration.string(`${prefix}_CApath`),
	};
}

function keyOf({params, init}: Pick<ClientSettings, 'params' | 'init'>, profile: Profile): string {
	/* Some defaults end in a blank that clients send and postconf(1) does not print. */
	return (paramsText(params, profile) + initText(init, profile)).replaceAll(/ +$/gm, '');
}

/* What a client whose parameters equal ours would send. Names are those of main.cf, but for the first two. */
function ownParams(configuration: Configuration): ClientParams {
	const text = (name: Parameters<Configuration['string']>[0]): string =>
		configuration.has(name) ? configuration.string(name) : '';
	const flag = (name: Parameters<Configuration['boolean']>[0]): number =>
		configuration.has(name) && configuration.boolean(name) ? 1 : 0;
	return {
		config_file: text('tls_config_file'),
		config_name: text('tls_config_name'),
		tls_high_cipherlist: text('tls_high_cipherlist'),
		tls_medium_cipherlist: text('tls_medium_cipherlist'),
		tls_low_cipherlist: text('tls_low_cipherlist'),
		tls_export_cipherlist: text('tls_export_cipherlist'),
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

function ownInit(configuration: Configuration): ClientInit {
	return {
		log_param: configuration.has('tlsproxy_client_loglevel_parameter')
			? configuration.string('tlsproxy_client_loglevel_parameter')
			: 'smtp_tls_loglevel',
		log_level: configuration.string('tlsproxy_client_loglevel'),
		verifydepth: configuration.integer('tlsproxy_client_scert_verifydepth'),
		cache_type: 'smtp',
		...filesOf(configuration, 'tlsproxy_client'),
		mdalg: configuration.string('tlsproxy_client_fingerprint_digest'),
	};
}
