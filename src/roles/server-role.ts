/*++
/* NAME
/*	server-role 3
/* SUMMARY
/*	with what requests of the server role are served
/* DESCRIPTION
/*	Before the jail: makes the application of tlsproxy_tls_*, with the
/*	certificates that smtpd(8) has as well. Up to 3.11 that is all;
/*	from 3.12 on requests carry settings, and those are applied.
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
	/* The service could have served, whether or not its own settings are any good. */
	#configured = false;
	#own: ServerContext | undefined;

	/**
	 * @param keyring - where files are loaded to; borrowed.
	 * @param sessions - who keeps those of clients; borrowed.
	 * @throws {ConfigurationError} for a security level that there is none of.
	 */
	constructor(configuration: Configuration, credentialStore: CredentialStore, sessions: ServerRoleSessions) {
		this.#configuration = configuration;
		this.#features = configuration.features;
		this.#credentialStore = credentialStore;
		this.#sessions = sessions;
		this.#requirements = serverRequirements(configuration);
	}

	/**
	 * Loads what has to be loaded as root. To be called once, before the jail.
	 *
	 * @param watch - gets what is going to be read, just before.
	 */
	async load(watch: (credentialFiles: readonly CredentialFiles[]) => void): Promise<void> {
		const requirements = this.#requirements;
		if (requirements === undefined) {
			/* Later releases say so when somebody asks. */
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
		/* Requests that come with settings may name the same files. */
		const loaded =
			!this.#features.serverSettings ||
			(startLibrary(params.config_file, params.config_name) &&
				this.#credentialStore.load(init, params.tls_append_default_CA !== 0));
		this.#own = loaded ? this.#make(params, init) : undefined;
		if (this.#own === undefined && this.#features.warnsOfServerInit) {
			log.warning('TLS server initialization failed');
		}
	}

	/** Whether requests are served at all. */
	get enabled(): boolean {
		return this.#own !== undefined;
	}

	/**
	 * What the connection of a request is made with.
	 *
	 * @param settings - of the request; without, those of main.cf apply.
	 * @returns undefined when it cannot be served, and the log says why.
	 */
	prepare(request: Request, settings: ServerSettings | undefined): ConnectionParameters | undefined {
		if (this.#requirements === undefined || (this.#features.serverSettings && !this.#configured)) {
			if (this.#features.warnsOfDisabledServer) {
				log.warning('TLS server role is disabled by configuration');
			}

			return undefined;
		}

		const context = settings === undefined ? this.#own : this.#applicationFor(settings);
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

	/* Somebody who asks for a name must not be shown another's certificate, because its table is of the wrong type. */
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

	#applicationFor({params, init}: ServerSettings): ServerContext | undefined {
		const found = this.#contexts.get(this.#keyOf({params, init}));
		if (found !== undefined) {
			return found;
		}

		if (!this.#credentialStore.has(init, params.tls_append_default_CA !== 0)) {
			/* Administrators search for the first line of stock's warning. */
			log.warning('request from tlsproxy server with unexpected settings');
			log.warning(
				`files are opened without privileges: ${namedSettings(init, parameterPrefix(init.log_param))}`,
			);
		}

		return this.#make({...serverParams(this.#configuration), ...params}, init);
	}

	#keyOf(settings: Pick<ServerSettings, 'params' | 'init'>): string {
		return serverSettingsKey(settings, this.#features);
	}

	#make(params: ServerParams, init: ServerInit): ServerContext | undefined {
		const maps = this.#maps;
		const made =
			maps &&
			createServerContext(params, init, {
				credentialStore: this.#credentialStore,
				sessions: this.#sessions,
				maps,
				features: this.#features,
			});
		if (made !== undefined) {
			this.#contexts.set(this.#keyOf({params, init}), made);
		}

		return made;
	}
}

/** What the server role loads as root. */
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

/* What a level means for a server: whether TLS is mandatory, if there is any. */
interface Level {
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

/** What is demanded of clients; undefined when they are not served. */
export function serverRequirements(configuration: Configuration): ServerRequirements | undefined {
	const mandatory = isMandatory(configuration);
	if (mandatory === undefined) {
		return undefined;
	}

	const requires = mandatory && configuration.boolean('tlsproxy_tls_req_ccert');
	return {mandatory, requires, asks: requires || configuration.boolean('tlsproxy_tls_ask_ccert')};
}

/* Whether clients have to use TLS; undefined when they cannot. */
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

/* Whether there are any, or none are wanted. Some errors are not show stoppers. */
function hasCertificates(configuration: Configuration, {mandatory, asks}: ServerRequirements): boolean {
	const certificate = configuration.string('tlsproxy_tls_cert_file');
	const none = certificate.toLowerCase() === 'none';
	const legacy = [
		none ? '' : certificate,
		configuration.string('tlsproxy_tls_dcert_file'),
		configuration.string('tlsproxy_tls_eccert_file'),
	].some(name => name !== '');
	const chains = configuration.string('tlsproxy_tls_chain_files') !== '';
	if (chains && legacy) {
		log.warning(
			'Both tlsproxy_tls_chain_files and one or more of the legacy  tlsproxy_tls_cert_file, tlsproxy_tls_eccert_file or tlsproxy_tls_dcert_file are non-empty; the legacy  parameters will be ignored',
		);
	}

	if (asks && !chains && !legacy) {
		log.warning('Need a server cert to request client certs');
	}

	if (!mandatory && configuration.boolean('tlsproxy_tls_req_ccert')) {
		log.warning("Can't require client certs unless TLS is required");
	}

	return chains || legacy || (none && !asks);
}
