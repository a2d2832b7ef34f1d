/*++
/* NAME
/*	client-connection 3
/* SUMMARY
/*	prepares a TLS connection to a server
/* DESCRIPTION
/*	A request says how its connection is to be made: protocols,
/*	ciphers, server name, trust. openClientConnection() applies that to
/*	a new SSL on the descriptor of the server. What it cannot apply
/*	ends the session before the handshake; nothing is applied by half.
/* DIAGNOSTICS
/*	When a connection cannot be prepared the reason has been logged, in
/*	the words of stock.
/* SEE ALSO
/*	connection(3), postfix src/tls/tls_client.c, tls_client_start()
/*--*/

import {cacheKey} from '../../base/cache-key.ts';
import {Panic} from '../../base/errors.ts';
import {END, FAILED} from '../../base/io-result.ts';
import {Owned, Resources} from '../../base/owned.ts';
import type {Fd} from '../../base/units.ts';
import type {ReleaseFeatures} from '../../conf/release.ts';
import {OpenSSL_version_num} from '../../ffi/openssl/libcrypto.ts';
import {
	SSL_connect,
	SSL_free,
	SSL_new,
	SSL_OP_NO_SSLv3,
	SSL_set_max_proto_version,
	SSL_set_min_proto_version,
	SSL_set_options,
	SSL_set_security_level,
	SSL_set_verify,
	SSL_VERIFY_NONE,
	type Ssl,
} from '../../ffi/openssl/libssl.ts';
import {info, warning} from '../../log/log.ts';
import type {ClientStart} from '../../wire/client-settings.ts';
import type {HandshakeReport} from '../../wire/handshake-report.ts';
import {setCiphers} from '../context/ciphers.ts';
import type {ClientContext} from '../context/client-context.ts';
import {fingerprintDigest} from '../context/ssl-context.ts';
import {lowercase} from '../hostname.ts';
import {printErrors} from '../library.ts';
import {connectionLogMask, TLS_LOG_CACHE, TLS_LOG_UNTRUSTED, TLS_LOG_VERBOSE} from '../log-mask.ts';
import {type ProtocolRange, parseProtocols} from '../option-lists.ts';
import {buildClientReport} from '../report/client-report.ts';
import {
	offerSession,
	type Resumption,
	removeSession,
	type SessionStore,
	storeNewSessions,
} from '../resume/client-resumption.ts';
import {type SessionKeyParts, sessionKey} from '../resume/session-key.ts';
import {FailureReporter} from '../verify/failure-reporter.ts';
import type {ClientHandshakeFacts} from '../verify/handshake-facts.ts';
import {applyLegacyPolicy, explainsDistrust} from '../verify/legacy-verification.ts';
import {type AppliedPolicy, applyPolicy, enableChecks, isDaneLevel, mustMatch} from '../verify/policy.ts';
import {serverName, setServerName} from '../verify/server-name.ts';
import {registerVerifyState, type VerifyState, verifyCallback} from '../verify/verify-callback.ts';
import {attach, Connection, DONE} from './connection.ts';

/** A connection to a server. */
export class ClientConnection extends Connection {
	/* Undefined after the report. */
	#facts: ClientHandshakeFacts | undefined;
	readonly #verifyRegistration: Disposable;
	/** How its sessions are kept; undefined when they are not. */
	readonly #resumption: Resumption | undefined;
	/* A session was offered, and the handshake is not through. */
	#offers = false;

	/** @param verifyRegistration - one of the resources; it is released with the report. */
	constructor(
		ssl: Owned<Ssl>,
		facts: ClientHandshakeFacts,
		resumption: Resumption | undefined,
		resources: Resources,
		verifyRegistration: Disposable,
	) {
		super(ssl, resources);
		this.#facts = facts;
		this.#verifyRegistration = verifyRegistration;
		this.#resumption = resumption;
	}

	get logMask(): number {
		return this.#facts?.verifyState.logMask ?? 0;
	}

	/* OpenSSL cannot wait for the answer, so it comes before the handshake. */
	lookUp(done: () => void): void {
		const resumption = this.#resumption;
		if (resumption === undefined) {
			done();
			return;
		}

		resumption.store.find(resumption, found => {
			using session = found;
			if (session !== undefined && !this.disposed) {
				this.#offers = offerSession(this.ssl, resumption, session);
			}

			done();
		});
	}

	protected buildReport(): HandshakeReport {
		const facts = this.#facts;
		if (facts === undefined) {
			throw new Panic('a second report');
		}

		const report = buildClientReport(facts);
		this.release(this.#verifyRegistration);
		this.#facts = undefined;
		return report;
	}

	/* There will be no report that smtp(8) could learn it from. */
	override handshake(mayRead = true): number {
		const result = super.handshake(mayRead);
		if (result === DONE) {
			this.#offers = false;
		}

		if (result === END || result === FAILED) {
			this.#facts?.verifyState.reporter?.report('validation_failure', 'tls-handshake-failure');
		}

		return result;
	}

	/* A time limit ends a handshake, too. */
	override [Symbol.dispose](): void {
		if (this.#offers && this.#resumption !== undefined) {
			this.#offers = false;
			removeSession(this.#resumption);
		}

		super[Symbol.dispose]();
	}

	protected handshakeStep(ssl: Ssl): number {
		return SSL_connect(ssl);
	}
}

/**
 * Prepares a connection to a server.
 *
 * @param fd - the peer's descriptor, non-blocking; borrowed, it has to outlive the connection.
 * @param keeper - of sessions; without, none is kept, and none resumed.
 * @returns undefined when the request cannot be honoured; the reason has been logged.
 * Source: tls_client_start(), postfix src/tls/tls_client.c.
 */
export function openClientConnection(
	context: ClientContext,
	start: ClientStart,
	fd: Fd,
	store?: SessionStore,
): ClientConnection | undefined {
	const {namaddr} = start;
	const {features, params} = context;
	const logMask = connectionLogMask(context.logMask, start, features);
	if ((logMask & TLS_LOG_VERBOSE) !== 0) {
		info(`setting up TLS connection to ${namaddr}`);
	}

	const range = parseProtocols(start.protocols, features.protocolLimits);
	if (range === undefined) {
		warning(`${namaddr}: Invalid TLS protocol list "${start.protocols}": aborting TLS session`);
		return undefined;
	}

	const digest = start.mdalg === context.init.mdalg ? context.digest : fingerprintDigest(start.mdalg);
	if (digest === undefined) {
		return undefined;
	}

	const made = SSL_new(context.ctx);
	if (made === null) {
		warning("Could not allocate 'TLScontext->con' with SSL_new()");
		printErrors();
		return undefined;
	}

	using ssl = new Owned(made, SSL_free);
	using resources = new Resources();
	const name = lowercase(namaddr);
	const ciphers = setCiphers(context, made, params, start, logMask);
	if (ciphers === undefined) {
		return undefined;
	}

	/* DNS-based authentication needs TLS: SSLv3 has no extension for the name. */
	const dane = isDaneLevel(start.tls_level);
	const disabled = range.disabled | (features.protocolLimits && dane ? SSL_OP_NO_SSLv3 : 0);
	setProtocols(made, {...range, disabled: disabled >>> 0}, name, features);
	/* In the order of Postfix: names that cannot be used are logged as they are met. */
	const wantedName = serverName(features, start, dane);
	const checks = features.legacyVerification
		? {dane: false, names: [], mustFail: false}
		: enableChecks(made, start, name);
	if (checks === undefined) {
		return undefined;
	}

	const sni = setServerName(features, made, wantedName, {namaddr, logMask});
	if (sni === undefined) {
		return undefined;
	}

	const reporter = FailureReporter.for(start);
	const policy = features.legacyVerification
		? applyLegacyPolicy(made, start, name)
		: applyPolicy(made, start, name, checks, features, reporter);
	if (policy === undefined) {
		return undefined;
	}

	if (mustMatch(policy.level)) {
		SSL_set_security_level(made, 1);
	}

	const verifyState = prepareVerifyState(context, made, start, {...policy, reporter, name, logMask});

	if (!attach(made, fd, logMask, name)) {
		return undefined;
	}

	const verifyRegistration = resources.use(registerVerifyState(made, verifyState));
	const parts = {ciphers, disabled: disabled >>> 0, sni, ...policy};
	const resumption =
		/* That a failure is forced is not in the name of a session. */
		store === undefined || context.sessionPolicy === undefined || verifyState.forcedFailure !== ''
			? undefined
			: resumptionOf(context, start, {...parts, ...context.sessionPolicy}, store, logMask);
	if (resumption !== undefined) {
		resources.use(storeNewSessions(made, resumption));
	}

	const bareKeys = features.legacyFingerprints && params.tls_legacy_public_key_fingerprints === 1;
	return new ClientConnection(
		ssl,
		{
			ssl: made,
			features,
			start,
			verifyState,
			level: policy.level,
			fingerprinting: {digest, bareKeys},
			wildcardMatchesMultipleLabels: params.tls_wildcard_matches_multiple_labels !== 0,
		},
		resumption,
		resources,
		verifyRegistration,
	);
}

function resumptionOf(
	context: ClientContext,
	start: ClientStart,
	parts: Omit<SessionKeyParts, 'library' | 'digestLists'>,
	store: SessionStore,
	logMask: number,
): Resumption {
	const {serial} = context;
	const cacheType = context.init.cache_type;
	const key = sessionKey(start, {
		...parts,
		library: OpenSSL_version_num(),
		digestLists: store.digestLists,
	});
	if ((logMask & TLS_LOG_CACHE) !== 0) {
		info(`looking for session ${key} in ${cacheType} cache`);
	}

	return {
		cacheType,
		key,
		/* Stock tells neither identities nor, below verification, server names apart. */
		localCacheKey: cacheKey(String(serial), parts.sni, key),
		logMask,
		firstOnly: context.features.firstTicketOnly,
		store,
	};
}

/*
 * The callback only takes notes for the log, unless the policy could not be
 * applied. Where nobody will read them OpenSSL can stop at the first error, and no
 * call crosses into JavaScript: whether the chain is trusted comes out the same.
 */
function prepareVerifyState(
	context: ClientContext,
	ssl: Ssl,
	start: ClientStart,
	{
		mustFail: unapplied,
		reporter,
		name,
		names,
		logMask: asked,
	}: AppliedPolicy & Pick<VerifyState, 'reporter' | 'logMask'> & {readonly name: string},
): VerifyState {
	const forcedFailure = start.forced_failure_type ?? '';
	const mustFail = unapplied || forcedFailure !== '';
	const {features} = context;
	const explains = features.legacyVerification ? explainsDistrust(start) : mustMatch(start.tls_level);
	const logMask = asked | (explains ? TLS_LOG_UNTRUSTED : 0);
	if (mustFail || features.legacyVerification || (logMask & (TLS_LOG_UNTRUSTED | TLS_LOG_VERBOSE)) !== 0) {
		SSL_set_verify(ssl, SSL_VERIFY_NONE, verifyCallback);
	}

	return {
		namaddr: name,
		peer: 'server',
		logMask,
		verifyDepth: context.init.verifydepth,
		mustFail,
		forcedFailure,
		reporter,
		features,
		chainCacheQuery:
			/* What is verified is logged step by step, if asked for. */
			names === undefined || mustFail || (logMask & TLS_LOG_VERBOSE) !== 0
				? undefined
				: {cache: context.verifiedChains, names},
		peername: undefined,
		error: undefined,
	};
}

/* A limit of zero also cancels what openssl.cnf says. A limit that the library refuses does not end the session. */
function setProtocols(ssl: Ssl, range: ProtocolRange, name: string, {protocolLimits}: ReleaseFeatures): void {
	if (range.disabled !== 0) {
		SSL_set_options(ssl, range.disabled);
	}

	if (!protocolLimits) {
		return;
	}

	if (SSL_set_min_proto_version(ssl, range.minimum) !== 1) {
		warning(`${name}: ${limitComplaint('minimum', range.minimum)}`);
	}

	if (SSL_set_max_proto_version(ssl, range.maximum) !== 1) {
		warning(`${name}: ${limitComplaint('maximum', range.maximum)}`);
	}
}

function limitComplaint(word: 'minimum' | 'maximum', version: number): string {
	return version === 0
		? `error clearing ${word} TLS version`
		: `error setting ${word} TLS version to: 0x${version.toString(16).padStart(4, '0')}`;
}
