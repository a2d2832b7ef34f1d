/*++
/* NAME
/*	option-lists 3
/* SUMMARY
/*	parses the protocol, cipher and option lists of Postfix
/* DESCRIPTION
/*	Converts parameter values to values for OpenSSL. For an invalid
/*	keyword, the result contains the error or a warning is logged, as
/*	in Postfix.
/* SEE ALSO
/*	postfix src/tls/tls_misc.c
/*--*/

import {Lru} from '../base/lru.ts';
import {splitList} from '../base/text.ts';
import {
	SSL_OP_ALL,
	SSL_OP_CIPHER_SERVER_PREFERENCE,
	SSL_OP_CRYPTOPRO_TLSEXT_BUG,
	SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS,
	SSL_OP_ENABLE_MIDDLEBOX_COMPAT,
	SSL_OP_IGNORE_UNEXPECTED_EOF,
	SSL_OP_LEGACY_SERVER_CONNECT,
	SSL_OP_NO_COMPRESSION,
	SSL_OP_NO_RENEGOTIATION,
	SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION,
	SSL_OP_NO_SSLv3,
	SSL_OP_NO_TICKET,
	SSL_OP_NO_TLSv1,
	SSL_OP_NO_TLSv1_1,
	SSL_OP_NO_TLSv1_2,
	SSL_OP_NO_TLSv1_3,
	SSL_OP_PRIORITIZE_CHACHA,
	SSL_OP_SAFARI_ECDHE_ECDSA_BUG,
	SSL_OP_TLS_ROLLBACK_BUG,
	SSL_OP_TLSEXT_PADDING,
} from '../ffi/openssl/ssl-ctx.ts';
import {warning} from '../log/log.ts';

/* Protocols */

/** The protocol versions that a list enables. */
export interface ProtocolRange {
	/** SSL_OP_NO_… bits of the disabled versions. */
	readonly disabled: number;
	/** Lowest version, as in the protocol; 0: no limit. */
	readonly minimum: number;
	/** Highest version, as in the protocol; 0: no limit. */
	readonly maximum: number;
}

const protocols: ReadonlyMap<string, {readonly version: number; readonly off: number}> = new Map([
	/* SSLv2 is accepted and has no effect. */
	['sslv2', {version: 0x0002, off: 0}],
	['sslv3', {version: 0x0300, off: SSL_OP_NO_SSLv3}],
	['tlsv1', {version: 0x0301, off: SSL_OP_NO_TLSv1}],
	['tlsv1.1', {version: 0x0302, off: SSL_OP_NO_TLSv1_1}],
	['tlsv1.2', {version: 0x0303, off: SSL_OP_NO_TLSv1_2}],
	['tlsv1.3', {version: 0x0304, off: SSL_OP_NO_TLSv1_3}],
]);

const everyProtocol = [...protocols.values()].reduce((all, {off}) => all | off, 0);

/**
 * Parses a protocol list such as `>=TLSv1` or `!SSLv2, !SSLv3`.
 *
 * @param limits - whether the release supports `>=` and `<=`.
 * @returns undefined if the list is invalid. Source: tls_proto_mask_lims(), postfix src/tls/tls_misc.c.
 */
export function parseProtocols(list: string, limits = true): ProtocolRange | undefined {
	const cache = limits ? ranges : rangesWithoutLimits;
	const cached = cache.get(list);
	if (cached !== undefined) {
		return cached;
	}

	const range = rangeOf(list, limits);
	/* An invalid list is not cached: the requests of a site contain two or three valid ones. */
	if (range !== undefined) {
		cache.set(list, range);
	}

	return range;
}

const RANGE_LIMIT = 100;
const ranges = new Lru<string, ProtocolRange>(RANGE_LIMIT);
const rangesWithoutLimits = new Lru<string, ProtocolRange>(RANGE_LIMIT);

function rangeOf(list: string, limits: boolean): ProtocolRange | undefined {
	let included = 0;
	let excluded = 0;
	let minimum = 0;
	let maximum = 0;
	for (const token of splitList(list, ':')) {
		const limit = limits ? /^([<>])=(.*)$/.exec(token) : null;
		if (limit !== null) {
			const version = versionOf(limit[2] ?? '');
			if (version === undefined) {
				return undefined;
			}

			if (limit[1] === '>') {
				minimum = version;
			} else {
				maximum = version;
			}

			continue;
		}

		const negated = token.startsWith('!');
		const protocol = protocols.get((negated ? token.slice(1) : token).toLowerCase());
		if (protocol === undefined) {
			return undefined;
		}

		if (negated) {
			excluded |= protocol.off;
		} else {
			included |= protocol.off;
		}
	}

	const disabled = excluded | (included === 0 ? 0 : everyProtocol & ~included);
	return {disabled: disabled >>> 0, minimum, maximum};
}

/** Converts SSL_OP_NO_ bits to Postfix's mask of disabled protocols. Source: postfix src/tls/tls.h, TLS_PROTOCOL_. */
export function disabledVersions(disabled: number): number {
	let mask = 0;
	for (const {version, off} of protocols.values()) {
		if ((disabled & off) !== 0) {
			mask |= 2 << (version & 0xff);
		}
	}

	return mask;
}

function versionOf(text: string): number | undefined {
	const name = text.toLowerCase();
	if (name === 'none') {
		return 0;
	}

	const named = protocols.get(name);
	if (named !== undefined) {
		return named.version;
	}

	const INT_MAX = 0x7fffffff;
	const number = /^(0x)?[0-9a-f]+$/i.test(text) ? Number.parseInt(text, 16) : Number.NaN;
	return number <= INT_MAX ? number : undefined;
}

/* Ciphers */

/** The cipher lists of the grades. */
export interface CipherGrades {
	readonly tls_high_cipherlist: string;
	readonly tls_medium_cipherlist: string;
	readonly tls_low_cipherlist?: string | undefined;
	readonly tls_export_cipherlist?: string | undefined;
	readonly tls_null_cipherlist: string;
}

/** An OpenSSL cipher list, or the invalid part of the request. */
export type CipherList =
	| {readonly list: string}
	| {readonly invalidGrade: string}
	| {readonly invalidExclusion: string};

/**
 * The cipher list of a grade, without exclusions.
 *
 * From Postfix 3.8 on the low and export lists are empty or do not exist: these grades are the same as medium.
 * Source: tls_set_ciphers(), postfix src/tls/tls_misc.c.
 */
export function cipherList(grades: CipherGrades, grade: string, exclusions: string): CipherList {
	const base = gradeList(grades, grade.toLowerCase());
	if (base === undefined) {
		return {invalidGrade: grade};
	}

	let list = base;
	for (const token of splitList(exclusions, ':')) {
		if (/^[!+\-@]/.test(token)) {
			return {invalidExclusion: token};
		}

		list += `:!${token}`;
	}

	return {list};
}

function gradeList(grades: CipherGrades, grade: string): string | undefined {
	switch (grade) {
		case 'high':
			return grades.tls_high_cipherlist;
		case 'medium':
			return grades.tls_medium_cipherlist;
		case 'low':
			return grades.tls_low_cipherlist || grades.tls_medium_cipherlist;
		case 'export':
			return grades.tls_export_cipherlist || grades.tls_medium_cipherlist;
		case 'null':
			return grades.tls_null_cipherlist;
		default:
			return undefined;
	}
}

/* Options */

/* Zero: OpenSSL no longer has this workaround. */
const workarounds: ReadonlyMap<string, number> = new Map([
	...[
		'MICROSOFT_SESS_ID_BUG',
		'NETSCAPE_CHALLENGE_BUG',
		'NETSCAPE_REUSE_CIPHER_CHANGE_BUG',
		'CVE-2010-4180',
		'SSLREF2_REUSE_CERT_TYPE_BUG',
		'MICROSOFT_BIG_SSLV3_BUFFER',
		'MSIE_SSLV2_RSA_PADDING',
		'CVE-2005-2969',
		'SSLEAY_080_CLIENT_DH_BUG',
		'TLS_D5_BUG',
		'TLS_BLOCK_PADDING_BUG',
	].map(name => [name, 0] as const),
	['LEGACY_SERVER_CONNECT', SSL_OP_LEGACY_SERVER_CONNECT],
	['TLSEXT_PADDING', SSL_OP_TLSEXT_PADDING],
	['DONT_INSERT_EMPTY_FRAGMENTS', SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS],
	['TLS_ROLLBACK_BUG', SSL_OP_TLS_ROLLBACK_BUG],
	['CRYPTOPRO_TLSEXT_BUG', SSL_OP_CRYPTOPRO_TLSEXT_BUG],
]);

const optional: ReadonlyMap<string, number> = new Map([
	['LEGACY_SERVER_CONNECT', SSL_OP_LEGACY_SERVER_CONNECT],
	['NO_TICKET', SSL_OP_NO_TICKET],
	['NO_COMPRESSION', SSL_OP_NO_COMPRESSION],
	['NO_RENEGOTIATION', SSL_OP_NO_RENEGOTIATION],
	['NO_SESSION_RESUMPTION_ON_RENEGOTIATION', SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION],
	['PRIORITIZE_CHACHA', SSL_OP_PRIORITIZE_CHACHA],
	['ENABLE_MIDDLEBOX_COMPAT', SSL_OP_ENABLE_MIDDLEBOX_COMPAT],
]);

/* Options that other parameters control. */
const managed = SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF | everyProtocol;

/**
 * The option bits of an SSL_CTX.
 *
 * @param disabledWorkarounds - value of tls_disable_workarounds.
 * @param sslOptions - value of tls_ssl_options.
 * @param noRenegotiation - disables renegotiation, in addition to tls_ssl_options.
 * @returns an unsigned 32-bit number. Source: tls_bug_bits(), postfix src/tls/tls_misc.c.
 */
export function contextOptions(
	disabledWorkarounds: string,
	sslOptions: string,
	noRenegotiation: boolean,
): number {
	let bits = SSL_OP_ALL();
	if (disabledWorkarounds !== '') {
		bits &= ~(
			bitsOf('tls_disable_workarounds', disabledWorkarounds, workarounds) | SSL_OP_SAFARI_ECDHE_ECDSA_BUG
		);
	}

	bits |= bitsOf('tls_ssl_options', sslOptions, optional) & ~(SSL_OP_ALL() | managed);
	bits |= noRenegotiation ? SSL_OP_NO_RENEGOTIATION : 0;
	return (bits | SSL_OP_IGNORE_UNEXPECTED_EOF) >>> 0;
}

function bitsOf(parameter: string, text: string, names: ReadonlyMap<string, number>): number {
	let bits = 0;
	for (const token of splitList(text)) {
		const named = names.get(token.toUpperCase());
		if (named !== undefined) {
			bits |= named;
		} else if (/^0x[0-9a-f]{1,8}$/i.test(token)) {
			bits |= Number.parseInt(token, 16);
		} else {
			warning(`unknown ${parameter} value "${token}" in "${text}"`);
		}
	}

	return bits;
}
