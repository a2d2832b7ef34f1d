/*++
/* NAME
/*	client-report 3
/* SUMMARY
/*	the outcome of a handshake with a server: log lines, and the report
/* DESCRIPTION
/*	What is reported here decides, in smtp(8), whether mail is sent.
/*	Nothing is assumed: each attribute is asked of OpenSSL, and what
/*	does not apply is empty or zero.
/* SEE ALSO
/*	report(3), postfix src/tls/tls_client.c, tls_client_post_connect()
/*--*/

import {daneMatch} from '../ffi/dane.ts';
import {
	SSL_get_verify_result,
	SSL_get0_peer_certificate,
	SSL_get0_peername,
	SSL_session_reused,
	type Ssl,
} from '../ffi/libssl.ts';
import {type X509, X509_V_OK} from '../ffi/x509.ts';
import {info} from '../log.ts';
import type {TlsContext} from '../wire/context.ts';
import type {ClientConnection} from './client.ts';
import {
	TLS_LOG_CACHE,
	TLS_LOG_CERTMATCH,
	TLS_LOG_PEERCERT,
	TLS_LOG_SUMMARY,
	TLS_LOG_UNTRUSTED,
	TLS_LOG_VERBOSE,
} from './log-mask.ts';
import {namesOf} from './peer.ts';
import {isDaneLevel, mustMatch, recordText, TLS_LEV_HALF_DANE} from './policy.ts';
import {
	agreement,
	summary,
	TLS_CERT_FLAG_MATCHED,
	TLS_CERT_FLAG_PRESENT,
	TLS_CERT_FLAG_SECURED,
	TLS_CERT_FLAG_TRUSTED,
} from './report.ts';
import {logVerifyError} from './verify.ts';

/**
 * Logs the outcome of a complete handshake and makes the report for the client.
 *
 * Source: tls_client_post_connect(), postfix src/tls/tls_client.c.
 */
export function clientReport(connection: ClientConnection): TlsContext {
	const {level, notes, ssl} = connection;
	const {logMask} = notes;
	connection.endDump();
	const reused = SSL_session_reused(ssl) === 1;
	if (reused && (logMask & TLS_LOG_CACHE) !== 0) {
		info(`${notes.namaddr}: Reusing old session`);
	}

	const certificate = SSL_get0_peer_certificate(ssl);
	const names = namesOf(certificate, connection.digest, notes.namaddr);
	const peer_CN = names.peer_CN === '' ? nameOf(ssl, certificate) : names.peer_CN;
	/*
	 * Without a certificate the result is OK too, because nothing was verified; and
	 * where the policy could not be applied it must not count whatever it is.
	 */
	const trusted = certificate !== null && !notes.mustFail && SSL_get_verify_result(ssl) === X509_V_OK;
	const matched = trusted && mustMatch(level);
	if (matched && (logMask & (TLS_LOG_CERTMATCH | TLS_LOG_VERBOSE | TLS_LOG_PEERCERT)) !== 0) {
		logMatch(connection);
	}

	if (certificate !== null && (logMask & TLS_LOG_UNTRUSTED) !== 0 && !matched) {
		if (reused && !trusted) {
			info(
				`${notes.namaddr}: re-using session with untrusted certificate, look for details earlier in the log`,
			);
		} else if (!reused) {
			logVerifyError(notes);
		}
	}

	if (certificate !== null && (logMask & (TLS_LOG_CERTMATCH | TLS_LOG_VERBOSE | TLS_LOG_PEERCERT)) !== 0) {
		info(
			`${notes.namaddr}: subject_CN=${peer_CN}, issuer_CN=${names.issuer_CN}, fingerprint=${names.peer_fingerprint}, pkey_fingerprint=${names.peer_pubkey_fingerprint}`,
		);
	}

	const context: TlsContext = {
		...names,
		peer_CN,
		level,
		peer_status:
			(certificate === null ? 0 : TLS_CERT_FLAG_PRESENT) |
			(trusted ? TLS_CERT_FLAG_TRUSTED : 0) |
			(matched ? TLS_CERT_FLAG_MATCHED : 0) |
			(matched && level !== TLS_LEV_HALF_DANE ? TLS_CERT_FLAG_SECURED : 0),
		...agreement(ssl, certificate, 'client'),
		ctos_rpk: 0,
		stoc_rpk: 0,
		/* In lower case, as the C program keeps it. */
		namaddr: notes.namaddr,
		rpt_reported: 0,
		trace_size_limit: 0,
	};
	if ((logMask & TLS_LOG_SUMMARY) !== 0) {
		info(summary('to', context));
	}

	return context;
}

/* How a peer has proved itself. Source: tls_dane_log(), postfix src/tls/tls_dane.c. */
function logMatch({level, notes, ssl}: ClientConnection): void {
	const peername = SSL_get0_peername(ssl);
	if (peername !== null && peername !== '') {
		info(`${notes.namaddr}: matched peername: ${peername}`);
	}

	const match = daneMatch(ssl);
	if (match === undefined) {
		return;
	}

	const FINGERPRINT = 3;
	const DANE_TA = 2;
	if (level === FINGERPRINT) {
		info(`${notes.namaddr}: Matched fingerprint: ${Buffer.from(match.data).toString('hex').toUpperCase()}`);
	} else if (!isDaneLevel(level)) {
		info(`${notes.namaddr}: Matched trust anchor at depth ${match.depth}`);
	} else {
		const what = match.bareKey
			? 'TA public key verified certificate'
			: match.usage === DANE_TA
				? 'TA certificate'
				: 'EE certificate';
		info(`${notes.namaddr}: Matched DANE ${what} at depth ${match.depth}: ${recordText(match)}`);
	}
}

/* A certificate without a common name is called by the name that has matched. */
function nameOf(ssl: Ssl, certificate: X509 | null): string {
	return certificate === null ? '' : (SSL_get0_peername(ssl) ?? '');
}
