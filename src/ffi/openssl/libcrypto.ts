/*++
/* NAME
/*	libcrypto 3
/* SUMMARY
/*	bindings of OpenSSL: errors, object names, digests, keys, DER
/* DESCRIPTION
/*	Functions of libcrypto that no other module has: those
/*	of crypto.h, err.h, objects.h and evp.h. They do what C does, and
/*	add no policy. A pointer that C returns can be null; nonNull()
/*	panics if it is. The error queue is that of libssl, too.
/* SEE ALSO
/*	binding(3), how the libraries are loaded; bio(3), pem(3), x509(3)
/*--*/

import {Panic} from '../../base/errors.ts';
import type {Brand} from '../../base/units.ts';
import {addon as koffi} from '../libc/addon.ts';
import {type Address, allocate, memcpy, strlen} from '../libc/libc.ts';
import {libcrypto} from './binding.ts';

/** A C pointer to an object of one type. */
export type Pointer<Name extends string> = Brand<bigint, Name>;
export type EvpPkey = Pointer<'EVP_PKEY'>;
export type EvpMd = Pointer<'EVP_MD'>;
type EvpMdCtx = Pointer<'EVP_MD_CTX'>;
type EcKey = Pointer<'EC_KEY'>;
type EcGroup = Pointer<'EC_GROUP'>;
export type InitSettings = Pointer<'OPENSSL_INIT_SETTINGS'>;

/**
 * Asserts that a pointer is not null.
 *
 * @param name - of the function that returned it.
 * @throws {Panic} with the entries of the error queue.
 */
export function nonNull<P extends bigint>(pointer: P | null, name: string): P {
	if (pointer === null) {
		throw new Panic(`${name}: ${drainErrors().join('; ')}`);
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
export const CRYPTO_free: (pointer: Address, file: null, line: number) => void = libcrypto.func(
	'void CRYPTO_free(void *p, const char *file, int line)',
);

export const OpenSSL_version_num: () => number = libcrypto.func('unsigned long OpenSSL_version_num(void)');

/** Whether the library is OpenSSL 3.0 or later. */
export function isOpenssl3(): boolean {
	return OpenSSL_version_num() >= 0x30_00_00_00;
}

/* err.h */
export const ERR_clear_error: () => void = libcrypto.func('void ERR_clear_error(void)');
const ERR_get_error_all: () =>
	| ((file: Address, line: Address, func: Address, data: Address, flags: Address) => number)
	| undefined = libcrypto.optional(
	'unsigned long ERR_get_error_all(void *file, void *line, void *func, void *data, void *flags)',
);
/* OpenSSL 1.1.1, where the name of the function is part of the error code. */
const ERR_get_error_line_data: () =>
	| ((file: Address, line: Address, data: Address, flags: Address) => number)
	| undefined = libcrypto.optional(
	'unsigned long ERR_get_error_line_data(void *file, void *line, void *data, void *flags)',
);
const ERR_error_string_n: (code: number, text: Address, size: number) => void = libcrypto.func(
	'void ERR_error_string_n(unsigned long e, void *buf, size_t len)',
);
const ERR_TXT_STRING = 0x02;

/* Results of C functions: the parts of an error (three pointers, two integers), a pointer, and text. */
const scratch = allocate(2048);
const TEXT = 64;
const TEXT_SIZE = 1024;

function at(offset: number): Address {
	return (scratch.address + BigInt(offset)) as Address;
}

/* One character per byte: file names in errors are not always valid UTF-8. */
function stringAt(offset: number): string {
	const pointer = scratch.view.getBigUint64(offset, true) as Address;
	return pointer === 0n
		? ''
		: Buffer.from(new Uint8Array(koffi.view(pointer, strlen(pointer)))).toString('latin1');
}

/**
 * Removes all entries from the error queue of this thread.
 *
 * @returns the entries in the format of Postfix, `error:CODE:LIB:FUNC:REASON:FILE:LINE:[DATA:]`, oldest first.
 * Source: tls_print_errors(), postfix src/tls/tls_misc.c.
 */
export function drainErrors(): readonly string[] {
	const errors: string[] = [];
	for (;;) {
		const code =
			ERR_get_error_all()?.(at(0), at(8), at(16), at(24), at(32)) ??
			ERR_get_error_line_data()?.(at(0), at(8), at(24), at(32)) ??
			0;
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
export const EVP_MD_get_size: (md: EvpMd) => number = libcrypto.func(
	'int EVP_MD_get_size(const void *md)',
	'EVP_MD_size',
);
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
	'EVP_PKEY_id',
);
export const EVP_PKEY_get_bits: (key: EvpPkey) => number = libcrypto.func(
	'int EVP_PKEY_get_bits(const void *key)',
	'EVP_PKEY_bits',
);

const EVP_PKEY_get0_type_name: () => ((key: EvpPkey) => string | null) | undefined = libcrypto.optional(
	'const char *EVP_PKEY_get0_type_name(const void *key)',
);

/** Name of the type of a key; empty in OpenSSL 1.1.1, where every type has a number. */
export function typeNameOf(key: EvpPkey): string {
	return EVP_PKEY_get0_type_name()?.(key) ?? '';
}

const EVP_PKEY_get_group_name: () =>
	| ((key: EvpPkey, name: Address, size: number, length: null) => number)
	| undefined = libcrypto.optional(
	'int EVP_PKEY_get_group_name(const void *key, void *name, size_t size, void *len)',
);
const EVP_PKEY_get0_EC_KEY: () => ((key: EvpPkey) => EcKey | null) | undefined = libcrypto.optional(
	'void *EVP_PKEY_get0_EC_KEY(void *key)',
);
const EC_KEY_get0_group: () => ((key: EcKey) => EcGroup | null) | undefined = libcrypto.optional(
	'const void *EC_KEY_get0_group(const void *key)',
);
const EC_GROUP_get_curve_name: () => ((group: EcGroup) => number) | undefined = libcrypto.optional(
	'int EC_GROUP_get_curve_name(const void *group)',
);
const EC_curve_nid2nist: () => ((nid: number) => string | null) | undefined = libcrypto.optional(
	'const char *EC_curve_nid2nist(int nid)',
);

/** Name of the group of an elliptic-curve key; empty if it has no name. With OpenSSL 1.1.1, the NIST name if NIST has named the group. */
export function groupNameOf(key: EvpPkey): string {
	const getGroupName = EVP_PKEY_get_group_name();
	if (getGroupName !== undefined) {
		return getGroupName(key, at(TEXT), TEXT_SIZE, null) === 1 ? koffi.decode.string(at(TEXT)) : '';
	}

	const ecKey = EVP_PKEY_get0_EC_KEY()?.(key) ?? null;
	const group = ecKey === null ? null : (EC_KEY_get0_group()?.(ecKey) ?? null);
	const nid = group === null ? NID_undef : (EC_GROUP_get_curve_name()?.(group) ?? NID_undef);
	return nid === NID_undef ? '' : (EC_curve_nid2nist()?.(nid) ?? OBJ_nid2sn(nid) ?? '');
}

/* DER */

/* Larger than most names, keys, certificates and sessions. Copying to it costs less than a new view of C memory. */
const COPY_BUFFER_SIZE = 8192;
const copyBuffer = allocate(COPY_BUFFER_SIZE);

function copyOf(pointer: Address, length: number): Buffer {
	if (length > COPY_BUFFER_SIZE) {
		return Buffer.from(koffi.view(pointer, length).slice(0));
	}

	memcpy(copyBuffer.address, pointer, length);
	return Buffer.from(copyBuffer.bytes.subarray(0, length));
}

/**
 * Calls a function of the i2d_ family.
 *
 * @param encode - passes on the address where the function stores the pointer to the bytes that it allocates.
 * @returns a copy of the bytes, which are released; undefined on failure.
 */
export function encodeDer(encode: (out: Address) => number): Buffer | undefined {
	scratch.view.setBigUint64(40, 0n, true);
	const length = encode(at(40));
	const pointer = scratch.view.getBigUint64(40, true) as Address;
	if (length < 0 || pointer === 0n) {
		return undefined;
	}

	const copy = copyOf(pointer, length);
	CRYPTO_free(pointer, null, 0);
	return copy;
}

/** A decoded object. */
export interface Decoded<P> {
	/** Owned by the caller. */
	readonly object: P;
	/** Number of bytes after the object. */
	readonly excess: number;
}

/**
 * Calls a function of the d2i_ family.
 *
 * @param decode - passes on the address of a pointer to the bytes, and their number.
 * @returns undefined if the function rejects the bytes.
 */
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

/**
 * The digest of some bytes.
 *
 * @returns `undefined` on failure. Source: postfix src/tls/tls_fprint.c.
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

let sha256Md: EvpMd | null | undefined;

/**
 * The SHA-256 digest of some bytes; undefined if OpenSSL does not have this digest. The function of Node.js
 * would initialize the other copy of OpenSSL.
 */
export function sha256(data: Uint8Array): Buffer | undefined {
	sha256Md ??= EVP_get_digestbyname('sha256');
	return sha256Md === null ? undefined : digestOf(sha256Md, data);
}
