/*++
/* NAME
/*	client-connection 3
/* SUMMARY
/*	TLS connections to servers
/* DESCRIPTION
/*	A request contains the settings of its connection: protocols,
/*	ciphers, server name, trust. openClientConnection() applies them to
/*	a new SSL on the descriptor of the server. If one of them cannot be
/*	applied, the session ends before the handshake.
/* DIAGNOSTICS
/*	The reason why a connection cannot be prepared is logged, with the
/*	text of stock.
/* SEE ALSO
/*	connection(3), postfix src/tls/tls_client.c, tls_client_start()
/*--*/

import {cacheKey} from '../../base/cache-key.ts';
import {Panic} from '../../base/errors.ts';
import {END, FAILED} from '../../base/io-result.ts';
import {type Owned, Resources} from '../../base/owned.ts';
import type {Fd} from '../../base/units.ts';
import type {ReleaseFeatures} from '../../conf/release.ts';
import {OpenSSL_version_num} from '../../ffi/openssl/libcrypto.ts';
import {
	SSL_connect,
	SSL_set_max_proto_version,
	SSL_set_min_proto_version,
	SSL_set_options,
	SSL_set_security_level,
	SSL_set_verify,
	type Ssl,
} from '../../ffi/openssl/ssl.ts';
import {SSL_OP_NO_SSLv3, SSL_VERIFY_NONE} from '../../ffi/openssl/ssl-ctx.ts';
import {info, warning} from '../../log/log.ts';
import type {ClientStart} from '../../wire/client-settings.ts';
import type {HandshakeReport} from '../../wire/handshake-report.ts';
import {setCiphers} from '../context/ciphers.ts';
import type {ClientContext} from '../context/client-context.ts';
import {lowercase} from '../hostname.ts';
import {TLS_LOG_CACHE, TLS_LOG_UNTRUSTED, TLS_LOG_VERBOSE} from '../log-mask.ts';
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
import {fingerprintingFor, logConnectionSetup, newSsl} from './new-ssl.ts';

/** A connection to a server. */
export class ClientConnection extends Connection {
	/* The state of the handshake. The report releases it, because a session may last for hours. */
	#facts: ClientHandshakeFacts | undefined;
	#verifyRegistration: Disposable | undefined;
	/* Undefined if sessions are not stored. */
	readonly #resumption: Resumption | undefined;
	/* A session was offered, and the handshake is not complete. */
	#sessionOffered = false;

	/**
	 * @param ssl - moved in.
	 * @param resumption - how its sessions are stored; undefined if they are not.
	 * @param resources - registrations for the SSL; moved in.
	 * @param verifyRegistration - one of the resources; it is released with the report.
	 */
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

	/* OpenSSL cannot wait for the lookup, so it is done before the handshake. */
	lookUp(done: () => void): void {
		const resumption = this.#resumption;
		if (resumption === undefined) {
			done();
			return;
		}

		resumption.store.find(resumption, found => {
			using session = found;
			if (session !== undefined && !this.disposed) {
				this.#sessionOffered = offerSession(this.ssl, resumption, session);
			}

			done();
		});
	}

	protected buildReport(): HandshakeReport {
		const facts = this.#facts;
		const verifyRegistration = this.#verifyRegistration;
		if (facts === undefined || verifyRegistration === undefined) {
			throw new Panic('a second report');
		}

		const report = buildClientReport(facts);
		this.release(verifyRegistration);
		this.#verifyRegistration = undefined;
		this.#facts = undefined;
		return report;
	}

	/* After a failed handshake smtp(8) gets no report, so the failure is reported to TLSRPT here. */
	override handshake(mayRead = true): number {
		const result = super.handshake(mayRead);
		if (result === DONE) {
			this.#sessionOffered = false;
		}

		if (result === END || result === FAILED) {
			this.#facts?.verifyState.reporter?.report('validation_failure', 'tls-handshake-failure');
		}

		return result;
	}

	/* Disposal ends a handshake that has failed or timed out: see removeSession(). */
	override [Symbol.dispose](): void {
		if (this.#sessionOffered && this.#resumption !== undefined) {
			this.#sessionOffered = false;
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
 * @param fd - the peer's descriptor, non-blocking; borrowed, must outlive the connection.
 * @param store - of sessions, borrowed; undefined: no session is stored or resumed.
 * @returns the connection, owned by the caller; undefined if the settings cannot be applied: the reason has been
 * logged.
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
	const logMask = logConnectionSetup('to', context, start, features);
	const range = parseProtocols(start.protocols, features.protocolLimits);
	if (range === undefined) {
		warning(`${namaddr}: Invalid TLS protocol list "${start.protocols}": aborting TLS session`);
		return undefined;
	}

	const fingerprinting = fingerprintingFor(context, context, start.mdalg);
	using owned = fingerprinting && newSsl(context);
	if (fingerprinting === undefined || owned === undefined) {
		return undefined;
	}

	using resources = new Resources();
	const ssl = owned.value;
	const name = lowercase(namaddr);
	const ciphers = setCiphers(context, ssl, params, start, logMask);
	if (ciphers === undefined) {
		return undefined;
	}

	/* DANE requires the server name extension, which SSLv3 does not have. */
	const dane = isDaneLevel(start.tls_level);
	const disabled = range.disabled | (features.protocolLimits && dane ? SSL_OP_NO_SSLv3 : 0);
	setProtocols(ssl, {...range, disabled: disabled >>> 0}, name, features);
	/* In the order of Postfix: names that cannot be used are logged as they are met. */
	const wantedName = serverName(features, start, dane);
	const checks = features.legacyVerification
		? {dane: false, names: [], mustFail: false}
		: enableChecks(ssl, start, name);
	if (checks === undefined) {
		return undefined;
	}

	const sni = setServerName(features, ssl, wantedName, {namaddr, logMask});
	if (sni === undefined) {
		return undefined;
	}

	const reporter = FailureReporter.for(start);
	const policy = features.legacyVerification
		? applyLegacyPolicy(ssl, start, name)
		: applyPolicy(ssl, start, name, checks, features, reporter);
	if (policy === undefined) {
		return undefined;
	}

	if (mustMatch(policy.level)) {
		SSL_set_security_level(ssl, 1);
	}

	const verifyState = prepareVerifyState(context, ssl, start, {...policy, reporter, name, logMask});

	if (!attach(ssl, fd, logMask, name)) {
		return undefined;
	}

	const verifyRegistration = resources.use(registerVerifyState(ssl, verifyState));
	const parts = {ciphers, disabled: disabled >>> 0, sni, ...policy};
	const resumption =
		/* The session key does not contain the forced failure. */
		store === undefined || context.sessionPolicy === undefined || verifyState.forcedFailure !== ''
			? undefined
			: resumptionOf(context, start, {...parts, ...context.sessionPolicy}, store, logMask);
	if (resumption !== undefined) {
		resources.use(storeNewSessions(ssl, resumption));
	}

	return new ClientConnection(
		owned,
		{
			ssl,
			features,
			start,
			verifyState,
			level: policy.level,
			fingerprinting,
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
		/* The key of stock contains no client certificate, and no server name below the verify levels. */
		localCacheKey: cacheKey(String(serial), parts.sni, key),
		logMask,
		firstOnly: context.features.firstTicketOnly,
		store,
	};
}

/*
 * The verify callback only records the error for the log, unless the policy could not
 * be applied. If the error is not logged, no callback is set: OpenSSL stops at the
 * first error and does not call JavaScript. The verification result is the same.
 */
function prepareVerifyState(
	context: ClientContext,
	ssl: Ssl,
	start: ClientStart,
	{
		mustFail: policyFailed,
		reporter,
		name,
		names,
		logMask: configuredMask,
	}: AppliedPolicy & Pick<VerifyState, 'reporter' | 'logMask'> & {readonly name: string},
): VerifyState {
	const forcedFailure = start.forced_failure_type ?? '';
	const mustFail = policyFailed || forcedFailure !== '';
	const {features} = context;
	const logsDistrust = features.legacyVerification ? explainsDistrust(start) : mustMatch(start.tls_level);
	const logMask = configuredMask | (logsDistrust ? TLS_LOG_UNTRUSTED : 0);
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
			/* At the verbose level each step of the verification is logged, so the cache is not used. */
			names === undefined || mustFail || (logMask & TLS_LOG_VERBOSE) !== 0
				? undefined
				: {cache: context.verifiedChains, names},
		peername: undefined,
		error: undefined,
	};
}

/* A limit of zero also overrides openssl.cnf. A limit that OpenSSL rejects is logged and does not end the session. */
function setProtocols(ssl: Ssl, range: ProtocolRange, name: string, {protocolLimits}: ReleaseFeatures): void {
	if (range.disabled !== 0) {
		SSL_set_options(ssl, range.disabled);
	}

	if (!protocolLimits) {
		return;
	}

	if (SSL_set_min_proto_version(ssl, range.minimum) !== 1) {
		warning(`${name}: ${limitError('minimum', range.minimum)}`);
	}

	if (SSL_set_max_proto_version(ssl, range.maximum) !== 1) {
		warning(`${name}: ${limitError('maximum', range.maximum)}`);
	}
}

function limitError(limit: 'minimum' | 'maximum', version: number): string {
	return version === 0
		? `error clearing ${limit} TLS version`
		: `error setting ${limit} TLS version to: 0x${version.toString(16).padStart(4, '0')}`;
}
