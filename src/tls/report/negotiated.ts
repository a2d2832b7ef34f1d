/*++
/* NAME
/*	negotiated 3
/* SUMMARY
/*	the negotiated parameters of a connection
/* DESCRIPTION
/*	The part of a report that is the same for both roles: protocol,
/*	cipher, key exchange and signatures, and the log line with all of
/*	them. Nothing is assumed: each attribute is queried from OpenSSL,
/*	and an attribute that does not apply is empty or zero.
/* SEE ALSO
/*	client-report(3), server-report(3)
/*	postfix src/tls/tls_misc.c, tls_get_signature_params(),
/*	tls_log_summary()
/*--*/

import type {ReleaseFeatures} from '../../conf/release.ts';
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
} from '../../ffi/openssl/libcrypto.ts';
import {sendsRawKey} from '../../ffi/openssl/raw-public-key.ts';
import {
	agreedGroupName,
	cipherBits,
	SSL_CIPHER_get_name,
	SSL_get_current_cipher,
	SSL_get_peer_signature_nid,
	SSL_get_peer_tmp_key,
	SSL_get_privatekey,
	SSL_get_signature_nid,
	SSL_get_version,
	SSL_session_reused,
	SSL_version,
	type Ssl,
	TLS1_3_VERSION,
} from '../../ffi/openssl/ssl.ts';
import type {HandshakeReport} from '../../wire/handshake-report.ts';
import type {Role} from '../../wire/request.ts';

/* Bits of peer_status. Source: postfix src/tls/tls.h. */
export const TLS_CERT_FLAG_PRESENT = 1;
/** The certificate has DNS names. Before Postfix 3.6 only. */
export const TLS_CERT_FLAG_ALTNAME = 2;
export const TLS_CERT_FLAG_TRUSTED = 4;
export const TLS_CERT_FLAG_MATCHED = 8;
export const TLS_CERT_FLAG_SECURED = 16;
/** The peer has a raw public key instead of a certificate. */
export const TLS_CRED_FLAG_RPK = 32;

/**
 * The negotiated parameters after a complete handshake.
 *
 * @param peer - the key of the peer; borrowed. Null: the peer has no certificate and no raw public key.
 * @param role - the role of this process.
 */
export function negotiated(ssl: Ssl, peer: EvpPkey | null, role: Role, features: ReleaseFeatures) {
	const cipher = SSL_get_current_cipher(ssl);
	const bits = cipher === null ? {used: 0, algorithm: 0} : cipherBits(cipher);
	return {
		cipher_protocol: SSL_get_version(ssl),
		cipher_name: cipher === null ? '' : SSL_CIPHER_get_name(cipher),
		cipher_usebits: bits.used,
		cipher_algbits: bits.algorithm,
		...handshakeDetails(ssl, peer, role, features),
	};
}

/* Key exchange and signatures: TLS 1.3 only, as in the C program. */
function handshakeDetails(ssl: Ssl, peer: EvpPkey | null, role: Role, features: ReleaseFeatures) {
	const tls13 = SSL_version(ssl) >= TLS1_3_VERSION;
	const exchange = tls13 ? keyExchange(ssl, features) : noKeyExchange;
	const signed = tls13 && (features.resumedHasSignatures || SSL_session_reused(ssl) !== 1);
	const peerSignature =
		signed && peer !== null ? signature(peer, SSL_get_peer_signature_nid(ssl)) : undefined;
	const digest = signed ? SSL_get_signature_nid(ssl) : undefined;
	/* A client may have a certificate that it did not use. A TLS 1.3 server always uses its certificate. */
	const key = signed && (role === 'server' || digest !== undefined) ? SSL_get_privatekey(ssl) : null;
	const localSignature = key === null ? undefined : signature(key, digest);
	const [client, server] =
		role === 'client' ? [localSignature, peerSignature] : [peerSignature, localSignature];
	const {name: clntName, curve: clntCurve, bits: clntBits, digest: clntDigest} = client ?? noSignature;
	const {name: srvrName, curve: srvrCurve, bits: srvrBits, digest: srvrDigest} = server ?? noSignature;
	return {
		...exchange,
		ctos_rpk: features.rawPublicKeys && client !== undefined && sendsRawKey(ssl, 'client') ? 1 : 0,
		stoc_rpk: features.rawPublicKeys && server !== undefined && sendsRawKey(ssl, 'server') ? 1 : 0,
		clnt_signature: clntName,
		clnt_signature_curve: clntCurve,
		clnt_signature_bits: clntBits,
		clnt_signature_digest: clntDigest,
		srvr_signature: srvrName,
		srvr_signature_curve: srvrCurve,
		srvr_signature_bits: srvrBits,
		srvr_signature_digest: srvrDigest,
	};
}

const noKeyExchange = {key_exchange: '', key_exchange_curve: '', key_exchange_bits: 0};

function keyExchange(ssl: Ssl, {groupAsKeyExchange: exchangeIsGroup}: ReleaseFeatures): typeof noKeyExchange {
	const group = exchangeIsGroup ? agreedGroupName(ssl) : '';
	if (group !== '') {
		return {...noKeyExchange, key_exchange: group};
	}

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

const noSignature = {name: '', curve: '', bits: 0, digest: ''};

function signature(key: EvpPkey, digest: number | undefined): typeof noSignature {
	return {...signatureKey(key), digest: digestName(digest)};
}

function signatureKey(key: EvpPkey): Omit<typeof noSignature, 'digest'> {
	const id = EVP_PKEY_get_id(key);
	switch (id) {
		/* The only RSA signature scheme of TLS 1.3. */
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
 * The log line about a connection. smtp(8) logs the same line from the report.
 *
 * @param serverName - the SNI name for which a certificate was found; empty: none.
 * Source: tls_log_summary(), postfix src/tls/tls_misc.c.
 */
export function summary(direction: 'to' | 'from', report: HandshakeReport, serverName = ''): string {
	const {peer_status: status} = report;
	const trust =
		(status & (TLS_CERT_FLAG_PRESENT | TLS_CRED_FLAG_RPK)) === 0
			? 'Anonymous'
			: (status & TLS_CERT_FLAG_SECURED) !== 0
				? 'Verified'
				: (status & TLS_CERT_FLAG_TRUSTED) !== 0
					? 'Trusted'
					: 'Untrusted';
	const serverSignature = {
		name: report.srvr_signature,
		curve: report.srvr_signature_curve,
		bits: report.srvr_signature_bits,
		digest: report.srvr_signature_digest,
	};
	const clientSignature = {
		name: report.clnt_signature,
		curve: report.clnt_signature_curve,
		bits: report.clnt_signature_bits,
		digest: report.clnt_signature_digest,
	};
	const name = serverName === '' ? '' : ` to ${serverName}`;
	const bits = `(${report.cipher_usebits}/${report.cipher_algbits} bits)`;
	return [
		`${trust} TLS connection established ${direction} ${report.namaddr}${name}: ${report.cipher_protocol} with cipher ${report.cipher_name} ${bits}`,
		exchangePart(report),
		signaturePart('server', serverSignature, report.stoc_rpk === 1),
		signaturePart('client', clientSignature, report.ctos_rpk === 1),
	].join('');
}

function exchangePart({
	key_exchange: name,
	key_exchange_curve: curve,
	key_exchange_bits: bits,
}: HandshakeReport): string {
	const detail = curve !== '' ? ` (${curve})` : bits > 0 ? ` (${bits} bits)` : '';
	return name === '' ? '' : ` key-exchange ${name}${detail}`;
}

function signaturePart(signer: Role, {name, curve, bits, digest}: typeof noSignature, raw: boolean): string {
	if (name === '') {
		return '';
	}

	const key = raw ? 'raw public key' : '';
	const size = bits > 0 ? `${bits} bit${raw ? '' : 's'}` : '';
	const detail = [curve === '' ? size : curve, key].filter(text => text !== '').join(' ');
	const digestText = digest === '' ? '' : ` ${signer}-digest ${digest}`;
	return ` ${signer}-signature ${name}${detail === '' ? '' : ` (${detail})`}${digestText}`;
}
