/*++
/* NAME
/*	dane 3
/* SUMMARY
/*	bindings of OpenSSL: DANE, and the names that a certificate must match
/* DESCRIPTION
/*	The functions add no policy. TLSA records are passed and returned
/*	by value.
/* SEE ALSO
/*	SSL_CTX_dane_enable(3ssl), SSL_set1_host(3ssl)
/*--*/

import {addon as koffi} from '../libc/addon.ts';
import {type Address, allocate, cText} from '../libc/libc.ts';
import {libssl} from './binding.ts';
import type {EvpMd} from './libcrypto.ts';
import type {Ssl} from './ssl.ts';
import type {SslCtx} from './ssl-ctx.ts';

const scratch = allocate(64);

export const X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS = 0x4;
export const DANE_FLAG_NO_DANE_EE_NAMECHECKS = 0x1;
export const SSL_set_hostflags: (ssl: Ssl, flags: number) => void = libssl.func(
	'void SSL_set_hostflags(void *ssl, unsigned int flags)',
);
const SSL_add1_hostC: (ssl: Ssl, name: Uint8Array) => number = libssl.func(
	'int SSL_add1_host(void *ssl, const void *name)',
);

/** @param name - one character per byte. */
export function SSL_add1_host(ssl: Ssl, name: string): number {
	return SSL_add1_hostC(ssl, cText(name));
}

export const SSL_CTX_dane_enable: (ctx: SslCtx) => number = libssl.func('int SSL_CTX_dane_enable(void *ctx)');
export const SSL_CTX_dane_mtype_set: (ctx: SslCtx, md: EvpMd | null, mtype: number, order: number) => number =
	libssl.func('int SSL_CTX_dane_mtype_set(void *ctx, const void *md, uint8_t mtype, uint8_t ord)');
export const SSL_dane_enable: (ssl: Ssl, domain: string | null) => number = libssl.func(
	'int SSL_dane_enable(void *ssl, const char *basedomain)',
);
export const SSL_dane_set_flags: (ssl: Ssl, flags: number) => number = libssl.func(
	'unsigned long SSL_dane_set_flags(void *ssl, unsigned long flags)',
);
const SSL_dane_tlsa_add: (
	ssl: Ssl,
	usage: number,
	selector: number,
	mtype: number,
	data: Uint8Array,
	size: number,
) => number = libssl.func(
	'int SSL_dane_tlsa_add(void *ssl, uint8_t usage, uint8_t selector, uint8_t mtype, const void *data, size_t dlen)',
);

/** A TLSA record, with the fields of RFC 6698. */
export interface TlsaRecord {
	readonly usage: number;
	readonly selector: number;
	readonly mtype: number;
	readonly data: Uint8Array;
}

/** Adds a record, which is copied. Returns a positive number if it is usable, zero if not, negative on failure. */
export function addTlsa(ssl: Ssl, {usage, selector, mtype, data}: TlsaRecord): number {
	return SSL_dane_tlsa_add(ssl, usage & 0xff, selector & 0xff, mtype & 0xff, data, data.length);
}

const SSL_get0_dane_authority: (ssl: Ssl, certificate: Address, key: Address) => number = libssl.func(
	'int SSL_get0_dane_authority(void *ssl, void *mcert, void *mspki)',
);
const SSL_get0_dane_tlsa: (
	ssl: Ssl,
	usage: Address,
	selector: Address,
	mtype: Address,
	data: Address,
	size: Address,
) => number = libssl.func(
	'int SSL_get0_dane_tlsa(void *ssl, void *usage, void *selector, void *mtype, void *data, void *dlen)',
);

/** The record that matched. */
export interface DaneMatch extends TlsaRecord {
	/** Position of the certificate in the chain; zero for the certificate of the peer. */
	readonly depth: number;
	/** The record contains the key of a trust anchor that is not in the chain. */
	readonly bareKey: boolean;
}

/** The record that a verified chain matched; undefined if none did. */
export function daneMatch(ssl: Ssl): DaneMatch | undefined {
	const at = (offset: number): Address => (scratch.address + BigInt(offset)) as Address;
	scratch.view.setBigUint64(8, 0n, true);
	const depth = SSL_get0_dane_authority(ssl, at(0), at(8));
	const bareKey = scratch.view.getBigUint64(8, true) !== 0n;
	if (depth < 0 || SSL_get0_dane_tlsa(ssl, at(16), at(17), at(18), at(24), at(32)) < 0) {
		return undefined;
	}

	const [usage = 0, selector = 0, mtype = 0] = scratch.bytes.subarray(16, 19);
	const data = scratch.view.getBigUint64(24, true);
	const size = Number(scratch.view.getBigUint64(32, true));
	return {
		usage,
		selector,
		mtype,
		depth,
		bareKey,
		data: data === 0n ? new Uint8Array(0) : new Uint8Array(koffi.view(data, size).slice(0)),
	};
}
