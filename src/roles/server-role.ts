/*++
/* NAME
/*	server-role 3
/* SUMMARY
/*	selects the SSL_CTX for a server-role request
/* DESCRIPTION
/*	Before the chroot jail: creates the SSL_CTX for the tlsproxy_tls_*
/*	parameters, whose defaults are those of smtpd(8). Up to Postfix 3.11
/*	all requests use this SSL_CTX. From 3.12 on, requests carry
/*	settings, and these settings are applied.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c, pre_jail_init_server()
/*--*/

import {ConfigurationError} from '../base/errors.ts';
import {Lru} from '../base/lru.ts';
import type {Configuration} from '../conf/configuration.ts';
import type {ReleaseFeatures} from '../conf/release.ts';
import {Tables, tableFiles} from '../conf/tables.ts';
import * as log from '../log/log.ts';
import type {ConnectionParameters} from '../tls/connection/open-connection.ts';
import type {CredentialStore} from '../tls/context/credential-store.ts';
import {namedSettings, parameterPrefix} from '../tls/context/named-files.ts';
import {createServerContext, type ServerContext, type ServerParams} from '../tls/context/server-context.ts';
import {startLibrary} from '../tls/library.ts';
import type {Request} from '../wire/request.ts';
import {type ServerInit, type ServerSettings, serverSettingsKey} from '../wire/server-settings.ts';
import type {CredentialFiles} from './credential-files.ts';
import {type ServerRequirements, serverInit, serverParams, serverStart} from './main-cf-settings.ts';
import type {ServerRoleSessions} from './server-role-sessions.ts';

/** Number of cached contexts. */
const CONTEXT_LIMIT = 20;

/** The server role of one process. */
export class ServerRole {
	readonly #configuration: Configuration;
	readonly #features: ReleaseFeatures;
	readonly #credentialStore: CredentialStore;
	readonly #sessions: ServerRoleSessions;
	readonly #requirements: ServerRequirements | undefined;
	readonly #contexts = new Lru<string, ServerContext>(CONTEXT_LIMIT, context => context[Symbol.dispose]());
	#maps: Tables | undefined;
	/* The role is enabled and has certificates; loading them may still have failed. */
	#configured = false;
	#mainCfContext: ServerContext | undefined;

	/**
	 * @param credentialStore - receives the loaded files; borrowed.
	 * @param sessions - the session cache of the server role; borrowed.
	 * @throws {ConfigurationError} for an unknown security level.
	 */
	constructor(configuration: Configuration, credentialStore: CredentialStore, sessions: ServerRoleSessions) {
		this.#configuration = configuration;
		this.#features = configuration.features;
		this.#credentialStore = credentialStore;
		this.#sessions = sessions;
		this.#requirements = serverRequirements(configuration);
	}

	/**
	 * Loads the files that only root can read. Call it once, before entering the chroot jail.
	 *
	 * @param watch - is called with the files, just before they are read.
	 */
	async load(watch: (credentialFiles: readonly CredentialFiles[]) => void): Promise<void> {
		const requirements = this.#requirements;
		if (requirements === undefined) {
			/* Later releases log this for each request. */
			if (!this.#features.warnsOfDisabledServer) {
				log.warning('TLS server role is disabled with tlsproxy_tls_security_level or tlsproxy_use_tls');
			}

			return;
		}

		if (!hasCertificates(this.#configuration, requirements)) {
			log.warning("No server certs available. TLS can't be enabled");
			return;
		}

		this.#configured = true;
		watch(serverCredentialFiles(this.#configuration, requirements));
		const [maps] = await Promise.all([this.#readMaps(), this.#sessions.loadCachePolicy()]);
		if (maps === undefined) {
			return;
		}

		this.#maps = maps;
		const params = serverParams(this.#configuration);
		const init = serverInit(this.#configuration, requirements);
		/* Requests with settings may name the same files. */
		const loaded =
			!this.#features.serverSettings ||
			(startLibrary(params.config_file, params.config_name) &&
				this.#credentialStore.load(init, params.tls_append_default_CA !== 0));
		this.#mainCfContext = loaded ? this.#createContext(params, init) : undefined;
		if (this.#mainCfContext === undefined && this.#features.warnsOfServerInit) {
			log.warning('TLS server initialization failed');
		}
	}

	/** Whether requests can be served. */
	get enabled(): boolean {
		return this.#mainCfContext !== undefined;
	}

	/**
	 * Selects the parameters for the connection of a request.
	 *
	 * @param settings - settings of the request; undefined: the settings of main.cf apply.
	 * @returns undefined if the request cannot be served. The reason is logged.
	 */
	prepare(request: Request, settings: ServerSettings | undefined): ConnectionParameters | undefined {
		if (this.#requirements === undefined || (this.#features.serverSettings && !this.#configured)) {
			if (this.#features.warnsOfDisabledServer) {
				log.warning('TLS server role is disabled by configuration');
			}

			return undefined;
		}

		const context = settings === undefined ? this.#mainCfContext : this.#contextFor(settings);
		if (context === undefined) {
			return undefined;
		}

		const start = settings?.start ?? {
			...serverStart(this.#configuration, this.#requirements),
			serverid: request.serverId,
			namaddr: request.remoteEndpoint,
		};
		return {role: 'server', context, start};
	}

	/* If a table cannot be used, the role is disabled: a client must not get the certificate of another server name. */
	async #readMaps(): Promise<Tables | undefined> {
		try {
			return await Tables.read(this.#configuration, 'tls_server_sni_maps');
		} catch (reason) {
			if (!(reason instanceof ConfigurationError)) {
				throw reason;
			}

			log.warning(reason.message);
			log.warning("TLS can't be enabled for the server role");
			return undefined;
		}
	}

	#contextFor({params, init}: ServerSettings): ServerContext | undefined {
		const found = this.#contexts.get(this.#keyOf({params, init}));
		if (found !== undefined) {
			return found;
		}

		if (!this.#credentialStore.has(init, params.tls_append_default_CA !== 0)) {
			/* The first line is stock's: administrators search for it. */
			log.warning('request from tlsproxy server with unexpected settings');
			log.warning(
				`files are opened without privileges: ${namedSettings(init, parameterPrefix(init.log_param))}`,
			);
		}

		return this.#createContext({...serverParams(this.#configuration), ...params}, init);
	}

	#keyOf(settings: Pick<ServerSettings, 'params' | 'init'>): string {
		return serverSettingsKey(settings, this.#features);
	}

	#createContext(params: ServerParams, init: ServerInit): ServerContext | undefined {
		const maps = this.#maps;
		const context =
			maps &&
			createServerContext(params, init, {
				credentialStore: this.#credentialStore,
				sessions: this.#sessions,
				maps,
				features: this.#features,
			});
		if (context !== undefined) {
			this.#contexts.set(this.#keyOf({params, init}), context);
		}

		return context;
	}
}

/** The files that the server role loads as root. */
export function serverCredentialFiles(
	configuration: Configuration,
	requirements: ServerRequirements | undefined = serverRequirements(configuration),
): readonly CredentialFiles[] {
	if (requirements === undefined) {
		return [];
	}

	const appendDefault = serverParams(configuration).tls_append_default_CA !== 0;
	const tables = tableFiles(configuration.string('tls_server_sni_maps'));
	return [{owner: undefined, files: serverInit(configuration, requirements), appendDefault, tables}];
}

/* The effect of tlsproxy_tls_security_level. */
interface Level {
	/* Undefined: the role is disabled. */
	readonly mandatory: boolean | undefined;
	readonly supported: boolean;
}

const clientLevel: Level = {mandatory: true, supported: false};
const levels: ReadonlyMap<string, Level> = new Map<string, Level>([
	['none', {mandatory: undefined, supported: true}],
	['may', {mandatory: false, supported: true}],
	['encrypt', {mandatory: true, supported: true}],
	['fingerprint', clientLevel],
	['verify', clientLevel],
	['secure', clientLevel],
]);

/** The requirements for clients; undefined if the role is disabled. */
export function serverRequirements(configuration: Configuration): ServerRequirements | undefined {
	const mandatory = isMandatory(configuration);
	if (mandatory === undefined) {
		return undefined;
	}

	const requiresCertificate = mandatory && configuration.boolean('tlsproxy_tls_req_ccert');
	return {
		mandatory,
		requiresCertificate,
		asksCertificate: requiresCertificate || configuration.boolean('tlsproxy_tls_ask_ccert'),
	};
}

/* Whether TLS is mandatory; undefined if the role is disabled. */
function isMandatory(configuration: Configuration): boolean | undefined {
	const text = configuration.string('tlsproxy_tls_security_level');
	if (text === '') {
		const mandatory = configuration.boolean('tlsproxy_enforce_tls');
		return mandatory || configuration.boolean('tlsproxy_use_tls') ? mandatory : undefined;
	}

	const level = levels.get(text.toLowerCase());
	if (level === undefined) {
		throw new ConfigurationError(`Invalid TLS level "${text}"`);
	}

	if (!level.supported) {
		log.warning(`tlsproxy_tls_security_level: unsupported TLS level "${text}", using "encrypt"`);
	}

	return level.mandatory;
}

/* Whether the certificate settings allow the role to start. As with stock, some errors are only warnings. */
function hasCertificates(
	configuration: Configuration,
	{mandatory, asksCertificate}: ServerRequirements,
): boolean {
	const certificate = configuration.string('tlsproxy_tls_cert_file');
	const anonymous = certificate.toLowerCase() === 'none';
	const legacy = [
		anonymous ? '' : certificate,
		configuration.string('tlsproxy_tls_dcert_file'),
		configuration.string('tlsproxy_tls_eccert_file'),
	].some(name => name !== '');
	const chains = configuration.string('tlsproxy_tls_chain_files') !== '';
	if (chains && legacy) {
		log.warning(
			'Both tlsproxy_tls_chain_files and one or more of the legacy  tlsproxy_tls_cert_file, tlsproxy_tls_eccert_file or tlsproxy_tls_dcert_file are non-empty; the legacy  parameters will be ignored',
		);
	}

	if (asksCertificate && !chains && !legacy) {
		log.warning('Need a server cert to request client certs');
	}

	if (!mandatory && configuration.boolean('tlsproxy_tls_req_ccert')) {
		log.warning("Can't require client certs unless TLS is required");
	}

	return chains || legacy || (anonymous && !asksCertificate);
}
