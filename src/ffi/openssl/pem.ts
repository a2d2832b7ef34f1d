/*++
/* NAME
/*	pem 3
/* SUMMARY
/*	bindings of OpenSSL's libcrypto: certificates and keys in files
/* DESCRIPTION
/*	C as it is, no policy. Blocks of PEM files come out by value; what
/*	is made of their bytes belongs to the caller.
/*--*/

import {addon as koffi} from '../libc/addon.ts';
import {type Address, allocate} from '../libc/libc.ts';
import {CRYPTO_free, type Decoded, decodeDer, type EvpPkey, isOpenssl3, type Pointer} from './libcrypto.ts';
import {libcrypto} from './openssl.ts';
import type {X509} from './x509.ts';

export type Bio = Pointer<'BIO'>;
/** A function of ours that C may call: callback(3). */
export type BioCallback = Pointer<'BIO callback'>;
type BioMethod = Pointer<'BIO_METHOD'>;
type Pkcs8 = Pointer<'PKCS8_PRIV_KEY_INFO'>;

/* Where C leaves the parts of a block: three pointers and a length. */
const scratch = allocate(64);

function at(offset: number): Address {
	return (scratch.address + BigInt(offset)) as Address;
}

/**
 * The name of a file, for C.
 *
 * @param name - one character per byte. A string would be converted to UTF-8 a second time.
 */
export function pathBytes(name: string): Uint8Array {
	return Buffer.from(`${name}\0`, 'latin1');
}

/* bio.h, pem.h: certificates and keys in files */
export const BIO_new_file: (path: Uint8Array, mode: string) => Bio | null = libcrypto.func(
	'void *BIO_new_file(const char *path, const char *mode)',
);
const BIO_s_mem: () => BioMethod = libcrypto.func('const void *BIO_s_mem(void)');
const BIO_new: (method: BioMethod) => Bio | null = libcrypto.func('void *BIO_new(const void *type)');
const BIO_write: (bio: Bio, data: Uint8Array, size: number) => number = libcrypto.func(
	'int BIO_write(void *b, const void *data, int dlen)',
);

/** A copy of some bytes, to be read like a file; null when there is no memory. */
export function bioOf(bytes: Uint8Array): Bio | null {
	const bio = BIO_new(BIO_s_mem());
	if (bio !== null && bytes.length > 0) {
		BIO_write(bio, bytes, bytes.length);
	}

	return bio;
}

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
	const REASON_MASK = isOpenssl3() ? 0x7f_ff_ff : 0xf_ff;
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
