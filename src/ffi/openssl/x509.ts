/*++
/* NAME
/*	x509 3
/* SUMMARY
/*	bindings of OpenSSL: certificates, verification, stacks
/* DESCRIPTION
/*	Functions of x509.h, x509_vfy.h, asn1.h and stack.h. They add no
/*	policy. A pointer that is returned is owned by the object it was
/*	taken from, unless stated otherwise.
/* SEE ALSO
/*	pem(3), how certificates are read
/*--*/

import {addon as koffi} from '../libc/addon.ts';
import {type Address, allocate} from '../libc/libc.ts';
import {libcrypto} from './binding.ts';
import {
	EVP_get_digestbyname,
	type EvpMd,
	type EvpPkey,
	encodeDer,
	nonNull,
	type Pointer,
} from './libcrypto.ts';

export type X509 = Pointer<'X509'>;
export type X509Name = Pointer<'X509_NAME'>;
export type X509NameEntry = Pointer<'X509_NAME_ENTRY'>;
export type X509Store = Pointer<'X509_STORE'>;
export type X509StoreCtx = Pointer<'X509_STORE_CTX'>;
export type Asn1String = Pointer<'ASN1_STRING'>;
export type StackOfX509 = Pointer<'STACK_OF(X509)'>;

/* The size that Postfix uses. */
const ONELINE_SIZE = 256;
const onelineBuffer = allocate(ONELINE_SIZE);

/* x509.h, x509_vfy.h */
export const X509_V_OK = 0;
export const X509_free: (certificate: X509) => void = libcrypto.func('void X509_free(void *x)');
export const X509_get_subject_name: (certificate: X509) => X509Name | null = libcrypto.func(
	'void *X509_get_subject_name(const void *x)',
);
export const X509_get_issuer_name: (certificate: X509) => X509Name | null = libcrypto.func(
	'void *X509_get_issuer_name(const void *x)',
);
export const X509_get0_pubkey: (certificate: X509) => EvpPkey | null = libcrypto.func(
	'void *X509_get0_pubkey(const void *x)',
);
export const X509_NAME_get_index_by_NID: (name: X509Name, nid: number, last: number) => number =
	libcrypto.func('int X509_NAME_get_index_by_NID(void *name, int nid, int lastpos)');
export const X509_NAME_get_entry: (name: X509Name, index: number) => X509NameEntry | null = libcrypto.func(
	'void *X509_NAME_get_entry(const void *name, int loc)',
);
export const X509_NAME_ENTRY_get_data: (entry: X509NameEntry) => Asn1String | null = libcrypto.func(
	'void *X509_NAME_ENTRY_get_data(const void *ne)',
);
const X509_NAME_oneline: (name: X509Name, text: Address, size: number) => Address | null = libcrypto.func(
	'void *X509_NAME_oneline(const void *name, void *buf, int size)',
);
export const X509_STORE_CTX_get_current_cert: (ctx: X509StoreCtx) => X509 | null = libcrypto.func(
	'void *X509_STORE_CTX_get_current_cert(const void *ctx)',
);
export const X509_STORE_CTX_get_error: (ctx: X509StoreCtx) => number = libcrypto.func(
	'int X509_STORE_CTX_get_error(const void *ctx)',
);
export const X509_STORE_CTX_set_error: (ctx: X509StoreCtx, code: number) => void = libcrypto.func(
	'void X509_STORE_CTX_set_error(void *ctx, int code)',
);
export const X509_STORE_CTX_get_error_depth: (ctx: X509StoreCtx) => number = libcrypto.func(
	'int X509_STORE_CTX_get_error_depth(const void *ctx)',
);
export const X509_STORE_CTX_get_ex_data: (ctx: X509StoreCtx, index: number) => bigint | null = libcrypto.func(
	'void *X509_STORE_CTX_get_ex_data(const void *ctx, int idx)',
);
export const X509_STORE_CTX_get0_cert: (ctx: X509StoreCtx) => X509 | null = libcrypto.func(
	'void *X509_STORE_CTX_get0_cert(const void *ctx)',
);
export const X509_verify_cert: (ctx: X509StoreCtx) => number = libcrypto.func(
	'int X509_verify_cert(void *ctx)',
);
const X509_STORE_CTX_get0_untrusted: (ctx: X509StoreCtx) => StackOfX509 | null = libcrypto.func(
	'void *X509_STORE_CTX_get0_untrusted(const void *ctx)',
);
const X509_STORE_CTX_get0_chain: (ctx: X509StoreCtx) => StackOfX509 | null = libcrypto.func(
	'void *X509_STORE_CTX_get0_chain(const void *ctx)',
);
const X509_STORE_CTX_get0_param: (ctx: X509StoreCtx) => Address = libcrypto.func(
	'void *X509_STORE_CTX_get0_param(const void *ctx)',
);
const X509_VERIFY_PARAM_set_purpose: (param: Address, purpose: number) => number = libcrypto.func(
	'int X509_VERIFY_PARAM_set_purpose(void *param, int purpose)',
);
const X509_VERIFY_PARAM_set_trust: (param: Address, trust: number) => number = libcrypto.func(
	'int X509_VERIFY_PARAM_set_trust(void *param, int trust)',
);
const X509_VERIFY_PARAM_get0_peername: (param: Address) => string | null = libcrypto.func(
	'const char *X509_VERIFY_PARAM_get0_peername(const void *param)',
);
const X509_get_extended_key_usage: (certificate: X509) => number = libcrypto.func(
	'uint32_t X509_get_extended_key_usage(void *x)',
);

/** Whether the extended key usage of a certificate allows TLS servers but not TLS clients. */
export function isForServersOnly(certificate: X509): boolean {
	const XKU_SSL_SERVER = 1;
	const XKU_SSL_CLIENT = 2;
	/* Without the extension, all bits are set. */
	return (X509_get_extended_key_usage(certificate) & (XKU_SSL_SERVER | XKU_SSL_CLIENT)) === XKU_SSL_SERVER;
}

/** Verifies a chain by the rules for certificates of servers. */
export function setServerPurpose(ctx: X509StoreCtx): void {
	const X509_PURPOSE_SSL_SERVER = 2;
	const X509_TRUST_SSL_SERVER = 3;
	const param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
	X509_VERIFY_PARAM_set_trust(param, X509_TRUST_SSL_SERVER);
}

/** The expected name that the verified certificate matched; null if no name was expected. */
export function matchedName(ctx: X509StoreCtx): string | null {
	return X509_VERIFY_PARAM_get0_peername(X509_STORE_CTX_get0_param(ctx));
}

export const X509_verify_cert_error_string: (code: number) => string = libcrypto.func(
	'const char *X509_verify_cert_error_string(long n)',
);

/** A name on one line of at most 255 bytes, as in Postfix's log lines. */
export function oneline(name: X509Name): string {
	return X509_NAME_oneline(name, onelineBuffer.address, ONELINE_SIZE) === null
		? ''
		: koffi.decode.string(onelineBuffer.address);
}

/* asn1.h */
const ASN1_STRING_to_UTF8: (out: Address, text: Asn1String) => number = libcrypto.func(
	'int ASN1_STRING_to_UTF8(void *out, const void *in)',
);
export const ASN1_STRING_type: (text: Asn1String) => number = libcrypto.func(
	'int ASN1_STRING_type(const void *x)',
);

/** A copy of a string in UTF-8; undefined if it cannot be converted. */
export function utf8BytesOf(text: Asn1String): Buffer | undefined {
	return encodeDer(out => ASN1_STRING_to_UTF8(out, text));
}

const i2d_X509: (certificate: X509, out: Address) => number = libcrypto.func(
	'int i2d_X509(const void *x, void *out)',
);
const i2d_PUBKEY: (key: EvpPkey, out: Address) => number = libcrypto.func(
	'int i2d_PUBKEY(const void *key, void *out)',
);
const X509_get_X509_PUBKEY: (certificate: X509) => Address = libcrypto.func(
	'void *X509_get_X509_PUBKEY(const void *x)',
);
const i2d_X509_PUBKEY: (key: Address, out: Address) => number = libcrypto.func(
	'int i2d_X509_PUBKEY(const void *a, void *out)',
);

/** The DER form of a certificate. */
export function derOfCertificate(certificate: X509): Buffer | undefined {
	return encodeDer(out => i2d_X509(certificate, out));
}

/** The DER form of a public key as SubjectPublicKeyInfo. */
export function derOfPublicKey(key: EvpPkey): Buffer | undefined {
	return encodeDer(out => i2d_PUBKEY(key, out));
}

/**
 * The DER form of the SubjectPublicKeyInfo in a certificate. i2d_PUBKEY() of OpenSSL 3 encodes the key again,
 * which costs a tenth of a handshake.
 */
export function derOfKeyIn(certificate: X509): Buffer | undefined {
	return encodeDer(out => i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), out));
}

const X509_get0_pubkey_bitstr: (certificate: X509) => Asn1String | null = libcrypto.func(
	'void *X509_get0_pubkey_bitstr(const void *x)',
);
const ASN1_STRING_get0_data: (text: Asn1String) => Address = libcrypto.func(
	'void *ASN1_STRING_get0_data(const void *x)',
);
const ASN1_STRING_length: (text: Asn1String) => number = libcrypto.func(
	'int ASN1_STRING_length(const void *x)',
);

/** The public key of a certificate without its algorithm; a view that is valid as long as the certificate. */
export function keyBitsIn(certificate: X509): Uint8Array | undefined {
	const bits = X509_get0_pubkey_bitstr(certificate);
	return bits === null
		? undefined
		: new Uint8Array(koffi.view(ASN1_STRING_get0_data(bits), ASN1_STRING_length(bits)));
}

/* stack.h */
export const OPENSSL_sk_new_null: () => StackOfX509 | null = libcrypto.func(
	'void *OPENSSL_sk_new_null(void)',
);
export const OPENSSL_sk_push: (stack: StackOfX509, item: X509) => number = libcrypto.func(
	'int OPENSSL_sk_push(void *st, const void *data)',
);
/** Releases the stack, but not its items. */
export const OPENSSL_sk_free: (stack: StackOfX509) => void = libcrypto.func('void OPENSSL_sk_free(void *st)');
const OPENSSL_sk_num: (stack: StackOfX509) => number = libcrypto.func('int OPENSSL_sk_num(const void *st)');
const OPENSSL_sk_value: (stack: StackOfX509, index: number) => X509 = libcrypto.func(
	'void *OPENSSL_sk_value(const void *st, int i)',
);

/* Chains */

const X509_digest: (certificate: X509, md: EvpMd, out: Address, length: null) => number = libcrypto.func(
	'int X509_digest(const void *data, void *type, void *md, void *len)',
);
const DIGEST_SIZE = 32;
/* Number of certificates; longer chains have no digest. */
const CHAIN_LIMIT = 10;
const digests = allocate(CHAIN_LIMIT * DIGEST_SIZE);
const digestText = Buffer.from(digests.bytes.buffer, digests.bytes.byteOffset, digests.bytes.length);
const digestAddresses = Array.from(
	{length: CHAIN_LIMIT},
	(_, index) => (digests.address + BigInt(index * DIGEST_SIZE)) as Address,
);
let sha256: EvpMd | undefined;

/**
 * The concatenated SHA-256 digests of the certificates that the peer has sent, one character per byte.
 *
 * @returns undefined without a certificate, and with too many of them.
 */
export function digestsOfPresented(ctx: X509StoreCtx): string | undefined {
	const presented = X509_STORE_CTX_get0_untrusted(ctx);
	const count = presented === null ? 0 : OPENSSL_sk_num(presented);
	if (presented === null || count <= 0 || count > CHAIN_LIMIT) {
		return undefined;
	}

	const md = (sha256 ??= nonNull(EVP_get_digestbyname('sha256'), 'EVP_get_digestbyname'));
	const done = digestAddresses
		.slice(0, count)
		.every((address, index) => X509_digest(OPENSSL_sk_value(presented, index), md, address, null) === 1);
	return done ? digestText.toString('latin1', 0, count * DIGEST_SIZE) : undefined;
}

const X509_get0_notAfter: (certificate: X509) => Address = libcrypto.func(
	'void *X509_get0_notAfter(const void *x)',
);
const ASN1_TIME_diff: (days: Address, seconds: Address, from: null, to: Address) => number = libcrypto.func(
	'int ASN1_TIME_diff(void *pday, void *psec, const void *from, const void *to)',
);
const difference = allocate(8);
const SECONDS_PER_DAY = 86_400;

/** Time for which all certificates of a verified chain remain valid, in seconds; negative if unknown. */
export function remainingValidity(ctx: X509StoreCtx): number {
	const chain = X509_STORE_CTX_get0_chain(ctx);
	const count = chain === null ? 0 : OPENSSL_sk_num(chain);
	if (chain === null || count <= 0) {
		return -1;
	}

	return Math.min(...Array.from({length: count}, (_, index) => secondsLeft(OPENSSL_sk_value(chain, index))));
}

function secondsLeft(certificate: X509): number {
	const {address, view} = difference;
	const seconds = (address + 4n) as Address;
	return ASN1_TIME_diff(address, seconds, null, X509_get0_notAfter(certificate)) === 1
		? view.getInt32(0, true) * SECONDS_PER_DAY + view.getInt32(4, true)
		: -1;
}
