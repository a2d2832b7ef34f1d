/*++
/* NAME
/*	report 3
/* SUMMARY
/*	the outcome of a handshake: log lines, and the context for the client
/* DESCRIPTION
/*	What is reported here decides, in smtp(8), whether mail is sent.
/*	Nothing is assumed: each attribute is asked of OpenSSL, and what
/*	does not apply is empty or zero.
/* SEE ALSO
/*	postfix src/tls/tls_client.c, tls_client_post_connect(),
/*	src/tls/tls_misc.c, tls_get_signature_params(), tls_log_summary()
/*--*/

import {daneMatch} from '../ffi/dane.ts';
import {
	EVP_PKEY_DH,
	EVP_PKEY_EC,
	EVP_PKEY_free,
	EVP_PKEY_get_bits,
	EVP_PKEY_get_id,
	EVP_PKEY_KEYMGMT,
	EVP_PKEY_RSA,
	type EvpPkey,
	groupNameOf,
	NID_undef,
	OBJ_nid2sn,
	typeNameOf,
} from '../ffi/libcrypto.ts';
import {
	cipherBits,
	SSL_CIPHER_get_name,
	SSL_get_certificate,
	SSL_get_current_cipher,
	SSL_get_peer_signature_nid,
	SSL_get_peer_tmp_key,
	SSL_get_signature_nid,
	SSL_get_verify_result,
	SSL_get_version,
	SSL_get0_peer_certificate,
	SSL_get0_peername,
	SSL_session_reused,
	SSL_version,
	type Ssl,
	TLS1_3_VERSION,
} from '../ffi/libssl.ts';
import {type X509, X509_get0_pubkey, X509_V_OK} from '../ffi/x509.ts';
import {info} from '../log.ts';
import type {TlsContext} from '../wire/context.ts';
import type {Connection} from './connection.ts';
import {
	TLS_LOG_CACHE,
	TLS_LOG_CERTMATCH,
	TLS_LOG_PEERCERT,
	TLS_LOG_SUMMARY,
	TLS_LOG_UNTRUSTED,
	TLS_LOG_VERBOSE,
} from './log-mask.ts';
import {certificateFingerprint, issuerCommonName, keyFingerprint, subjectCommonName} from './peer.ts';
import {isDaneLevel, mustMatch, recordText, TLS_LEV_HALF_DANE} from './policy.ts';
import {logVerifyError} from './verify.ts';

/* Bits of peer_status. Source: postfix src/tls/tls.h. */
const TLS_CERT_FLAG_PRESENT = 1;
const TLS_CERT_FLAG_TRUSTED = 4;
const TLS_CERT_FLAG_MATCHED = 8;
const TLS_CERT_FLAG_SECURED = 16;

/**
 * Logs the outcome of a complete handshake and makes the report for the client.
 *
 * Source: tls_client_post_connect(), postfix src/tls/tls_client.c.
 */
export function clientReport(connection: Connection): TlsContext {
	const {level, notes, ssl} = connection;
	const {logMask} = notes;
	connection.endDump();
	const reused = SSL_session_reused(ssl) === 1;
	if (reused && (logMask & TLS_LOG_CACHE) !== 0) {
		info(`${notes.namaddr}: Reusing old session`);
	}

	const certificate = SSL_get0_peer_certificate(ssl);
	const names = peerNames(connection, certificate);
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
			`${notes.namaddr}: subject_CN=${names.peer_CN}, issuer_CN=${names.issuer_CN}, fingerprint=${names.peer_fingerprint}, pkey_fingerprint=${names.peer_pubkey_fingerprint}`,
		);
	}

	const cipher = SSL_get_current_cipher(ssl);
	const bits = cipher === null ? {used: 0, algorithm: 0} : cipherBits(cipher);
	const context: TlsContext = {
		...names,
		level,
		peer_status:
			(certificate === null ? 0 : TLS_CERT_FLAG_PRESENT) |
			(trusted ? TLS_CERT_FLAG_TRUSTED : 0) |
			(matched ? TLS_CERT_FLAG_MATCHED : 0) |
			(matched && level !== TLS_LEV_HALF_DANE ? TLS_CERT_FLAG_SECURED : 0),
		cipher_protocol: SSL_get_version(ssl),
		cipher_name: cipher === null ? '' : SSL_CIPHER_get_name(cipher),
		cipher_usebits: bits.used,
		cipher_algbits: bits.algorithm,
		...handshakeDetails(ssl, certificate),
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
function logMatch({level, notes, ssl}: Connection): void {
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

function peerNames(connection: Connection, certificate: X509 | null) {
	const {digest, notes, ssl} = connection;
	if (certificate === null) {
		return {peer_CN: '', issuer_CN: '', peer_fingerprint: '', peer_pubkey_fingerprint: ''};
	}

	const key = X509_get0_pubkey(certificate);
	const subject = subjectCommonName(certificate, notes.namaddr);
	return {
		peer_CN: subject === '' ? (SSL_get0_peername(ssl) ?? '') : subject,
		issuer_CN: issuerCommonName(certificate, notes.namaddr),
		peer_fingerprint: certificateFingerprint(certificate, digest),
		peer_pubkey_fingerprint: key === null ? '' : keyFingerprint(key, digest),
	};
}

/* Key exchange and signatures: TLS 1.3 only, as in the C program. */
function handshakeDetails(ssl: Ssl, peer: X509 | null) {
	const modern = SSL_version(ssl) >= TLS1_3_VERSION;
	const exchange = modern ? keyExchange(ssl) : noKeyExchange;
	const server = modern && peer !== null ? X509_get0_pubkey(peer) : null;
	const serverDigest = modern ? SSL_get_peer_signature_nid(ssl) : undefined;
	const clientDigest = modern ? SSL_get_signature_nid(ssl) : undefined;
	const own = clientDigest === undefined ? null : SSL_get_certificate(ssl);
	const client = own === null ? null : X509_get0_pubkey(own);
	const serverSignature = server === null ? noSignature : signatureOf(server);
	const clientSignature = client === null ? noSignature : signatureOf(client);
	return {
		...exchange,
		clnt_signature: clientSignature.name,
		clnt_signature_curve: clientSignature.curve,
		clnt_signature_bits: clientSignature.bits,
		clnt_signature_digest: client === null ? '' : digestName(clientDigest),
		srvr_signature: serverSignature.name,
		srvr_signature_curve: serverSignature.curve,
		srvr_signature_bits: serverSignature.bits,
		srvr_signature_digest: server === null ? '' : digestName(serverDigest),
	};
}

const noKeyExchange = {key_exchange: '', key_exchange_curve: '', key_exchange_bits: 0};

function keyExchange(ssl: Ssl): typeof noKeyExchange {
	const key = SSL_get_peer_tmp_key(ssl);
	if (key === null) {
		return noKeyExchange;
	}

	const id = EVP_PKEY_get_id(key);
	const result =
		id === EVP_PKEY_DH
			? {key_exchange: 'DHE', key_exchange_curve: '', key_exchange_bits: EVP_PKEY_get_bits(key)}
			: id === EVP_PKEY_EC
				? {key_exchange: 'ECDHE', key_exchange_curve: groupNameOf(key), key_exchange_bits: 0}
				: {key_exchange: keyName(key, id), key_exchange_curve: '', key_exchange_bits: 0};
	EVP_PKEY_free(key);
	return result;
}

const noSignature = {name: '', curve: '', bits: 0};

function signatureOf(key: EvpPkey): typeof noSignature {
	const id = EVP_PKEY_get_id(key);
	switch (id) {
		/* TLS 1.3 has only one way to sign with an RSA key. */
		case EVP_PKEY_RSA:
			return {name: 'RSA-PSS', curve: '', bits: EVP_PKEY_get_bits(key)};
		case EVP_PKEY_EC:
			return {name: 'ECDSA', curve: groupNameOf(key), bits: 0};
		default:
			return {name: keyName(key, id), curve: '', bits: 0};
	}
}

function keyName(key: EvpPkey, id: number): string {
	return id === EVP_PKEY_KEYMGMT ? typeNameOf(key) : (OBJ_nid2sn(id) ?? '');
}

function digestName(nid: number | undefined): string {
	return nid === undefined || nid === NID_undef ? '' : (OBJ_nid2sn(nid) ?? '');
}

/**
 * The one line about a connection. smtp(8) writes it again from the report, so both have to agree.
 *
 * Source: tls_log_summary(), postfix src/tls/tls_misc.c.
 */
function summary(direction: 'to' | 'from', context: TlsContext): string {
	const {peer_status: status} = context;
	const verdict =
		(status & TLS_CERT_FLAG_PRESENT) === 0
			? 'Anonymous'
			: (status & TLS_CERT_FLAG_SECURED) !== 0
				? 'Verified'
				: (status & TLS_CERT_FLAG_TRUSTED) !== 0
					? 'Trusted'
					: 'Untrusted';
	const bits = `(${context.cipher_usebits}/${context.cipher_algbits} bits)`;
	return [
		`${verdict} TLS connection established ${direction} ${context.namaddr}: ${context.cipher_protocol} with cipher ${context.cipher_name} ${bits}`,
		part('key-exchange', context.key_exchange, context.key_exchange_curve, context.key_exchange_bits),
		part(
			'server-signature',
			context.srvr_signature,
			context.srvr_signature_curve,
			context.srvr_signature_bits,
		),
		part('server-digest', context.srvr_signature_digest, '', 0),
		part(
			'client-signature',
			context.clnt_signature,
			context.clnt_signature_curve,
			context.clnt_signature_bits,
		),
		part('client-digest', context.clnt_signature_digest, '', 0),
	].join('');
}

function part(label: string, name: string, curve: string, bits: number): string {
	if (name === '') {
		return '';
	}

	const detail = curve !== '' ? ` (${curve})` : bits > 0 ? ` (${bits} bits)` : '';
	return ` ${label} ${name}${detail}`;
}
