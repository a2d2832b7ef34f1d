/*++
/* NAME
/*	report 3
/* SUMMARY
/*	what was agreed in a handshake
/* DESCRIPTION
/*	The part of a report that both roles have: protocol, ciphers, key
/*	exchange and signatures, and the line that says it all. Nothing is
/*	assumed: each attribute is asked of OpenSSL, and what does not
/*	apply is empty or zero.
/* SEE ALSO
/*	client-report(3), server-report(3)
/*	postfix src/tls/tls_misc.c, tls_get_signature_params(),
/*	tls_log_summary()
/*--*/

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
	SSL_get_version,
	SSL_version,
	type Ssl,
	TLS1_3_VERSION,
} from '../ffi/libssl.ts';
import {type X509, X509_get0_pubkey} from '../ffi/x509.ts';
import type {TlsContext} from '../wire/context.ts';
import type {Role} from '../wire/request.ts';

/* Bits of peer_status. Source: postfix src/tls/tls.h. */
export const TLS_CERT_FLAG_PRESENT = 1;
export const TLS_CERT_FLAG_TRUSTED = 4;
export const TLS_CERT_FLAG_MATCHED = 8;
export const TLS_CERT_FLAG_SECURED = 16;

/**
 * What was agreed in a complete handshake.
 *
 * @param peer - certificate of the peer; borrowed.
 * @param role - ours.
 */
export function agreement(ssl: Ssl, peer: X509 | null, role: Role) {
	const cipher = SSL_get_current_cipher(ssl);
	const bits = cipher === null ? {used: 0, algorithm: 0} : cipherBits(cipher);
	return {
		cipher_protocol: SSL_get_version(ssl),
		cipher_name: cipher === null ? '' : SSL_CIPHER_get_name(cipher),
		cipher_usebits: bits.used,
		cipher_algbits: bits.algorithm,
		...handshakeDetails(ssl, peer, role),
	};
}

/* Key exchange and signatures: TLS 1.3 only, as in the C program. */
function handshakeDetails(ssl: Ssl, peer: X509 | null, role: Role) {
	const modern = SSL_version(ssl) >= TLS1_3_VERSION;
	const exchange = modern ? keyExchange(ssl) : noKeyExchange;
	const theirs = modern && peer !== null ? signature(peer, SSL_get_peer_signature_nid(ssl)) : noSignature;
	const digest = modern ? SSL_get_signature_nid(ssl) : undefined;
	/* A client may have a certificate that it did not use; a server of TLS 1.3 always uses one. */
	const own = modern && (role === 'server' || digest !== undefined) ? SSL_get_certificate(ssl) : null;
	const ours = own === null ? noSignature : signature(own, digest);
	const [client, server] = role === 'client' ? [ours, theirs] : [theirs, ours];
	return {
		...exchange,
		clnt_signature: client.name,
		clnt_signature_curve: client.curve,
		clnt_signature_bits: client.bits,
		clnt_signature_digest: client.digest,
		srvr_signature: server.name,
		srvr_signature_curve: server.curve,
		srvr_signature_bits: server.bits,
		srvr_signature_digest: server.digest,
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

const noSignature = {name: '', curve: '', bits: 0, digest: ''};

function signature(certificate: X509, digest: number | undefined): typeof noSignature {
	const key = X509_get0_pubkey(certificate);
	return key === null ? noSignature : {...keyOf(key), digest: digestName(digest)};
}

function keyOf(key: EvpPkey): Omit<typeof noSignature, 'digest'> {
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
 * @param serverName - the name that the peer has asked for, and got a certificate of.
 * Source: tls_log_summary(), postfix src/tls/tls_misc.c.
 */
export function summary(direction: 'to' | 'from', context: TlsContext, serverName = ''): string {
	const {peer_status: status} = context;
	const verdict =
		(status & TLS_CERT_FLAG_PRESENT) === 0
			? 'Anonymous'
			: (status & TLS_CERT_FLAG_SECURED) !== 0
				? 'Verified'
				: (status & TLS_CERT_FLAG_TRUSTED) !== 0
					? 'Trusted'
					: 'Untrusted';
	const name = serverName === '' ? '' : ` to ${serverName}`;
	const bits = `(${context.cipher_usebits}/${context.cipher_algbits} bits)`;
	return [
		`${verdict} TLS connection established ${direction} ${context.namaddr}${name}: ${context.cipher_protocol} with cipher ${context.cipher_name} ${bits}`,
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
