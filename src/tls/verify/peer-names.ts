/*++
/* NAME
/*	peer-names 3
/* SUMMARY
/*	names and fingerprints of a peer's certificate
/* DESCRIPTION
/*	Names come from an untrusted peer. They are logged, and smtp(8)
/*	writes them into a line-oriented record. A name that is not plain
/*	text becomes empty, with a warning that gives the reason.
/* SEE ALSO
/*	postfix src/tls/tls_verify.c, src/tls/tls_fprint.c
/*--*/

import {cacheKey} from '../../base/cache-key.ts';
import {Panic} from '../../base/errors.ts';
import {Lru} from '../../base/lru.ts';
import {hexText} from '../../base/text.ts';
import {
	digestOf,
	type EvpMd,
	type EvpPkey,
	NID_commonName,
	NID_organizationName,
} from '../../ffi/openssl/libcrypto.ts';
import {
	ASN1_STRING_type,
	derOfCertificate,
	derOfKeyIn,
	derOfPublicKey,
	keyBitsIn,
	utf8BytesOf,
	type X509,
	X509_get_issuer_name,
	X509_get_subject_name,
	X509_get0_pubkey,
	X509_NAME_ENTRY_get_data,
	X509_NAME_get_entry,
	X509_NAME_get_index_by_NID,
	type X509Name,
} from '../../ffi/openssl/x509.ts';
import {warning} from '../../log/log.ts';
import {printErrors} from '../library.ts';

/** Names and fingerprints in a handshake report. Field names are those of the attribute protocol. */
export interface PeerNames {
	readonly peer_CN: string;
	readonly issuer_CN: string;
	readonly peer_fingerprint: string;
	readonly peer_pubkey_fingerprint: string;
}

/** How fingerprints are computed. */
export interface Fingerprinting {
	readonly digest: EvpMd;
	/** Fingerprints of the key bits alone, as in Postfix 2.9.0 to 2.9.5: tls_legacy_public_key_fingerprints. */
	readonly bareKeys: boolean;
}

/**
 * Names and fingerprints of a peer; all of them empty without a certificate.
 *
 * @param certificate - borrowed.
 * @param rawKey - instead of a certificate; borrowed.
 * @param namaddr - name and address of the peer, for the log.
 */
export function peerNames(
	certificate: X509 | null,
	rawKey: EvpPkey | null,
	fingerprinting: Fingerprinting,
	namaddr: string,
): PeerNames {
	const {digest, bareKeys} = fingerprinting;
	if (certificate === null) {
		const key = rawKey === null ? '' : fingerprint(digest, derOfPublicKey(rawKey));
		return {peer_CN: '', issuer_CN: '', peer_fingerprint: '', peer_pubkey_fingerprint: key};
	}

	const der = derOfCertificate(certificate);
	const key = der === undefined ? '' : cacheKey(String(digest), String(bareKeys), der.toString('latin1'));
	const known = cachedNames.get(key);
	if (known !== undefined) {
		return known;
	}

	const names: PeerNames = {
		peer_CN: subjectCommonName(certificate, namaddr),
		issuer_CN: issuerCommonName(certificate, namaddr),
		peer_fingerprint: fingerprint(digest, der),
		/* A key that the library cannot read has no fingerprint, as with stock. */
		peer_pubkey_fingerprint:
			X509_get0_pubkey(certificate) === null ? '' : keyFingerprint(certificate, fingerprinting),
	};
	/* An empty name may be the result of a warning, which has to be logged each time. */
	if (names.peer_CN !== '' && names.issuer_CN !== '') {
		cachedNames.set(key, names);
	}

	return names;
}

/** Number of cached certificates, with two or three kilobytes each. */
const CERTIFICATE_LIMIT = 100;
/*
 * A few servers receive most of the mail, with the same certificate for months. Values that
 * depend only on the bytes of a certificate are computed once.
 */
const cachedNames = new Lru<string, PeerNames>(CERTIFICATE_LIMIT);

/** Subject common name; empty when it is absent or not plain text. Source: tls_peer_CN(). */
export function subjectCommonName(certificate: X509, namaddr: string): string {
	const name = X509_get_subject_name(certificate);
	return (name === null ? undefined : textName(name, NID_commonName, 'subject CN', namaddr)) ?? '';
}

/** Issuer common name, otherwise the issuer's organization. Source: tls_issuer_CN(). */
export function issuerCommonName(certificate: X509, namaddr: string): string {
	const name = X509_get_issuer_name(certificate);
	if (name === null) {
		return '';
	}

	return (
		textName(name, NID_commonName, 'issuer CN', namaddr) ??
		textName(name, NID_organizationName, 'issuer Organization', namaddr) ??
		''
	);
}

/** Fingerprint of the whole certificate: upper-case hexadecimal with colons. Source: tls_cert_fprint(). */
export function certificateFingerprint(certificate: X509, digest: EvpMd): string {
	return fingerprint(digest, derOfCertificate(certificate));
}

/** Fingerprint of the public key of a certificate, as SubjectPublicKeyInfo or as bits. Source: tls_pkey_fprint(). */
export function keyFingerprint(certificate: X509, {digest, bareKeys}: Fingerprinting): string {
	return fingerprint(digest, bareKeys ? keyBitsIn(certificate) : derOfKeyIn(certificate));
}

function fingerprint(digest: EvpMd, der: Uint8Array | undefined): string {
	const value = der === undefined ? undefined : digestOf(digest, der);
	if (value === undefined) {
		/* Cannot happen: the digest was tried when the context was made. */
		throw new Panic('error computing certificate digest');
	}

	return hexText(value, ':');
}

/* Size limit of a name, in bytes. Source: CCERT_BUFSIZ, postfix src/tls/tls.h. */
const NAME_SIZE = 256;

/*
 * The text of the first entry of a type, one character per byte; undefined without an
 * entry, and when it is not plain text.
 */
function textName(name: X509Name, nid: number, label: string, namaddr: string): string | undefined {
	const index = X509_NAME_get_index_by_NID(name, nid, -1);
	const entry = index < 0 ? null : X509_NAME_get_entry(name, index);
	const data = entry === null ? null : X509_NAME_ENTRY_get_data(entry);
	if (data === null) {
		return undefined;
	}

	const bytes = utf8BytesOf(data);
	if (bytes === undefined) {
		warning(
			`tls_text_name: ${namaddr}: error decoding peer ${label} of ASN.1 type=${ASN1_STRING_type(data)}`,
		);
		printErrors();
		return undefined;
	}

	/* Some issuers include the terminating NUL of a C string. */
	let length = bytes.length;
	while (length > 0 && bytes[length - 1] === 0) {
		length--;
	}

	const text = bytes.toString('latin1', 0, length);
	if (length >= NAME_SIZE) {
		warning(`tls_text_name: ${namaddr}: peer ${label} too long: ${length}`);
		return undefined;
	}

	if (text.includes('\0')) {
		warning(`tls_text_name: ${namaddr}: NULL character in peer ${label}`);
		return undefined;
	}

	if (/[^\u0020-\u007E\u0080-\u00FF]/.test(text)) {
		warning(`tls_text_name: ${namaddr}: non-printable content in peer ${label}`);
		return undefined;
	}

	return text;
}
