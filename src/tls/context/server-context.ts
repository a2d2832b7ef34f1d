/*++
/* NAME
/*	server-context 3
/* SUMMARY
/*	the SSL_CTX of connections from clients
/* DESCRIPTION
/*	A server context is made from the tlsproxy_tls_* parameters of
/*	main.cf, before the process enters the jail. With Postfix 3.12 and
/*	later it is also made from the settings of a request.
/* DIAGNOSTICS
/*	When a context cannot be made, the reason has been logged.
/* SEE ALSO
/*	ssl-context(3), postfix src/tls/tls_server.c, tls_server_init()
/*--*/

import type {Owned} from '../../base/owned.ts';
import type {ReleaseFeatures} from '../../conf/release.ts';
import {cText} from '../../ffi/libc/libc.ts';
import {ERR_clear_error, type EvpMd} from '../../ffi/openssl/libcrypto.ts';
import {
	copyCertStore,
	SSL_CTX_set_cert_verify_callback,
	SSL_CTX_set_max_proto_version,
	SSL_CTX_set_min_proto_version,
	SSL_CTX_set_options,
	SSL_CTX_set_verify,
	SSL_CTX_set_verify_depth,
	SSL_OP_CIPHER_SERVER_PREFERENCE,
	SSL_VERIFY_CLIENT_ONCE,
	SSL_VERIFY_NONE,
	SSL_VERIFY_PEER,
	type SslCtx,
	setClientCaFile,
	TLS_server_method,
} from '../../ffi/openssl/ssl-ctx.ts';
import {info, warning} from '../../log/log.ts';
import type {ClientParams} from '../../wire/client-settings.ts';
import type {ServerParams as RequestParams, ServerInit} from '../../wire/server-settings.ts';
import {isBlockingFile, NOT_REGULAR} from '../blocking-file.ts';
import {printErrors, startLibrary} from '../library.ts';
import {logMask, TLS_LOG_VERBOSE} from '../log-mask.ts';
import {type CipherGrades, contextOptions, type ProtocolRange, parseProtocols} from '../option-lists.ts';
import {offerServerKeys} from '../raw-public-keys.ts';
import type {ServerResumptionSettings, ServerSessions} from '../resume/server-resumption.ts';
import {enableServerSessions} from '../resume/server-sessions.ts';
import {verifyCallback, verifyServerCertificates} from '../verify/verify-callback.ts';
import type {CredentialStore} from './credential-store.ts';
import {setDhParameters} from './dh-parameters.ts';
import {setGroups} from './groups.ts';
import {SniChains, type SniMaps} from './sni.ts';
import {fingerprintDigest, newSslCtx, SslContext} from './ssl-context.ts';

/** Global settings: those of a request, and those that only releases without settings in requests have. */
export type ServerParams = RequestParams &
	CipherGrades &
	Pick<ClientParams, 'tls_legacy_public_key_fingerprints'>;

/** The settings that connections of a context need. */
interface ServerContextSettings {
	readonly params: ServerParams;
	readonly init: ServerInit;
	readonly features: ReleaseFeatures;
	/** How sessions are stored and resumed. */
	readonly resumption: ServerResumptionSettings;
	/** Certificate chains by server name; undefined when tls_server_sni_maps is empty. */
	readonly sniChains: SniChains | undefined;
}

/** The objects that an SSL_CTX needs in addition to its settings. All are borrowed. */
interface ServerContextSources {
	/** The files that were loaded before the jail. */
	readonly credentialStore: CredentialStore;
	/** Stores sessions and ticket keys. */
	readonly sessions: ServerSessions;
	/** The tables of tls_server_sni_maps. */
	readonly maps: SniMaps;
	/** Of the installed release. */
	readonly features: ReleaseFeatures;
}

/** An SSL_CTX for connections from clients. */
export class ServerContext extends SslContext {
	readonly settings: ServerContextSettings;
	#sniCipherList: string | undefined;

	constructor(ctx: Owned<SslCtx>, mask: number, digest: EvpMd, settings: ServerContextSettings) {
		super(ctx, mask, digest);
		this.settings = settings;
	}

	/* A connection with the chain of a server name moves to a second SSL_CTX: it needs the same list. */
	override hasCipherList(list: string): boolean {
		const has = super.hasCipherList(list);
		if (has && this.#sniCipherList !== list) {
			this.#sniCipherList = list;
			this.settings.sniChains?.useCiphers(list);
		}

		return has;
	}

	protected override releaseAll(): void {
		super.releaseAll();
		this.settings.sniChains?.[Symbol.dispose]();
	}
}

/**
 * Makes a context for the server role.
 *
 * @returns undefined when the context cannot be made; the reason has been logged.
 * Source: tls_server_init(), postfix src/tls/tls_server.c.
 */
export function createServerContext(
	params: ServerParams,
	init: ServerInit,
	{credentialStore, sessions, maps, features}: ServerContextSources,
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
	 * A connection copies most settings of the SSL_CTX that it is made with. Settings that
	 * OpenSSL reads from the SSL_CTX later on have to be the same in both.
	 */
	using ctx = newSslCtx(TLS_server_method(), 'server SSL_CTX', mask);
	const usesSecondCtx = !maps.empty && !features.lateServerNameLookup;
	using sniCtx = usesSecondCtx ? newSslCtx(TLS_server_method(), 'server SNI SSL_CTX', mask) : undefined;
	if (ctx === undefined || (usesSecondCtx && sniCtx === undefined)) {
		return undefined;
	}

	const contexts = [ctx, sniCtx].filter(owned => owned !== undefined).map(({value}) => value);
	const options = contextOptions(
		params.tls_disable_workarounds,
		params.tls_ssl_options,
		features.noRenegotiation,
	);
	SSL_CTX_set_verify_depth(ctx.value, init.verifydepth + 1);
	SSL_CTX_set_options(ctx.value, options);
	const resumption = enableServerSessions(ctx.value, {...params, ...init, options, range}, sessions);
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
		resumption,
		sniChains: maps.empty ? undefined : enableSni(ctx.value, sniCtx, maps),
	});
}

function enableSni(ctx: SslCtx, sniCtx: Owned<SslCtx> | undefined, maps: SniMaps): SniChains {
	if (sniCtx !== undefined) {
		copyCertStore(ctx, sniCtx.value);
	}

	const chains = new SniChains(maps, sniCtx);
	chains.enable(ctx);
	return chains;
}

/* In the server role, all connections of a context have the same protocol versions. */
function setProtocols(ctx: SslCtx, range: ProtocolRange): void {
	SSL_CTX_set_options(ctx, range.disabled);
	/* Zero also cancels the limit of openssl.cnf. A limit that the library refuses is ignored, as by stock. */
	SSL_CTX_set_min_proto_version(ctx, range.minimum);
	SSL_CTX_set_max_proto_version(ctx, range.maximum);
	ERR_clear_error();
}

/*
 * A client that is asked may still send no certificate: the server that the connection
 * belongs to decides whether that is acceptable. A client that is not asked sends none.
 */
function askForCertificate(ctx: SslCtx, contexts: readonly SslCtx[], {ask_ccert, CAfile}: ServerInit): void {
	SSL_CTX_set_verify(
		ctx,
		ask_ccert === 0 ? SSL_VERIFY_NONE : SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE,
		verifyCallback,
	);
	if (ask_ccert === 0 || CAfile === '') {
		return;
	}

	/* The trusted certificates may have been loaded before the jail: this is another file, or the same one later. */
	if (isBlockingFile(CAfile)) {
		warning(`error loading client CA names from: ${CAfile}: ${NOT_REGULAR}`);
	} else if (!contexts.every(each => setClientCaFile(each, cText(CAfile)))) {
		warning(`error loading client CA names from: ${CAfile}`);
		printErrors();
	}
}
