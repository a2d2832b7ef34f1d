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

/** Number of cached contexts: more than a site has policies. One that was dropped is made again when needed. */
const CONTEXT_LIMIT = 100;

/** The client role of one process. */
export class ClientRole {
	readonly #configuration: Configuration;
	readonly #features: ReleaseFeatures;
	readonly #sessions: ClientRoleSessions;
	readonly #enabled: boolean;
	readonly #contexts = new Lru<string, ClientContext>(CONTEXT_LIMIT, context => context[Symbol.dispose]());
	readonly #credentialStore: CredentialStore;
	readonly #keys = new WeakMap<ClientInit, {readonly params: ClientParams; readonly key: string}>();

	/**
	 * @param keyring - where files are loaded to; borrowed.
	 * @param sessions - borrowed: who knows whether sessions are kept.
	 */
	constructor(configuration: Configuration, credentialStore: CredentialStore, sessions: ClientRoleSessions) {
		this.#configuration = configuration;
		this.#features = configuration.features;
		this.#credentialStore = credentialStore;
		this.#sessions = sessions;
		this.#enabled = isEnabled(configuration);
	}

	/**
	 * Loads what has to be loaded as root. To be called once, before the jail.
	 *
	 * @param reading - of master.cf: it takes postconf(1) a while, which others have used meanwhile.
	 * @param watch - gets what is going to be read, just before.
	 */
	async load(
		reading: Promise<MasterFile>,
		watch: (credentialFiles: readonly CredentialFiles[]) => void,
	): Promise<void> {
		/* Before anything else is asked of OpenSSL, its configuration has to be applied. */
		const params = clientParams(this.#configuration);
		if (!this.#enabled || !startLibrary(params.config_file ?? 'default', params.config_name ?? '')) {
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
					? 'no certificate was loaded, and its connections are made without'
					: 'its certificates cannot be used, and this service refuses its requests';
				log.warning(`${owner}: ${effect}: ${problem}`);
			}
		}

		const init = clientInit(this.#configuration);
		if (
			!this.#credentialStore.load(init, params.tls_append_default_CA !== 0) ||
			this.#make({params, init}) === undefined
		) {
			log.warning('TLS client initialization failed');
		}
	}

	/** Whether requests are served at all. */
	get enabled(): boolean {
		return this.#enabled;
	}

	/** What the connection of a request is made with; undefined when it cannot be served, and the log says why. */
	prepare(settings: ClientSettings): ConnectionParameters | undefined {
		const context = this.#applicationFor(settings);
		return context && {role: 'client', context, start: settings.start, sessions: this.#sessions};
	}

	#applicationFor(settings: ClientSettings): ClientContext | undefined {
		if (!this.#enabled) {
			log.warning('TLS client role is disabled by configuration');
			return undefined;
		}

		const complaint = policyError(settings.start, this.#features);
		if (complaint !== undefined) {
			log.warning(`${settings.start.namaddr}: ${complaint}`);
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
				log.warning(`not loaded when this process started: ${problem}`);
			}
		} else {
			/* Administrators search for the first line of stock's warning. */
			log.warning('request from tlsproxy client with unexpected settings');
			log.warning(`files are opened without privileges: ${namedSettings(init, prefix)}`);
			log.warning(
				'to avoid this, let smtp_tls_* parameters in main.cf or master.cf name them, or run another tlsproxy service with tlsproxy_client_* settings that match the client, and name it in tlsproxy_service_name',
			);
		}

		return this.#make(settings);
	}

	/* Of objects that come again, as those of most requests do, it is made once. */
	#keyOf({params, init}: CommonSettings): string {
		const known = this.#keys.get(init);
		if (known !== undefined && known.params === params) {
			return known.key;
		}

		const key = clientSettingsKey({params, init}, this.#features);
		this.#keys.set(init, {params, key});
		return key;
	}

	#make(settings: CommonSettings): ClientContext | undefined {
		const {params, init} = settings;
		const timeout = this.#sessions.timeoutOf(init.cache_type);
		const own = scopeOf({params: clientParams(this.#configuration), init: clientInit(this.#configuration)});
		const scope = scopeOf(settings);
		const made = createClientContext(
			params,
			init,
			this.#credentialStore,
			this.#features,
			timeout === undefined ? undefined : {timeout, scope: scope === own ? '' : scope},
		);
		if (made !== undefined) {
			this.#contexts.set(this.#keyOf(settings), made);
		}

		return made;
	}
}

/** What the client role loads as root: for each client that may ask, and for the settings of this service. */
export function clientCredentialFiles(
	configuration: Configuration,
	master: MasterFile,
): readonly CredentialFiles[] {
	if (!isEnabled(configuration)) {
		return [];
	}

	const appendDefault = clientParams(configuration).tls_append_default_CA !== 0;
	const clients = mailClients(master, configuration).map(({service, program, configuration: theirs}) => ({
		owner: service,
		program,
		files: credentialFileNames(theirs, `${program}_tls`),
		appendDefault,
	}));
	return [...clients, {owner: undefined, files: clientInit(configuration), appendDefault}];
}

/*
 * Who we are for servers, and whom we trust: what a session must not be taken from
 * one to the other. Sessions of a request with the settings of this service are
 * shared with stock's, which has no others.
 */
function scopeOf({params, init}: CommonSettings): string {
	return cacheKey(
		identityKey(init),
		authorityKey(init, params.tls_append_default_CA !== 0),
		String(init.verifydepth),
		/* OpenSSL finds a digest by its name in any case. */
		init.mdalg.toLowerCase(),
		cacheKey(...splitList(params.tls_dane_digests)),
	);
}

function isEnabled(configuration: Configuration): boolean {
	const {level, policy} = clientRoleNames(configuration.has('tlsproxy_client_security_level'));
	return isClientRoleEnabled({
		level: configuration.string(level),
		useTls: configuration.boolean('tlsproxy_client_use_tls'),
		enforceTls: configuration.boolean('tlsproxy_client_enforce_tls'),
		policy: configuration.string(policy),
		perSite: configuration.string('tlsproxy_client_per_site'),
	});
}
