/*++
/* NAME
/*	server-report 3
/* SUMMARY
/*	logs and reports the outcome of a handshake with a client
/* DESCRIPTION
/*	A client is not rejected because of its certificate: the report
/*	contains its verification status, and the process that has made the
/*	request decides. postscreen(8) requests no client certificate.
/* SEE ALSO
/*	negotiated(3), postfix src/tls/tls_server.c, tls_server_post_accept()
/*--*/

import {peerRawKey} from '../../ffi/openssl/raw-public-key.ts';
import {SSL_get_verify_result, SSL_get0_peer_certificate, SSL_session_reused} from '../../ffi/openssl/ssl.ts';
import {
	oneline,
	type X509,
	X509_get_issuer_name,
	X509_get_subject_name,
	X509_get0_pubkey,
	X509_V_OK,
} from '../../ffi/openssl/x509.ts';
import {info} from '../../log/log.ts';
import type {HandshakeReport} from '../../wire/handshake-report.ts';
import {
	TLS_LOG_CACHE,
	TLS_LOG_PEERCERT,
	TLS_LOG_SUMMARY,
	TLS_LOG_UNTRUSTED,
	TLS_LOG_VERBOSE,
} from '../log-mask.ts';
import type {ServerHandshakeFacts} from '../verify/handshake-facts.ts';
import {peerNames} from '../verify/peer-names.ts';
import {logVerifyError} from '../verify/verify-callback.ts';
import {
	negotiated,
	summary,
	TLS_CERT_FLAG_PRESENT,
	TLS_CERT_FLAG_TRUSTED,
	TLS_CRED_FLAG_RPK,
} from './negotiated.ts';

/**
 * Logs the outcome of a complete handshake and builds the report.
 *
 * Source: tls_server_post_accept(), postfix src/tls/tls_server.c.
 */
export function buildServerReport({
	features,
	fingerprinting,
	sni,
	ssl,
	tickets,
	verifyState,
}: ServerHandshakeFacts): HandshakeReport {
	const {logMask, namaddr} = verifyState;
	const reused = SSL_session_reused(ssl) === 1;
	if (reused && (logMask & TLS_LOG_CACHE) !== 0) {
		const withTicket = tickets.opened || (tickets.issued && !features.openedTicketsOnly);
		info(`${namaddr}: Reusing old session${withTicket ? ' (RFC 5077 session ticket)' : ''}`);
	}

	const certificate = SSL_get0_peer_certificate(ssl);
	/* The verification result is also OK without a certificate. */
	const trusted = certificate !== null && SSL_get_verify_result(ssl) === X509_V_OK;
	if (certificate !== null && (logMask & TLS_LOG_VERBOSE) !== 0) {
		logSubject(certificate);
	}

	const rawKey = certificate === null && features.rawPublicKeys ? peerRawKey(ssl) : null;
	const names = peerNames(certificate, rawKey, fingerprinting, namaddr);
	if ((logMask & (TLS_LOG_VERBOSE | TLS_LOG_PEERCERT)) !== 0) {
		if (certificate !== null) {
			const [fingerprint, keyFingerprint] = features.credentialLines
				? ['cert fingerprint', 'pkey fingerprint']
				: ['fingerprint', 'pkey_fingerprint'];
			info(
				`${namaddr}: subject_CN=${names.peer_CN}, issuer=${names.issuer_CN}, ${fingerprint}=${names.peer_fingerprint}, ${keyFingerprint}=${names.peer_pubkey_fingerprint}`,
			);
		} else if (rawKey !== null) {
			info(`${namaddr}: raw public key fingerprint=${names.peer_pubkey_fingerprint}`);
		}
	}

	if (certificate !== null && !trusted && (logMask & TLS_LOG_UNTRUSTED) !== 0) {
		if (reused) {
			info(`${namaddr}: re-using session with untrusted certificate, look for details earlier in the log`);
		} else {
			logVerifyError(verifyState);
		}
	}

	const report: HandshakeReport = {
		...names,
		level: 0,
		peer_status:
			(certificate === null ? 0 : TLS_CERT_FLAG_PRESENT) |
			(rawKey === null ? 0 : TLS_CRED_FLAG_RPK) |
			(trusted ? TLS_CERT_FLAG_TRUSTED : 0),
		...negotiated(ssl, certificate === null ? rawKey : X509_get0_pubkey(certificate), 'server', features),
		namaddr,
		rpt_reported: 0,
		trace_size_limit: 0,
	};
	if ((logMask & TLS_LOG_SUMMARY) !== 0) {
		info(summary('from', report, sni?.name));
	}

	return report;
}

function logSubject(certificate: X509): void {
	for (const [label, name] of [
		['subject', X509_get_subject_name(certificate)],
		['issuer', X509_get_issuer_name(certificate)],
	] as const) {
		if (name !== null) {
			info(`${label}=${oneline(name)}`);
		}
	}
}
