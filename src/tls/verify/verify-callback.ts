/*++
/* NAME
/*	verify-callback 3
/* SUMMARY
/*	notes taken while a peer's certificate chain is verified
/* DESCRIPTION
/*	OpenSSL verifies; the callback never changes the verdict. It keeps
/*	the error that is nearest to the peer's own certificate, because
/*	that is what the log has to explain, and lets OpenSSL go on.
/*
/*	Callbacks know a connection by its SSL pointer only, so whoever
/*	wants notes registers for the time of its handshake.
/* SEE ALSO
/*	postfix src/tls/tls_verify.c
/*--*/

import {cacheKey} from '../../base/cache-key.ts';
import {Finalizer} from '../../base/owned.ts';
import type {ReleaseFeatures} from '../../conf/release.ts';
import {registerChainCallback, registerVerifyCallback} from '../../ffi/openssl/callback.ts';
import {
	type ChainCallback,
	SSL_get_ex_data_X509_STORE_CTX_idx,
	SSL_get_security_level,
	type Ssl,
	type VerifyCallback,
} from '../../ffi/openssl/libssl.ts';
import {verifiedRawKey} from '../../ffi/openssl/raw-key.ts';
import {
	digestsOfPresented,
	isForServersOnly,
	oneline,
	validityOfVerified,
	verifiedName,
	verifyAsServer,
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
import {type FailureReporter, forcedFailure} from './failure-reporter.ts';
import type {VerifiedChainCache} from './verified-chains.ts';

/** What one verification has shown. */
export interface VerifyState {
	readonly namaddr: string;
	/** What the peer is. */
	readonly peer: 'server' | 'client';
	readonly logMask: number;
	/** How far up the chain may go, where Postfix itself counts. */
	readonly verifyDepth: number;
	/** The policy could not be applied: no certificate is good enough. */
	readonly mustFail: boolean;
	/** What smtp(8) wants the verification to fail with; empty for nothing. */
	readonly forcedFailure: string;
	/** Who is told of failures. */
	readonly reporter: FailureReporter | undefined;
	readonly features: ReleaseFeatures;
	/** What is known of other chains, and what this connection asks of one; undefined: it has to be verified. */
	readonly chainCacheQuery: ChainCacheQuery | undefined;
	/** Which of the names the certificate has, when that was known; undefined: OpenSSL knows. */
	peername: string | undefined;
	/** The error to explain; undefined when there was none. */
	error: {readonly code: number; readonly depth: number; readonly issuer: string} | undefined;
}

/** What the verdict on a chain follows from, but for the chain itself and the date. */
interface ChainCacheQuery {
	/** Of its context. */
	readonly cache: VerifiedChainCache;
	/** The names that a certificate may have; none: it need not have any. */
	readonly names: readonly string[];
}

const verifyStates = new Map<Ssl, VerifyState>();

/*
 * How many of them are about what is good, too. OpenSSL calls for every certificate,
 * nearly always to say that it is: then, nobody need be found.
 */
let verboseVerifiers = 0;

function isVerbose({mustFail, features, logMask}: VerifyState): boolean {
	return mustFail || features.legacyVerification || (logMask & TLS_LOG_VERBOSE) !== 0;
}

/** Takes notes for a connection until the result is disposed. */
export function registerVerifyState(ssl: Ssl, verifyState: VerifyState): Disposable {
	verifyStates.set(ssl, verifyState);
	verboseVerifiers += isVerbose(verifyState) ? 1 : 0;
	return new Finalizer(() => {
		verifyStates.delete(ssl);
		verboseVerifiers -= isVerbose(verifyState) ? 1 : 0;
	});
}

/** For SSL_CTX_set_verify(). Registered for the life of the process. */
export const verifyCallback: VerifyCallback = registerVerifyCallback(recordError);

/**
 * For SSL_CTX_set_cert_verify_callback(): a client may identify itself with a certificate that was made for
 * servers only. Public authorities give no others any more. Registered for the life of the process.
 *
 * Source: trust_server_ccerts(), postfix src/tls/tls_server.c.
 */
export const verifyServerCertificates: ChainCallback = registerChainCallback(ctx => {
	const certificate = X509_STORE_CTX_get0_cert(ctx);
	if (certificate !== null && isForServersOnly(certificate)) {
		verifyAsServer(ctx);
	}

	return X509_verify_cert(ctx);
});

/**
 * For SSL_CTX_set_cert_verify_callback(): a chain that was found good is not verified again, as long as that
 * could come to nothing else. Registered for the life of the process.
 */
export const cachedVerify: ChainCallback = registerChainCallback(ctx => {
	const ssl = connectionOf(ctx);
	const verifyState = verifyStates.get(ssl);
	const name = verifyState?.chainCacheQuery && verdictName(ssl, verifyState.chainCacheQuery, ctx);
	if (verifyState?.chainCacheQuery === undefined || name === undefined) {
		return X509_verify_cert(ctx);
	}

	const {cache: verdicts} = verifyState.chainCacheQuery;
	const now = Date.now();
	const known = verdicts.find(name, now);
	if (known !== undefined) {
		verifyState.peername = known.peername;
		X509_STORE_CTX_set_error(ctx, X509_V_OK);
		return 1;
	}

	const result = X509_verify_cert(ctx);
	/* The callback for single certificates lets OpenSSL go on behind an error. */
	if (result === 1 && X509_STORE_CTX_get_error(ctx) === X509_V_OK && verifyState.error === undefined) {
		const expires = now + validityOfVerified(ctx) * 1000;
		verdicts.keep(name, {peername: verifiedName(ctx) ?? undefined}, now, expires);
	}

	return result;
});

function verdictName(ssl: Ssl, {names}: ChainCacheQuery, ctx: X509StoreCtx): string | undefined {
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

	const good = tooLong ? 0 : ok;
	if (good === 0) {
		noteError(verifyState, ctx, depth, certificate);
	}

	if ((verifyState.logMask & TLS_LOG_VERBOSE) !== 0) {
		info(`${verifyState.namaddr}: ${progress(verifyState.features, ctx, depth, good, certificate)}`);
	}

	return 1;
}

/* The error nearest to the leaf counts; of several at one depth, the first. */
function noteError(
	verifyState: VerifyState,
	ctx: X509StoreCtx,
	depth: number,
	certificate: X509 | null,
): void {
	const code = codeOf(verifyState, ctx, depth, certificate);
	const {error} = verifyState;
	if (error !== undefined) {
		/* That the name alone is wrong shall be seen in the result: any other error counts more. */
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

/* Trust anchors are records of DANE for OpenSSL only, not for the reader of the log. */
function codeOf({features}: VerifyState, ctx: X509StoreCtx, depth: number, certificate: X509 | null): number {
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
const X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT = 18;
const X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN = 19;
const X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY = 20;
const X509_V_ERR_CERT_CHAIN_TOO_LONG = 22;
const X509_V_ERR_DANE_NO_MATCH = 65;
export const X509_V_ERR_HOSTNAME_MISMATCH = 62;
const ERROR_IN_CERT_NOT_BEFORE = 13;
const ERROR_IN_CERT_NOT_AFTER = 14;

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
		case 27:
			info(`${failure}: not trusted by local or TLSA policy`);
			reporter?.report('certificate_not_trusted');
			break;
		case 18:
			info(`${failure}: self-signed certificate`);
			reporter?.report('validation_failure', reason());
			break;
		case 19:
		case 20:
			info(`${failure}: untrusted issuer ${issuer}`);
			reporter?.report('validation_failure', reason());
			break;
		case 9:
		case ERROR_IN_CERT_NOT_BEFORE:
			info(`${purpose} ${failure}: certificate not yet valid`);
			reporter?.report('validation_failure', reason());
			break;
		case 10:
		case ERROR_IN_CERT_NOT_AFTER:
			info(`${purpose} ${failure}: certificate has expired`);
			reporter?.report('certificate_expired');
			break;
		case 26:
			info(`${failure}: not designated for use as a ${purpose} certificate`);
			reporter?.report('validation_failure', reason());
			break;
		case 22:
			info(`${failure}: certificate chain longer than limit(${depth - 1})`);
			reporter?.report('validation_failure', reason());
			break;
		default:
			/* A name that does not match, records that do not: smtp(8) can tell from the report. */
			info(`${purpose} ${failure}: num=${code}:${X509_verify_cert_error_string(code)}`);
	}
}
