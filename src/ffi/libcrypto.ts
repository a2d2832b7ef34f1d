/*++
/* NAME
/*	libcrypto 3
/* SUMMARY
/*	bindings of OpenSSL's libcrypto
/* DESCRIPTION
/*	C as it is, no policy. Results that are pointers are null when C
/*	says so; nonNull() turns a null that cannot happen into a panic.
/*	The error queue is shared with libssl.
/*
/*	The library is loaded `deep`. The Node.js binary contains an
/*	OpenSSL of its own and exports its symbols; without RTLD_DEEPBIND
/*	the two copies mix, and the process dies of it.
/*
/*	Nothing is called when this module is loaded: OpenSSL initializes
/*	itself at the first call, and tls_config_file has to be applied
/*	before that.
/*--*/

import koffi from 'koffi';
import {Panic} from '../errors.ts';
import type {Brand} from '../units.ts';
import {type Address, allocate} from './libc.ts';

/** A C pointer, told apart by what it points to. */
export type Pointer<Name extends string> = Brand<bigint, Name>;
export type X509 = Pointer<'X509'>;
export type X509Name = Pointer<'X509_NAME'>;
export type X509NameEntry = Pointer<'X509_NAME_ENTRY'>;
export type X509Store = Pointer<'X509_STORE'>;
export type X509StoreCtx = Pointer<'X509_STORE_CTX'>;
export type Asn1String = Pointer<'ASN1_STRING'>;
export type EvpPkey = Pointer<'EVP_PKEY'>;
export type EvpMd = Pointer<'EVP_MD'>;
type EvpMdCtx = Pointer<'EVP_MD_CTX'>;
export type Bio = Pointer<'BIO'>;
/** A function of ours that C may call: callback(3). */
export type BioCallback = Pointer<'BIO callback'>;
export type StackOfX509 = Pointer<'STACK_OF(X509)'>;
export type InitSettings = Pointer<'OPENSSL_INIT_SETTINGS'>;
type Pkcs8 = Pointer<'PKCS8_PRIV_KEY_INFO'>;

const libcrypto = koffi.load('libcrypto.so.3', {deep: true});

/** Guards a pointer on its way from C into the program. */
export function nonNull<P extends bigint>(pointer: P | null, made: string): P {
	if (pointer === null) {
		throw new Panic(`${made}: ${drainErrors().join('; ')}`);
	}

	return pointer;
}

/* crypto.h */
export const OPENSSL_INIT_new: () => InitSettings | null = libcrypto.func('void *OPENSSL_INIT_new(void)');
export const OPENSSL_INIT_free: (settings: InitSettings) => void = libcrypto.func(
	'void OPENSSL_INIT_free(void *settings)',
);
export const OPENSSL_INIT_set_config_filename: (settings: InitSettings, file: string) => number =
	libcrypto.func('int OPENSSL_INIT_set_config_filename(void *settings, const char *file)');
export const OPENSSL_INIT_set_config_appname: (settings: InitSettings, name: string) => number =
	libcrypto.func('int OPENSSL_INIT_set_config_appname(void *settings, const char *name)');
export const OPENSSL_INIT_set_config_file_flags: (settings: InitSettings, flags: number) => void =
	libcrypto.func('void OPENSSL_INIT_set_config_file_flags(void *settings, unsigned long flags)');
const CRYPTO_free: (pointer: Address, file: null, line: number) => void = libcrypto.func(
	'void CRYPTO_free(void *p, const char *file, int line)',
);

export const OpenSSL_version_num: () => number = libcrypto.func('unsigned long OpenSSL_version_num(void)');

/* err.h */
export const ERR_clear_error: () => void = libcrypto.func('void ERR_clear_error(void)');
const ERR_get_error_all: (
	file: Address,
	line: Address,
	func: Address,
	data: Address,
	flags: Address,
) => number = libcrypto.func(
	'unsigned long ERR_get_error_all(void *file, void *line, void *func, void *data, void *flags)',
);
const ERR_error_string_n: (code: number, text: Address, size: number) => void = libcrypto.func(
	'void ERR_error_string_n(unsigned long e, void *buf, size_t len)',
);
const ERR_TXT_STRING = 0x02;

/* Where C leaves the parts of an error: three pointers, two integers, and the text. */
const scratch = allocate(2048);
const TEXT = 64;
const TEXT_SIZE = 1024;

function at(offset: number): Address {
	return (scratch.address + BigInt(offset)) as Address;
}

function stringAt(offset: number): string {
	const pointer = scratch.view.getBigUint64(offset, true);
	return pointer === 0n ? '' : koffi.decode.string(pointer);
}

/**
 * Takes all entries off the error queue of this thread, oldest first.
 *
 * @returns the entries as Postfix words them: `error:CODE:LIB:FUNC:REASON:FILE:LINE:[DATA:]`.
 * Source: tls_print_errors(), postfix src/tls/tls_misc.c.
 */
export function drainErrors(): readonly string[] {
	const errors: string[] = [];
	for (;;) {
		const code = ERR_get_error_all(at(0), at(8), at(16), at(24), at(32));
		if (code === 0) {
			return errors;
		}

		ERR_error_string_n(code, at(TEXT), TEXT_SIZE);
		const text = koffi.decode.string(at(TEXT));
		const place = `${text}:${stringAt(0)}:${scratch.view.getInt32(8, true)}:`;
		const hasData = (scratch.view.getInt32(32, true) & ERR_TXT_STRING) !== 0;
		errors.push(hasData ? `${place}${stringAt(24)}:` : place);
	}
}

/* objects.h */
export const OBJ_nid2sn: (nid: number) => string | null = libcrypto.func('const char *OBJ_nid2sn(int nid)');
export const OBJ_sn2nid: (name: string) => number = libcrypto.func('int OBJ_sn2nid(const char *name)');
export const OBJ_ln2nid: (name: string) => number = libcrypto.func('int OBJ_ln2nid(const char *name)');
export const EC_curve_nist2nid: (name: string) => number = libcrypto.func(
	'int EC_curve_nist2nid(const char *name)',
);
export const NID_undef = 0;
export const NID_commonName = 13;
export const NID_organizationName = 17;

/* evp.h */
export const EVP_get_digestbyname: (name: string) => EvpMd | null = libcrypto.func(
	'const void *EVP_get_digestbyname(const char *name)',
);
export const EVP_MD_get_size: (md: EvpMd) => number = libcrypto.func('int EVP_MD_get_size(const void *md)');
const EVP_MD_CTX_new: () => EvpMdCtx | null = libcrypto.func('void *EVP_MD_CTX_new(void)');
const EVP_MD_CTX_free: (ctx: EvpMdCtx) => void = libcrypto.func('void EVP_MD_CTX_free(void *ctx)');
const EVP_DigestInit_ex: (ctx: EvpMdCtx, md: EvpMd, engine: null) => number = libcrypto.func(
	'int EVP_DigestInit_ex(void *ctx, const void *md, void *engine)',
);
const EVP_DigestUpdate: (ctx: EvpMdCtx, data: Uint8Array, size: number) => number = libcrypto.func(
	'int EVP_DigestUpdate(void *ctx, const void *d, size_t n)',
);
const EVP_DigestFinal_ex: (ctx: EvpMdCtx, md: Address, size: null) => number = libcrypto.func(
	'int EVP_DigestFinal_ex(void *ctx, void *md, void *s)',
);
export const EVP_PKEY_RSA = 6;
export const EVP_PKEY_DH = 28;
export const EVP_PKEY_EC = 408;
export const EVP_PKEY_KEYMGMT = -1;
export const EVP_PKEY_free: (key: EvpPkey) => void = libcrypto.func('void EVP_PKEY_free(void *key)');
export const EVP_PKEY_get_id: (key: EvpPkey) => number = libcrypto.func(
	'int EVP_PKEY_get_id(const void *key)',
);
export const EVP_PKEY_get_bits: (key: EvpPkey) => number = libcrypto.func(
	'int EVP_PKEY_get_bits(const void *key)',
);
export const EVP_PKEY_get0_type_name: (key: EvpPkey) => string | null = libcrypto.func(
	'const char *EVP_PKEY_get0_type_name(const void *key)',
);
const EVP_PKEY_get_group_name: (key: EvpPkey, name: Address, size: number, length: null) => number =
	libcrypto.func('int EVP_PKEY_get_group_name(const void *key, void *name, size_t size, void *len)');

/** Name of the group of an elliptic-curve key, empty when it has none. */
export function groupNameOf(key: EvpPkey): string {
	const found = EVP_PKEY_get_group_name(key, at(TEXT), TEXT_SIZE, null);
	return found === 1 ? koffi.decode.string(at(TEXT)) : '';
}

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
export const X509_verify_cert_error_string: (code: number) => string = libcrypto.func(
	'const char *X509_verify_cert_error_string(long n)',
);

/** A name on one line, at most 255 bytes, as the log of Postfix shows it. */
export function oneline(name: X509Name): string {
	const ONELINE_SIZE = 256;
	return X509_NAME_oneline(name, at(TEXT), ONELINE_SIZE) === null ? '' : koffi.decode.string(at(TEXT));
}

/* asn1.h */
const ASN1_STRING_to_UTF8: (out: Address, text: Asn1String) => number = libcrypto.func(
	'int ASN1_STRING_to_UTF8(void *out, const void *in)',
);
export const ASN1_STRING_type: (text: Asn1String) => number = libcrypto.func(
	'int ASN1_STRING_type(const void *x)',
);

/** The bytes of a string in UTF-8, copied; undefined when it cannot be converted. */
export function utf8BytesOf(text: Asn1String): Buffer | undefined {
	return encodeDer(out => ASN1_STRING_to_UTF8(out, text));
}

const i2d_X509: (certificate: X509, out: Address) => number = libcrypto.func(
	'int i2d_X509(const void *x, void *out)',
);
const i2d_PUBKEY: (key: EvpPkey, out: Address) => number = libcrypto.func(
	'int i2d_PUBKEY(const void *key, void *out)',
);

/** The DER form of a certificate. */
export function derOfCertificate(certificate: X509): Buffer | undefined {
	return encodeDer(out => i2d_X509(certificate, out));
}

/** The DER form of a public key as SubjectPublicKeyInfo. */
export function derOfPublicKey(key: EvpPkey): Buffer | undefined {
	return encodeDer(out => i2d_PUBKEY(key, out));
}

/** Bytes from a function of the i2d_ family, which allocates them and leaves their address; undefined when it fails. */
export function encodeDer(produce: (out: Address) => number): Buffer | undefined {
	scratch.view.setBigUint64(40, 0n, true);
	const length = produce(at(40));
	const pointer = scratch.view.getBigUint64(40, true) as Address;
	if (length < 0 || pointer === 0n) {
		return undefined;
	}

	const copy = Buffer.from(koffi.view(pointer, length).slice(0));
	CRYPTO_free(pointer, null, 0);
	return copy;
}

/* bio.h, pem.h: certificates and keys in files */
export const BIO_new_file: (path: string, mode: string) => Bio | null = libcrypto.func(
	'void *BIO_new_file(const char *path, const char *mode)',
);
export const BIO_set_callback_ex: (bio: Bio, callback: BioCallback | null) => void = libcrypto.func(
	'void BIO_set_callback_ex(void *bio, void *callback)',
);
export const BIO_free: (bio: Bio) => number = libcrypto.func('int BIO_free(void *bio)');
const PEM_read_bio: (bio: Bio, name: Address, header: Address, data: Address, length: Address) => number =
	libcrypto.func('int PEM_read_bio(void *bio, void *name, void *header, void *data, void *len)');

/** One block of a PEM file. */
export interface PemObject {
	readonly label: string;
	readonly der: Buffer;
}

/** Reads the next PEM block; undefined at the end of the file or at a malformed block: endOfPem() tells which. */
export function readPem(bio: Bio): PemObject | undefined {
	if (PEM_read_bio(bio, at(0), at(8), at(16), at(24)) !== 1) {
		return undefined;
	}

	const [name, header, data] = [0, 8, 16].map(offset => scratch.view.getBigUint64(offset, true) as Address);
	const length = Number(scratch.view.getBigInt64(24, true));
	const label = name === undefined ? '' : koffi.decode.string(name);
	const der = Buffer.from(data === undefined ? [] : new Uint8Array(koffi.view(data, length).slice(0)));
	for (const pointer of [name, header, data]) {
		if (pointer !== undefined && pointer !== 0n) {
			CRYPTO_free(pointer, null, 0);
		}
	}

	return {label, der};
}

const ERR_peek_last_error: () => number = libcrypto.func('unsigned long ERR_peek_last_error(void)');

/** Whether readPem() has come to the end of the file. If not, the error queue says what it came upon. */
export function endOfPem(): boolean {
	const REASON_MASK = 0x7f_ff_ff;
	const PEM_R_NO_START_LINE = 108;
	return (ERR_peek_last_error() & REASON_MASK) === PEM_R_NO_START_LINE;
}

const d2i_X509: (a: null, position: Address, length: number) => X509 | null = libcrypto.func(
	'void *d2i_X509(void *a, void *pp, long length)',
);
const d2i_PKCS8_PRIV_KEY_INFO: (a: null, position: Address, length: number) => Pkcs8 | null = libcrypto.func(
	'void *d2i_PKCS8_PRIV_KEY_INFO(void *a, void *pp, long length)',
);
const EVP_PKCS82PKEY: (info: Pkcs8) => EvpPkey | null = libcrypto.func(
	'void *EVP_PKCS82PKEY(const void *info)',
);
const PKCS8_PRIV_KEY_INFO_free: (info: Pkcs8) => void = libcrypto.func(
	'void PKCS8_PRIV_KEY_INFO_free(void *info)',
);
const d2i_PrivateKey: (type: number, a: null, position: Address, length: number) => EvpPkey | null =
	libcrypto.func('void *d2i_PrivateKey(int type, void *a, void *pp, long length)');

/** What became of DER bytes: the object, how many bytes behind it were left over; undefined when C refused them. */
export interface Decoded<P> {
	readonly object: P;
	readonly excess: number;
}

/** Takes bytes to a function of the d2i_ family; where it leaves its pointer tells what was left over. */
export function decodeDer<P extends bigint>(
	der: Uint8Array,
	decode: (position: Address, length: number) => P | null,
): Decoded<P> | undefined {
	const start = koffi.alloc('uint8_t', Math.max(der.length, 1)) as Address;
	new Uint8Array(koffi.view(start, der.length)).set(der);
	scratch.view.setBigUint64(40, start, true);
	const object = decode(at(40), der.length);
	const excess = der.length - Number(scratch.view.getBigUint64(40, true) - start);
	koffi.free(start);
	return object === null ? undefined : {object, excess};
}

/** Parses a certificate. The caller owns it. */
export function decodeCertificate(der: Uint8Array): Decoded<X509> | undefined {
	return decodeDer(der, (position, length) => d2i_X509(null, position, length));
}

/**
 * Parses a private key. The caller owns it.
 *
 * @param type - EVP_PKEY_… of a traditional key, or `undefined` for PKCS#8.
 */
export function decodePrivateKey(der: Uint8Array, type: number | undefined): Decoded<EvpPkey> | undefined {
	return decodeDer(der, (position, length) => {
		if (type !== undefined) {
			return d2i_PrivateKey(type, null, position, length);
		}

		const info = d2i_PKCS8_PRIV_KEY_INFO(null, position, length);
		if (info === null) {
			return null;
		}

		const key = EVP_PKCS82PKEY(info);
		PKCS8_PRIV_KEY_INFO_free(info);
		return key;
	});
}

/* stack.h */
export const OPENSSL_sk_new_null: () => StackOfX509 | null = libcrypto.func(
	'void *OPENSSL_sk_new_null(void)',
);
export const OPENSSL_sk_push: (stack: StackOfX509, item: X509) => number = libcrypto.func(
	'int OPENSSL_sk_push(void *st, const void *data)',
);
/** Releases the stack only: the items stay with their owner. */
export const OPENSSL_sk_free: (stack: StackOfX509) => void = libcrypto.func('void OPENSSL_sk_free(void *st)');

/**
 * Digest of some bytes.
 *
 * @returns `undefined` when the library fails. Source: postfix src/tls/tls_fprint.c.
 */
export function digestOf(md: EvpMd, data: Uint8Array): Buffer | undefined {
	const ctx = nonNull(EVP_MD_CTX_new(), 'EVP_MD_CTX_new');
	const done =
		EVP_DigestInit_ex(ctx, md, null) === 1 &&
		EVP_DigestUpdate(ctx, data, data.length) === 1 &&
		EVP_DigestFinal_ex(ctx, at(TEXT), null) === 1;
	EVP_MD_CTX_free(ctx);
	return done ? Buffer.from(scratch.bytes.slice(TEXT, TEXT + EVP_MD_get_size(md))) : undefined;
}
