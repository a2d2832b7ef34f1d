/*++
/* NAME
/*	client-role 3
/* SUMMARY
/*	selects the SSL_CTX for a client-role request
/* DESCRIPTION
/*	Before the process enters the jail, load() reads the files that
/*	clients of this service may name in their requests, and creates the
/*	SSL_CTX for the settings of tlsproxy_client_*. Afterwards prepare()
/*	finds or creates the SSL_CTX for each request.
/*
/*	The settings of the request are applied. Stock tlsproxy(8) only
/*	compares them with the tlsproxy_client_* settings, logs a warning
/*	if they differ, and then uses some of the latter.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c, tlsp_client_init()
/*--*/

import {cacheKey} from '../base/cache-key.ts';
import {Lru} from '../base/lru.ts';
import {splitList} from '../base/text.ts';
import type {Configuration} from '../conf/configuration.ts';
import type {MasterFile} from '../conf/postconf-output.ts';
import type {ReleaseFeatures} from '../conf/release.ts';
import {mailClients} from '../conf/services.ts';
import * as log from '../log/log.ts';
import type {ConnectionParameters} from '../tls/connection/open-connection.ts';
import {type ClientContext, createClientContext} from '../tls/context/client-context.ts';
import type {CredentialStore} from '../tls/context/credential-store.ts';
import {authorityKey, identityKey, namedSettings, parameterPrefix} from '../tls/context/named-files.ts';
import {startLibrary} from '../tls/library.ts';
import {policyError} from '../tls/verify/policy.ts';
import {
	type ClientInit,
	type ClientParams,
	type ClientSettings,
	type CommonSettings,
	clientSettingsKey,
} from '../wire/client-settings.ts';
import {clientRoleNames, isClientRoleEnabled} from './client-role-enabled.ts';
import type {ClientRoleSessions} from './client-role-sessions.ts';
import type {CredentialFiles} from './credential-files.ts';
import {clientInit, clientParams, credentialFileNames} from './main-cf-settings.ts';

/** Number of cached contexts: more than a site has policies. A dropped context is created again when needed. */
const CONTEXT_LIMIT = 100;

/** The client role of one process. */
export class ClientRole {
	readonly #configuration: Configuration;
	readonly #features: ReleaseFeatures;
	readonly #sessions: ClientRoleSessions;
	readonly #isEnabled: boolean;
	readonly #contexts = new Lru<string, ClientContext>(CONTEXT_LIMIT, context => context[Symbol.dispose]());
	readonly #credentialStore: CredentialStore;
	readonly #keys = new WeakMap<ClientInit, {readonly params: ClientParams; readonly key: string}>();

	/**
	 * @param credentialStore - receives the loaded files; borrowed.
	 * @param sessions - stores sessions for resumption; borrowed.
	 */
	constructor(configuration: Configuration, credentialStore: CredentialStore, sessions: ClientRoleSessions) {
		this.#configuration = configuration;
		this.#features = configuration.features;
		this.#credentialStore = credentialStore;
		this.#sessions = sessions;
		this.#isEnabled = isEnabled(configuration);
	}

	/**
	 * Loads the files that only root can read. Called once, before the process enters the jail.
	 *
	 * @param reading - the content of master.cf. postconf(1) runs while other parts of the program start.
	 * @param watch - called with the files before they are opened.
	 */
	async load(
		reading: Promise<MasterFile>,
		watch: (credentialFiles: readonly CredentialFiles[]) => void,
	): Promise<void> {
		/* OpenSSL must read its configuration before any other call. */
		const params = clientParams(this.#configuration);
		if (!this.#isEnabled || !startLibrary(params.config_file ?? 'default', params.config_name ?? '')) {
			return;
		}

		const [master] = await Promise.all([reading, this.#sessions.loadCachePolicies()]);
		const credentialFiles = clientCredentialFiles(this.#configuration, master);
		watch(credentialFiles);
		for (const {owner, program, files, appendDefault} of credentialFiles) {
			/* A service whose files cannot be read does not affect the others. */
			const loaded = this.#credentialStore.load(files, appendDefault);
			const prefix = program === undefined ? 'tlsproxy_client_' : `${program}_tls_`;
			const problem = this.#credentialStore.problemWith(files, appendDefault, prefix);
			if (problem !== undefined && owner !== undefined) {
				const effect = loaded
					? 'no certificate was loaded; its connections have no client certificate'
					: 'its certificates cannot be used; this service refuses its requests';
				log.warning(`${owner}: ${effect}: ${problem}`);
			}
		}

		const init = clientInit(this.#configuration);
		if (
			!this.#credentialStore.load(init, params.tls_append_default_CA !== 0) ||
			this.#createContext({params, init}) === undefined
		) {
			log.warning('TLS client initialization failed');
		}
	}

	/** Whether requests are served at all. */
	get enabled(): boolean {
		return this.#isEnabled;
	}

	/** The parameters of the connection for a request; undefined if it cannot be served, and the reason has been logged. */
	prepare(settings: ClientSettings): ConnectionParameters | undefined {
		const context = this.#contextFor(settings);
		return context && {role: 'client', context, start: settings.start, sessions: this.#sessions};
	}

	#contextFor(settings: ClientSettings): ClientContext | undefined {
		if (!this.#isEnabled) {
			log.warning('TLS client role is disabled by configuration');
			return undefined;
		}

		const error = policyError(settings.start, this.#features);
		if (error !== undefined) {
			log.warning(`${settings.start.namaddr}: ${error}`);
			return undefined;
		}

		const found = this.#contexts.get(this.#keyOf(settings));
		if (found !== undefined) {
			return found;
		}

		const {params, init} = settings;
		const appendDefault = params.tls_append_default_CA !== 0;
		const prefix = parameterPrefix(init.log_param);
		if (this.#credentialStore.has(init, appendDefault)) {
			const problem = this.#credentialStore.problemWith(init, appendDefault, prefix);
			if (problem !== undefined) {
				log.warning(`files that could not be loaded when this process started: ${problem}`);
			}
		} else {
			/* The first line of stock's warning: administrators search for it. */
			log.warning('request from tlsproxy client with unexpected settings');
			log.warning(`files are opened without privileges: ${namedSettings(init, prefix)}`);
			log.warning(
				'to avoid this, configure the files with smtp_tls_* parameters in main.cf or master.cf, or run another tlsproxy service with tlsproxy_client_* settings that match the client and set its tlsproxy_service_name to that service',
			);
		}

		return this.#createContext(settings);
	}

	/* Most requests share their settings objects with earlier requests: the key is computed once per object. */
	#keyOf({params, init}: CommonSettings): string {
		const cached = this.#keys.get(init);
		if (cached?.params === params) {
			return cached.key;
		}

		const key = clientSettingsKey({params, init}, this.#features);
		this.#keys.set(init, {params, key});
		return key;
	}

	#createContext(settings: CommonSettings): ClientContext | undefined {
		const {params, init} = settings;
		const timeout = this.#sessions.timeoutOf(init.cache_type);
		const configured = scopeOf({
			params: clientParams(this.#configuration),
			init: clientInit(this.#configuration),
		});
		const scope = scopeOf(settings);
		const context = createClientContext(
			params,
			init,
			this.#credentialStore,
			this.#features,
			timeout === undefined ? undefined : {timeout, scope: scope === configured ? '' : scope},
		);
		if (context !== undefined) {
			this.#contexts.set(this.#keyOf(settings), context);
		}

		return context;
	}
}

/** The files that the client role loads as root: those of each mail client, and those of tlsproxy_client_*. */
export function clientCredentialFiles(
	configuration: Configuration,
	master: MasterFile,
): readonly CredentialFiles[] {
	if (!isEnabled(configuration)) {
		return [];
	}

	const appendDefault = clientParams(configuration).tls_append_default_CA !== 0;
	const clients = mailClients(master, configuration).map(({service, program, configuration: settings}) => ({
		owner: service,
		program,
		files: credentialFileNames(settings, `${program}_tls`),
		appendDefault,
	}));
	return [...clients, {owner: undefined, files: clientInit(configuration), appendDefault}];
}

/*
 * The identity and the trusted authorities of a request. A session must not be resumed
 * by a request with another scope. Requests with the settings of tlsproxy_client_* have
 * an empty scope and share their sessions with stock tlsproxy(8), which knows no other.
 */
function scopeOf({params, init}: CommonSettings): string {
	return cacheKey(
		identityKey(init),
		authorityKey(init, params.tls_append_default_CA !== 0),
		String(init.verifydepth),
		/* OpenSSL ignores the case of digest names. */
		init.mdalg.toLowerCase(),
		cacheKey(...splitList(params.tls_dane_digests)),
	);
}

function isEnabled(configuration: Configuration): boolean {
	const {level, policy} = clientRoleNames(name => configuration.has(name));
	return isClientRoleEnabled({
		level: configuration.string(level),
		useTls: configuration.boolean('tlsproxy_client_use_tls'),
		enforceTls: configuration.boolean('tlsproxy_client_enforce_tls'),
		policy: configuration.string(policy),
		perSite: configuration.string('tlsproxy_client_per_site'),
	});
}
