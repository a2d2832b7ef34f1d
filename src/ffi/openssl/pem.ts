/*++
/* NAME
/*	pem 3
/* SUMMARY
/*	bindings of OpenSSL: certificates and keys in PEM and DER form
/* DESCRIPTION
/*	Functions of openssl/pem.h and of the d2i_ family. They add no
/*	policy. PEM objects are returned by value. Certificates and keys
/*	that are decoded from them are owned by the caller.
/*--*/

import {addon as koffi} from '../libc/addon.ts';
import {type Address, allocate} from '../libc/libc.ts';
import {libcrypto} from './binding.ts';
import type {Bio} from './bio.ts';
import {CRYPTO_free, type Decoded, decodeDer, type EvpPkey, isOpenssl3, type Pointer} from './libcrypto.ts';
import type {X509} from './x509.ts';

type Pkcs8 = Pointer<'PKCS8_PRIV_KEY_INFO'>;

/* The results of PEM_read_bio(): three pointers and a length. */
const scratch = allocate(64);

function at(offset: number): Address {
	return (scratch.address + BigInt(offset)) as Address;
}

const PEM_read_bio: (bio: Bio, name: Address, header: Address, data: Address, length: Address) => number =
	libcrypto.func('int PEM_read_bio(void *bio, void *name, void *header, void *data, void *len)');

/** An object of a PEM file. */
export interface PemObject {
	readonly label: string;
	readonly der: Buffer;
}

/**
 * Reads the next PEM object.
 *
 * @returns undefined at the end of the file, and at a malformed object: see {@link endOfPem}.
 */
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

/** Whether readPem() has reached the end of the file. Otherwise the error queue has the reason. */
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

/** Decodes a certificate, which the caller owns. */
export function decodeCertificate(der: Uint8Array): Decoded<X509> | undefined {
	return decodeDer(der, (position, length) => d2i_X509(null, position, length));
}

/**
 * Decodes a private key, which the caller owns.
 *
 * @param type - EVP_PKEY_… of a key in traditional form, or `undefined` for PKCS#8.
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
