/*++
/* NAME
/*	server-context 3
/* SUMMARY
/*	the SSL_CTX of connections from clients
/* DESCRIPTION
/*	Made from the tlsproxy_tls_* parameters of main.cf, before the
/*	jail; from 3.12 on also from the properties that a request
/*	carries.
/* DIAGNOSTICS
/*	When an application cannot be made the reason has been logged.
/* SEE ALSO
/*	ssl-context(3), postfix src/tls/tls_server.c, tls_server_init()
/*--*/

import type {Owned} from '../../base/owned.ts';
import type {ReleaseFeatures} from '../../conf/release.ts';
import {ERR_clear_error, type EvpMd} from '../../ffi/openssl/libcrypto.ts';
import {
	copyAuthorities,
	SSL_CTX_set_options,
	SSL_CTX_set_verify_depth,
	SSL_OP_CIPHER_SERVER_PREFERENCE,
	SSL_VERIFY_NONE,
	type SslCtx,
} from '../../ffi/openssl/libssl.ts';
import {
	nameAuthorities,
	SSL_CTX_set_cert_verify_callback,
	SSL_CTX_set_max_proto_version,
	SSL_CTX_set_min_proto_version,
	SSL_CTX_set_verify,
	SSL_VERIFY_CLIENT_ONCE,
	SSL_VERIFY_PEER,
	TLS_server_method,
} from '../../ffi/openssl/ssl-server.ts';
import {info, warning} from '../../log/log.ts';
import type {ClientParams} from '../../wire/client-settings.ts';
import type {ServerParams as RequestParams, ServerInit} from '../../wire/server-settings.ts';
import {printErrors, startLibrary} from '../library.ts';
import {logMask, TLS_LOG_VERBOSE} from '../log-mask.ts';
import {type CipherGrades, contextOptions, type ProtocolRange, parseProtocols} from '../option-lists.ts';
import {offerServerKeys} from '../raw-public-keys.ts';
import type {ResumptionTerms, ServerSessions} from '../resume/server-resumption.ts';
import {enableServerSessions} from '../resume/server-sessions.ts';
import {verifyCallback, verifyServerCertificates} from '../verify/verify-callback.ts';
import type {CredentialStore} from './credential-store.ts';
import {setDhParameters} from './dh-parameters.ts';
import {setGroups} from './groups.ts';
import {SniChains, type SniMaps} from './sni.ts';
import {fingerprintDigest, newSslCtx, SslContext} from './ssl-context.ts';

/** Global settings: those of a request, and what releases have that have no settings in requests. */
export type ServerParams = RequestParams &
	CipherGrades &
	Pick<ClientParams, 'tls_legacy_public_key_fingerprints'>;

/** What connections of an application need to know about it. */
interface ServerFacts {
	readonly params: ServerParams;
	readonly init: ServerInit;
	readonly features: ReleaseFeatures;
	/** What they have to do with sessions. */
	readonly terms: ResumptionTerms;
	/** Chains for the server names that clients ask for; undefined when there are none. */
	readonly names: SniChains | undefined;
}

/** What an application is made with, besides its properties. */
interface ServerMeans {
	/** Has what was loaded before the jail. */
	readonly credentialStore: CredentialStore;
	/** Who keeps sessions. */
	readonly sessions: ServerSessions;
	/** Chains by server name. */
	readonly maps: SniMaps;
	/** Of the release that is installed. */
	readonly features: ReleaseFeatures;
}

/** An SSL_CTX for connections from clients. */
export class ServerContext extends SslContext {
	readonly facts: ServerFacts;
	#shared: string | undefined;

	constructor(ctx: Owned<SslCtx>, mask: number, digest: EvpMd, facts: ServerFacts) {
		super(ctx, mask, digest);
		this.facts = facts;
	}

	/* Connections that get another chain get another context too. */
	override hasCipherList(list: string): boolean {
		const has = super.hasCipherList(list);
		if (has && this.#shared !== list) {
			this.#shared = list;
			this.facts.names?.useCiphers(list);
		}

		return has;
	}

	protected override released(): void {
		super.released();
		this.facts.names?.[Symbol.dispose]();
	}
}

/**
 * Makes an application for the server role.
 *
 * @param means - borrowed.
 * @returns undefined when that is not possible; the reason has been logged.
 * Source: tls_server_init(), postfix src/tls/tls_server.c.
 */
export function createServerContext(
	params: ServerParams,
	init: ServerInit,
	{credentialStore, sessions, maps, features}: ServerMeans,
): ServerContext | undefined {
	const mask = logMask(init.log_param, init.log_level, features);
	if ((mask & TLS_LOG_VERBOSE) !== 0) {
		info('initializing the server-side TLS engine');
	}

	if (!startLibrary(params.config_file, params.config_name)) {
		return undefined;
	}

	const range = parseProtocols(init.protocols, features.protocolLimits);
	if (range === undefined) {
		warning(`Invalid TLS protocol list "${init.protocols}": disabling TLS support`);
		return undefined;
	}

	const digest = fingerprintDigest(init.mdalg);
	if (digest === undefined) {
		return undefined;
	}

	/*
	 * A connection takes its settings from the context that it is made with. What it
	 * looks up in its context later on is in both.
	 */
	using ctx = newSslCtx(TLS_server_method(), 'server SSL_CTX', mask);
	const moves = !maps.empty && !features.lateServerNameLookup;
	using sniCtx = moves ? newSslCtx(TLS_server_method(), 'server SNI SSL_CTX', mask) : undefined;
	if (ctx === undefined || (moves && sniCtx === undefined)) {
		return undefined;
	}

	const contexts = [ctx, sniCtx].filter(made => made !== undefined).map(({value}) => value);
	const options = contextOptions(
		params.tls_disable_workarounds,
		params.tls_ssl_options,
		features.noRenegotiation,
	);
	SSL_CTX_set_verify_depth(ctx.value, init.verifydepth + 1);
	SSL_CTX_set_options(ctx.value, options);
	const terms = enableServerSessions(ctx.value, {...params, ...init, options, range}, sessions);
	setProtocols(ctx.value, range);
	if (params.tls_preempt_cipherlist !== 0) {
		SSL_CTX_set_options(ctx.value, SSL_OP_CIPHER_SERVER_PREFERENCE);
	}

	if (
		!credentialStore.applyAuthorities(ctx.value, init, params.tls_append_default_CA !== 0) ||
		!credentialStore.applyIdentity(ctx.value, init)
	) {
		return undefined;
	}

	if (features.rawPublicKeys) {
		/* What is good enough for the client is good enough for us. */
		for (const context of contexts) {
			offerServerKeys(context);
		}
	}

	setDhParameters(contexts, init, features);
	for (const context of contexts) {
		setGroups(context, params, features);
	}

	askForCertificate(ctx.value, contexts, init);
	if (init.ask_ccert !== 0 && params.tls_trust_server_ccerts !== 0) {
		SSL_CTX_set_cert_verify_callback(ctx.value, verifyServerCertificates, null);
	}

	return new ServerContext(ctx, mask, digest, {
		params,
		init,
		features,
		terms,
		names: maps.empty ? undefined : serveNames(ctx.value, sniCtx, maps),
	});
}

function serveNames(ctx: SslCtx, sniCtx: Owned<SslCtx> | undefined, maps: SniMaps): SniChains {
	if (sniCtx !== undefined) {
		copyAuthorities(ctx, sniCtx.value);
	}

	const chains = new SniChains(maps, sniCtx);
	chains.serve(ctx);
	return chains;
}

/* Unlike those of clients, the protocols of a server are the same for all its connections. */
function setProtocols(ctx: SslCtx, range: ProtocolRange): void {
	SSL_CTX_set_options(ctx, range.disabled);
	/* A limit of zero also cancels what openssl.cnf says. One that the library refuses is not set, without a word. */
	SSL_CTX_set_min_proto_version(ctx, range.minimum);
	SSL_CTX_set_max_proto_version(ctx, range.maximum);
	ERR_clear_error();
}

/*
 * A client may always answer that it has none: whether that will do is decided by
 * the server that the connection is made for. Without asking, none is sent.
 */
function askForCertificate(ctx: SslCtx, contexts: readonly SslCtx[], {ask_ccert, CAfile}: ServerInit): void {
	SSL_CTX_set_verify(
		ctx,
		ask_ccert === 0 ? SSL_VERIFY_NONE : SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE,
		verifyCallback,
	);
	if (ask_ccert !== 0 && CAfile !== '' && !contexts.every(each => nameAuthorities(each, CAfile))) {
		warning(`error loading client CA names from: ${CAfile}`);
		printErrors();
	}
}
