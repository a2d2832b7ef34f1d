/*++
/* NAME
/*	client-context 3
/* SUMMARY
/*	the SSL_CTX of connections to servers
/* DESCRIPTION
/*	A client context is made from the settings of a request, which are
/*	those of smtp(8), or from the tlsproxy_client_* parameters of
/*	main.cf. The latter is made before the process enters the jail.
/* DIAGNOSTICS
/*	When a context cannot be made, the reason has been logged. Nothing
/*	is cached then: the next request tries again.
/* SEE ALSO
/*	ssl-context(3), postfix src/tls/tls_client.c, tls_client_init()
/*--*/

import type {Owned} from '../../base/owned.ts';
import type {Seconds} from '../../base/units.ts';
import type {ReleaseFeatures} from '../../conf/release.ts';
import type {EvpMd} from '../../ffi/openssl/libcrypto.ts';
import {
	hasIdentity,
	SSL_CTX_set_cert_verify_callback,
	SSL_CTX_set_min_proto_version,
	SSL_CTX_set_options,
	SSL_CTX_set_verify_depth,
	type SslCtx,
	TLS_client_method,
} from '../../ffi/openssl/ssl-ctx.ts';
import {info} from '../../log/log.ts';
import type {ClientInit, ClientParams} from '../../wire/client-settings.ts';
import {startLibrary} from '../library.ts';
import {logMask, TLS_LOG_VERBOSE} from '../log-mask.ts';
import {contextOptions} from '../option-lists.ts';
import {offerClientKeys} from '../raw-public-keys.ts';
import {enableResumption} from '../resume/client-resumption.ts';
import {prepareDane} from '../verify/policy.ts';
import {VerifiedChainCache} from '../verify/verified-chains.ts';
import {cachedVerify} from '../verify/verify-callback.ts';
import type {CredentialStore} from './credential-store.ts';
import {setGroups} from './groups.ts';
import {fingerprintDigest, newSslCtx, SslContext} from './ssl-context.ts';

/** How the sessions of a context are stored. */
export interface SessionPolicy {
	/** How long they are stored. */
	readonly timeout: Seconds;
	/** Distinguishes its sessions from those of other contexts: session-key(3). */
	readonly scope: string;
}

/** An SSL_CTX for connections to servers. */
export class ClientContext extends SslContext {
	readonly params: ClientParams;
	readonly init: ClientInit;
	readonly features: ReleaseFeatures;
	/** How its sessions are stored; undefined when they are not. */
	readonly sessionPolicy: SessionPolicy | undefined;
	/** Certificate chains of servers that have been verified. */
	readonly verifiedChains: VerifiedChainCache = new VerifiedChainCache();

	constructor(
		ctx: Owned<SslCtx>,
		params: ClientParams,
		init: ClientInit,
		mask: number,
		digest: EvpMd,
		features: ReleaseFeatures,
		sessionPolicy: SessionPolicy | undefined,
	) {
		super(ctx, mask, digest);
		this.params = params;
		this.init = init;
		this.features = features;
		this.sessionPolicy = sessionPolicy;
	}
}

/**
 * Makes a context for the client role.
 *
 * @param credentialStore - the files that were loaded before the jail; borrowed.
 * @param features - of the installed release.
 * @param sessionPolicy - without it, sessions are not stored.
 * @returns undefined when the context cannot be made; the reason has been logged.
 * Source: tls_client_init(), postfix src/tls/tls_client.c.
 */
export function createClientContext(
	params: ClientParams,
	init: ClientInit,
	credentialStore: CredentialStore,
	features: ReleaseFeatures,
	sessionPolicy?: SessionPolicy,
): ClientContext | undefined {
	const mask = logMask(init.log_param, init.log_level, features);
	if ((mask & TLS_LOG_VERBOSE) !== 0) {
		info('initializing the client-side TLS engine');
	}

	if (!startLibrary(params.config_file ?? 'default', params.config_name ?? '')) {
		return undefined;
	}

	const digest = fingerprintDigest(init.mdalg);
	if (digest === undefined) {
		return undefined;
	}

	using ctx = newSslCtx(TLS_client_method(), 'client SSL_CTX', mask);
	if (ctx === undefined) {
		return undefined;
	}

	const sslCtx = ctx.value;
	SSL_CTX_set_verify_depth(sslCtx, init.verifydepth + 1);
	if (!features.protocolLimits) {
		/* Overrides MinProtocol of openssl.cnf. */
		SSL_CTX_set_min_proto_version(sslCtx, 0);
	}

	SSL_CTX_set_options(
		sslCtx,
		contextOptions(params.tls_disable_workarounds, params.tls_ssl_options, features.noRenegotiation),
	);
	if (
		!credentialStore.applyAuthorities(sslCtx, init, params.tls_append_default_CA !== 0) ||
		!credentialStore.applyIdentity(sslCtx, init)
	) {
		return undefined;
	}

	if (!prepareDane(sslCtx, params.tls_dane_digests, digest, features)) {
		return undefined;
	}

	if (features.rawPublicKeys && hasIdentity(sslCtx)) {
		offerClientKeys(sslCtx);
	}

	SSL_CTX_set_cert_verify_callback(sslCtx, cachedVerify, null);
	setGroups(sslCtx, params, features);
	if (sessionPolicy !== undefined) {
		enableResumption(sslCtx, sessionPolicy.timeout);
	}

	return new ClientContext(ctx, params, init, mask, digest, features, sessionPolicy);
}
