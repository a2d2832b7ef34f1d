/*++
/* NAME
/*	client-report 3
/* SUMMARY
/*	logs and reports the outcome of a handshake with a server
/* DESCRIPTION
/*	From this report smtp(8) decides whether mail is sent. So nothing
/*	is assumed: each attribute is queried from OpenSSL, and an
/*	attribute that does not apply is empty or zero.
/* SEE ALSO
/*	negotiated(3), postfix src/tls/tls_client.c, tls_client_post_connect()
/*--*/

import {hexText} from '../../base/text.ts';
import type {ReleaseFeatures} from '../../conf/release.ts';
import {daneMatch} from '../../ffi/openssl/dane.ts';
import type {EvpPkey} from '../../ffi/openssl/libcrypto.ts';
import {peerRawKey} from '../../ffi/openssl/raw-public-key.ts';
import {
	SSL_get_verify_result,
	SSL_get0_peer_certificate,
	SSL_get0_peername,
	SSL_session_reused,
} from '../../ffi/openssl/ssl.ts';
import {type X509, X509_get0_pubkey, X509_V_OK} from '../../ffi/openssl/x509.ts';
import {info} from '../../log/log.ts';
import type {HandshakeReport} from '../../wire/handshake-report.ts';
import {
	TLS_LOG_CACHE,
	TLS_LOG_CERTMATCH,
	TLS_LOG_PEERCERT,
	TLS_LOG_SUMMARY,
	TLS_LOG_UNTRUSTED,
	TLS_LOG_VERBOSE,
} from '../log-mask.ts';
import type {ClientHandshakeFacts} from '../verify/handshake-facts.ts';
import {legacyVerdict} from '../verify/legacy-verification.ts';
import {peerNames} from '../verify/peer-names.ts';
import {isDaneLevel, mustMatch, recordText, TLS_LEV_HALF_DANE} from '../verify/policy.ts';
import {logVerifyError, X509_V_ERR_HOSTNAME_MISMATCH} from '../verify/verify-callback.ts';
import {
	negotiated,
	summary,
	TLS_CERT_FLAG_ALTNAME,
	TLS_CERT_FLAG_MATCHED,
	TLS_CERT_FLAG_PRESENT,
	TLS_CERT_FLAG_SECURED,
	TLS_CERT_FLAG_TRUSTED,
	TLS_CRED_FLAG_RPK,
} from './negotiated.ts';

/**
 * Logs the outcome of a complete handshake and builds the report for the client.
 *
 * Source: tls_client_post_connect(), postfix src/tls/tls_client.c.
 */
export function buildClientReport(facts: ClientHandshakeFacts): HandshakeReport {
	const {features, level, verifyState, ssl} = facts;
	const {logMask} = verifyState;
	const reused = SSL_session_reused(ssl) === 1;
	if (reused && (logMask & TLS_LOG_CACHE) !== 0) {
		info(`${verifyState.namaddr}: Reusing old session`);
	}

	const certificate = SSL_get0_peer_certificate(ssl);
	const rawKey = certificate === null && features.rawPublicKeys ? peerRawKey(ssl) : null;
	const names = peerNames(certificate, rawKey, facts.fingerprinting, verifyState.namaddr);
	if (rawKey !== null && (logMask & CREDENTIALS) !== 0) {
		info(`${facts.start.namaddr}: raw public key fingerprint=${names.peer_pubkey_fingerprint}`);
	}

	const legacy =
		features.legacyVerification && certificate !== null
			? legacyVerdict(facts, certificate, names.peer_CN)
			: undefined;
	const status = legacy ?? peerStatus(facts, certificate, rawKey);
	if (legacy === undefined && status.matched && (logMask & CREDENTIALS) !== 0) {
		logMatch(facts, certificate);
	}

	const peer_CN =
		legacy?.name ??
		(names.peer_CN === '' && legacy === undefined ? matchedName(facts, certificate) : names.peer_CN);
	if (certificate !== null || rawKey !== null) {
		logDistrust(facts, legacy?.trusted ?? status.matched, reused, rawKey !== null);
	}

	if (certificate !== null && (logMask & CREDENTIALS) !== 0) {
		const namaddr = features.credentialLines ? verifyState.namaddr : facts.start.namaddr;
		info(`${namaddr}: ${credentialLine({...names, peer_CN}, features)}`);
	}

	const report: HandshakeReport = {
		...names,
		peer_CN,
		level,
		peer_status:
			(certificate === null ? 0 : TLS_CERT_FLAG_PRESENT) |
			(rawKey === null ? 0 : TLS_CRED_FLAG_RPK) |
			(legacy?.hasDnsNames === true ? TLS_CERT_FLAG_ALTNAME : 0) |
			(status.trusted ? TLS_CERT_FLAG_TRUSTED : 0) |
			(status.matched ? TLS_CERT_FLAG_MATCHED : 0) |
			(status.trusted && status.matched && level !== TLS_LEV_HALF_DANE ? TLS_CERT_FLAG_SECURED : 0),
		...negotiated(ssl, certificate === null ? rawKey : X509_get0_pubkey(certificate), 'client', features),
		/* In lower case, as in the C program. */
		namaddr: verifyState.namaddr,
		rpt_reported: verifyState.reporter?.isSettled(reused) === true ? 1 : 0,
		trace_size_limit: 0,
	};
	if ((logMask & TLS_LOG_SUMMARY) !== 0) {
		info(summary('to', report));
	}

	return report;
}

/* Source: postfix src/tls/tls.h; RFC 7218. */
const TLS_LEV_FPRINT = 3;
const DANE_USAGE_TA = 2;

/* Log levels that include the credentials of the peer. */
const CREDENTIALS = TLS_LOG_CERTMATCH | TLS_LOG_VERBOSE | TLS_LOG_PEERCERT;

/*
 * OpenSSL's verification result is also OK without a certificate or raw key, because
 * nothing was verified. If the policy could not be applied, the result is ignored.
 */
function peerStatus(
	{features, level, verifyState, ssl}: ClientHandshakeFacts,
	certificate: X509 | null,
	rawKey: EvpPkey | null,
): {readonly trusted: boolean; readonly matched: boolean} {
	if ((certificate === null && rawKey === null) || verifyState.mustFail) {
		return {trusted: false, matched: false};
	}

	const result = SSL_get_verify_result(ssl);
	const nameOnly =
		features.mismatchIsTrusted &&
		certificate !== null &&
		mustMatch(level) &&
		result === X509_V_ERR_HOSTNAME_MISMATCH;
	return {
		trusted: result === X509_V_OK || nameOnly,
		matched: result === X509_V_OK && mustMatch(level),
	};
}

/* The reason is known only in a full handshake. On resumption the log line refers to the earlier one. */
function logDistrust(
	{features, verifyState, start}: ClientHandshakeFacts,
	acceptable: boolean,
	reused: boolean,
	raw: boolean,
): void {
	if (acceptable || (verifyState.logMask & TLS_LOG_UNTRUSTED) === 0) {
		return;
	}

	if (reused) {
		const credential = features.credentialLines && !raw ? 'peer credential' : 'certificate';
		info(
			`${start.namaddr}: re-using session with untrusted ${credential}, look for details earlier in the log`,
		);
	} else {
		logVerifyError(verifyState);
	}
}

function credentialLine(
	names: Pick<HandshakeReport, 'peer_CN' | 'issuer_CN' | 'peer_fingerprint' | 'peer_pubkey_fingerprint'>,
	{credentialLines}: ReleaseFeatures,
): string {
	const {peer_CN, issuer_CN, peer_fingerprint, peer_pubkey_fingerprint} = names;
	return credentialLines
		? `subject_CN=${peer_CN}, issuer=${issuer_CN}, cert fingerprint=${peer_fingerprint}, pkey fingerprint=${peer_pubkey_fingerprint}`
		: `subject_CN=${peer_CN}, issuer_CN=${issuer_CN}, fingerprint=${peer_fingerprint}, pkey_fingerprint=${peer_pubkey_fingerprint}`;
}

/* Logs which name, fingerprint or TLSA record has matched. Source: tls_dane_log(), postfix src/tls/tls_dane.c. */
function logMatch({level, verifyState, ssl}: ClientHandshakeFacts, certificate: X509 | null): void {
	const peername = matchedName({verifyState, ssl}, certificate);
	if (peername !== '') {
		info(`${verifyState.namaddr}: matched peername: ${peername}`);
	}

	const match = daneMatch(ssl);
	if (match === undefined) {
		return;
	}

	if (level === TLS_LEV_FPRINT) {
		info(`${verifyState.namaddr}: Matched fingerprint: ${hexText(match.data)}`);
	} else if (!isDaneLevel(level)) {
		info(`${verifyState.namaddr}: Matched trust anchor at depth ${match.depth}`);
	} else if (certificate === null) {
		info(`${verifyState.namaddr}: Matched DANE raw public key: ${recordText(match)}`);
	} else {
		const kind = match.bareKey
			? 'TA public key verified certificate'
			: match.usage === DANE_USAGE_TA
				? 'TA certificate'
				: 'EE certificate';
		info(`${verifyState.namaddr}: Matched DANE ${kind} at depth ${match.depth}: ${recordText(match)}`);
	}
}

/* The certificate name that has matched. It replaces an empty common name. */
function matchedName(
	{verifyState, ssl}: Pick<ClientHandshakeFacts, 'ssl' | 'verifyState'>,
	certificate: X509 | null,
): string {
	return certificate === null ? '' : (verifyState.peername ?? SSL_get0_peername(ssl) ?? '');
}
