/*++
/* NAME
/*	verify-callback 3
/* SUMMARY
/*	verification callbacks of OpenSSL
/* DESCRIPTION
/*	OpenSSL verifies a certificate chain, and the callback never changes
/*	the outcome. It records the error that is nearest to the peer's
/*	certificate, because that is the one to explain in the log, and
/*	lets OpenSSL continue.
/*
/*	A callback gets an SSL pointer and nothing else. A connection
/*	registers its state under that pointer for the time of its
/*	handshake.
/* SEE ALSO
/*	postfix src/tls/tls_verify.c
/*--*/

import {cacheKey} from '../../base/cache-key.ts';
import {Finalizer} from '../../base/owned.ts';
import type {ReleaseFeatures} from '../../conf/release.ts';
import {registerChainCallback, registerVerifyCallback} from '../../ffi/openssl/callback.ts';
import {verifiedRawKey} from '../../ffi/openssl/raw-public-key.ts';
import {SSL_get_ex_data_X509_STORE_CTX_idx, SSL_get_security_level, type Ssl} from '../../ffi/openssl/ssl.ts';
import type {ChainCallback, VerifyCallback} from '../../ffi/openssl/ssl-ctx.ts';
import {
	digestsOfPresented,
	isForServersOnly,
	matchedName,
	oneline,
	remainingValidity,
	setServerPurpose,
	type X509,
	X509_get_issuer_name,
	X509_get_subject_name,
	X509_STORE_CTX_get_current_cert,
	X509_STORE_CTX_get_error,
	X509_STORE_CTX_get_error_depth,
	X509_STORE_CTX_get_ex_data,
	X509_STORE_CTX_get0_cert,
	X509_STORE_CTX_set_error,
	X509_V_OK,
	X509_verify_cert,
	X509_verify_cert_error_string,
	type X509StoreCtx,
} from '../../ffi/openssl/x509.ts';
import {info} from '../../log/log.ts';
import {TLS_LOG_VERBOSE} from '../log-mask.ts';
import {SslRegistry} from '../ssl-registry.ts';
import {type FailureReporter, forcedFailure} from './failure-reporter.ts';
import type {VerifiedChainCache} from './verified-chains.ts';

/** Settings and result of one verification. */
export interface VerifyState {
	readonly namaddr: string;
	/** The role of the peer. */
	readonly peer: 'server' | 'client';
	readonly logMask: number;
	/** Largest depth of a chain, in releases where Postfix checks it. */
	readonly verifyDepth: number;
	/** The policy could not be applied: no certificate may count as a match. */
	readonly mustFail: boolean;
	/** The failure that smtp(8) requests; empty: no failure. */
	readonly forcedFailure: string;
	/** Receives failures; undefined if TLSRPT is not used. */
	readonly reporter: FailureReporter | undefined;
	readonly features: ReleaseFeatures;
	/** Where to look up the chain; undefined: always verify it. */
	readonly chainCacheQuery: ChainCacheQuery | undefined;
	/** The matching name of a chain that was found in the cache; otherwise undefined, and OpenSSL has the name. */
	peername: string | undefined;
	/** The error to explain; undefined without an error. */
	error: {readonly code: number; readonly depth: number; readonly issuer: string} | undefined;
}

/** The inputs of verification other than the chain and the date. */
interface ChainCacheQuery {
	/** The cache of the SSL_CTX. */
	readonly cache: VerifiedChainCache;
	/** The names that may match; empty: no name is checked. */
	readonly names: readonly string[];
}

const verifyStates = new SslRegistry<VerifyState>();

/*
 * The number of states that need to see certificates without an error, too. OpenSSL calls
 * back for every certificate, nearly always without an error: no lookup is needed then.
 */
let verboseVerifiers = 0;

function isVerbose({mustFail, features, logMask}: VerifyState): boolean {
	return mustFail || features.legacyVerification || (logMask & TLS_LOG_VERBOSE) !== 0;
}

/** Registers the state of a connection until the result is disposed. */
export function registerVerifyState(ssl: Ssl, verifyState: VerifyState): Disposable {
	const registration = verifyStates.register(ssl, verifyState);
	if (!isVerbose(verifyState)) {
		return registration;
	}

	verboseVerifiers++;
	return new Finalizer(() => {
		registration[Symbol.dispose]();
		verboseVerifiers--;
	});
}

/** For SSL_CTX_set_verify(). Registered for the lifetime of the process. */
export const verifyCallback: VerifyCallback = registerVerifyCallback(recordError);

/**
 * For SSL_CTX_set_cert_verify_callback(): accepts a client certificate whose extended key usage allows
 * only servers. Public authorities no longer issue others. Registered for the lifetime of the process.
 *
 * Source: trust_server_ccerts(), postfix src/tls/tls_server.c.
 */
export const verifyServerCertificates: ChainCallback = registerChainCallback(ctx => {
	const certificate = X509_STORE_CTX_get0_cert(ctx);
	if (certificate !== null && isForServersOnly(certificate)) {
		setServerPurpose(ctx);
	}

	return X509_verify_cert(ctx);
});

/**
 * For SSL_CTX_set_cert_verify_callback(): a chain that was verified successfully is not verified again while
 * the outcome cannot differ. Registered for the lifetime of the process.
 */
export const cachedVerify: ChainCallback = registerChainCallback(ctx => {
	const ssl = connectionOf(ctx);
	const verifyState = verifyStates.get(ssl);
	const key = verifyState?.chainCacheQuery && chainKey(ssl, verifyState.chainCacheQuery, ctx);
	if (verifyState?.chainCacheQuery === undefined || key === undefined) {
		return X509_verify_cert(ctx);
	}

	const {cache} = verifyState.chainCacheQuery;
	const now = Date.now();
	const known = cache.find(key, now);
	if (known !== undefined) {
		verifyState.peername = known.peername;
		X509_STORE_CTX_set_error(ctx, X509_V_OK);
		return 1;
	}

	const result = X509_verify_cert(ctx);
	/* recordError() lets OpenSSL continue after an error: the result can be 1 although verification failed. */
	if (result === 1 && X509_STORE_CTX_get_error(ctx) === X509_V_OK && verifyState.error === undefined) {
		const expires = now + remainingValidity(ctx) * 1000;
		cache.store(key, {peername: matchedName(ctx) ?? undefined}, now, expires);
	}

	return result;
});

function chainKey(ssl: Ssl, {names}: ChainCacheQuery, ctx: X509StoreCtx): string | undefined {
	const digests = digestsOfPresented(ctx);
	return digests && cacheKey(String(SSL_get_security_level(ssl)), cacheKey(...names), digests);
}

let sslIndex: number | undefined;

function connectionOf(ctx: X509StoreCtx): Ssl {
	sslIndex ??= SSL_get_ex_data_X509_STORE_CTX_idx();
	return X509_STORE_CTX_get_ex_data(ctx, sslIndex) as Ssl;
}

function recordError(ok: number, ctx: X509StoreCtx): number {
	if (ok !== 0 && verboseVerifiers === 0) {
		return 1;
	}

	const verifyState = verifyStates.get(connectionOf(ctx));
	if (verifyState === undefined) {
		return 1;
	}

	const depth = X509_STORE_CTX_get_error_depth(ctx);
	const certificate = X509_STORE_CTX_get_current_cert(ctx);
	if (verifyState.mustFail) {
		if (depth === 0) {
			X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
			verifyState.error = {code: X509_V_ERR_UNSPECIFIED, depth, issuer: ''};
		}

		return 1;
	}

	const tooLong = verifyState.features.legacyVerification && depth > verifyState.verifyDepth;
	if (tooLong) {
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_CHAIN_TOO_LONG);
	}

	const verified = tooLong ? 0 : ok;
	if (verified === 0) {
		recordNearest(verifyState, ctx, depth, certificate);
	}

	if ((verifyState.logMask & TLS_LOG_VERBOSE) !== 0) {
		info(`${verifyState.namaddr}: ${progress(verifyState.features, ctx, depth, verified, certificate)}`);
	}

	return 1;
}

/* The error nearest to the leaf wins; of several at one depth, the first one. */
function recordNearest(
	verifyState: VerifyState,
	ctx: X509StoreCtx,
	depth: number,
	certificate: X509 | null,
): void {
	const code = loggedCode(verifyState, ctx, depth, certificate);
	const {error} = verifyState;
	if (error !== undefined) {
		/* A mere name mismatch must remain visible in the result: every other error has precedence. */
		const {mismatchIsTrusted} = verifyState.features;
		if (
			(mismatchIsTrusted && code === X509_V_ERR_HOSTNAME_MISMATCH) ||
			(error.depth <= depth && !(mismatchIsTrusted && error.code === X509_V_ERR_HOSTNAME_MISMATCH))
		) {
			if (mismatchIsTrusted) {
				X509_STORE_CTX_set_error(ctx, error.code);
			}

			return;
		}
	}

	const issuer = certificate === null ? null : X509_get_issuer_name(certificate);
	verifyState.error = {code, depth, issuer: issuer === null ? '<unknown>' : oneline(issuer)};
}

/* Trust-anchor files are TLSA records for OpenSSL, but the log must not mention DANE. */
function loggedCode(
	{features}: VerifyState,
	ctx: X509StoreCtx,
	depth: number,
	certificate: X509 | null,
): number {
	const code = X509_STORE_CTX_get_error(ctx);
	if (!features.legacyVerification || code !== X509_V_ERR_DANE_NO_MATCH || certificate === null) {
		return code;
	}

	const [subject, issuer] = [X509_get_subject_name(certificate), X509_get_issuer_name(certificate)];
	const selfSigned = subject !== null && issuer !== null && oneline(subject) === oneline(issuer);
	if (!selfSigned) {
		return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
	}

	return depth === 0 ? X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT : X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN;
}

function progress(
	{credentialLines}: ReleaseFeatures,
	ctx: X509StoreCtx,
	depth: number,
	ok: number,
	certificate: X509 | null,
): string {
	if (certificate === null && credentialLines) {
		return verifiedRawKey(ctx) === null ? `depth=${depth} verify=${ok}` : `verify=${ok} raw public key`;
	}

	const name = certificate === null ? null : X509_get_subject_name(certificate);
	return `depth=${depth} verify=${ok} subject=${name === null ? '<unknown>' : oneline(name)}`;
}

/* Error codes. Source: openssl/x509_vfy.h. */
const X509_V_ERR_UNSPECIFIED = 1;
const X509_V_ERR_CERT_NOT_YET_VALID = 9;
const X509_V_ERR_CERT_HAS_EXPIRED = 10;
const X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD = 13;
const X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD = 14;
const X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT = 18;
const X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN = 19;
const X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY = 20;
const X509_V_ERR_CERT_CHAIN_TOO_LONG = 22;
const X509_V_ERR_INVALID_PURPOSE = 26;
const X509_V_ERR_CERT_UNTRUSTED = 27;
export const X509_V_ERR_HOSTNAME_MISMATCH = 62;
const X509_V_ERR_DANE_NO_MATCH = 65;

/**
 * Explains in the log why a peer is not trusted.
 *
 * Source: tls_log_verify_error(), postfix src/tls/tls_verify.c.
 */
export function logVerifyError(verifyState: VerifyState): void {
	if (verifyState.error === undefined) {
		return;
	}

	const {reporter} = verifyState;
	const {code, depth, issuer} = verifyState.error;
	const purpose = depth > 0 ? 'CA' : verifyState.peer;
	const failure = `certificate verification failed for ${verifyState.namaddr}`;
	const reason = (): string => X509_verify_cert_error_string(code).replaceAll(' ', '_');
	if (verifyState.forcedFailure !== '') {
		info(`${failure}: external policy failure (${verifyState.forcedFailure})`);
		reporter?.report(forcedFailure(verifyState.forcedFailure));
		return;
	}

	switch (code) {
		case X509_V_ERR_CERT_UNTRUSTED:
			info(`${failure}: not trusted by local or TLSA policy`);
			reporter?.report('certificate_not_trusted');
			break;
		case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
			info(`${failure}: self-signed certificate`);
			reporter?.report('validation_failure', reason());
			break;
		case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
			info(`${failure}: untrusted issuer ${issuer}`);
			reporter?.report('validation_failure', reason());
			break;
		case X509_V_ERR_CERT_NOT_YET_VALID:
		case X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD:
			info(`${purpose} ${failure}: certificate not yet valid`);
			reporter?.report('validation_failure', reason());
			break;
		case X509_V_ERR_CERT_HAS_EXPIRED:
		case X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD:
			info(`${purpose} ${failure}: certificate has expired`);
			reporter?.report('certificate_expired');
			break;
		case X509_V_ERR_INVALID_PURPOSE:
			info(`${failure}: not designated for use as a ${purpose} certificate`);
			reporter?.report('validation_failure', reason());
			break;
		case X509_V_ERR_CERT_CHAIN_TOO_LONG:
			info(`${failure}: certificate chain longer than limit(${depth - 1})`);
			reporter?.report('validation_failure', reason());
			break;
		default:
			/* Name and TLSA mismatches are reported by smtp(8), which sees them in the handshake report. */
			info(`${purpose} ${failure}: num=${code}:${X509_verify_cert_error_string(code)}`);
	}
}
