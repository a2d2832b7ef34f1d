/*++
/* NAME
/*	policy 3
/* SUMMARY
/*	configure OpenSSL for a TLS security level
/* DESCRIPTION
/*	OpenSSL verifies the server; this module configures the checks of
/*	the security level: names at the levels verify and secure, TLSA
/*	records at the DANE levels, and synthetic TLSA records for
/*	fingerprints and trust-anchor files.
/*
/*	A failed check does not end the handshake: smtp(8) decides from
/*	the report. If a policy cannot be applied, the connection is marked
/*	must-fail: no certificate matches.
/* SEE ALSO
/*	postfix src/tls/tls_dane.c, src/tls/tls_client.c
/*--*/

import {hexText, splitList} from '../../base/text.ts';
import type {ReleaseFeatures} from '../../conf/release.ts';
import {
	addTlsa,
	DANE_FLAG_NO_DANE_EE_NAMECHECKS,
	SSL_add1_host,
	SSL_CTX_dane_enable,
	SSL_CTX_dane_mtype_set,
	SSL_dane_enable,
	SSL_dane_set_flags,
	SSL_set_hostflags,
	type TlsaRecord,
	X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
} from '../../ffi/openssl/dane.ts';
import {EVP_get_digestbyname, type EvpMd} from '../../ffi/openssl/libcrypto.ts';
import type {Ssl} from '../../ffi/openssl/ssl.ts';
import type {SslCtx} from '../../ffi/openssl/ssl-ctx.ts';
import {warning} from '../../log/log.ts';
import type {ClientStart} from '../../wire/client-settings.ts';
import {printErrors} from '../library.ts';
import {acceptServerKey} from '../raw-public-keys.ts';
import type {FailureReporter} from './failure-reporter.ts';
import {namePattern} from './server-name.ts';

/* Usage and selector. Source: RFC 7218. */
const DANE_EE = 3;
const SPKI = 1;

/* Security levels. Source: postfix src/tls/tls.h. */
const TLS_LEV_ENCRYPT = 2;
const TLS_LEV_FPRINT = 3;
export const TLS_LEV_HALF_DANE = 4;
const TLS_LEV_DANE = 5;
const TLS_LEV_DANE_ONLY = 6;
const TLS_LEV_VERIFY = 7;
const TLS_LEV_SECURE = 8;

/* In the order of their numbers. Source: postconf(5). */
const levelNames = 'none may encrypt fingerprint half-dane dane dane-only verify secure'.split(' ');

/** Whether the level depends on TLSA records from DNS. */
export function isDaneLevel(level: number): boolean {
	return level === TLS_LEV_HALF_DANE || level === TLS_LEV_DANE || level === TLS_LEV_DANE_ONLY;
}

/** Whether the certificate has to match at this level. */
export function mustMatch(level: number): boolean {
	return level > TLS_LEV_ENCRYPT;
}

/** The result of {@link applyPolicy}. */
export interface AppliedPolicy {
	/** The level in effect: without a usable TLSA record, dane becomes encrypt. */
	readonly level: number;
	/** The policy cannot be applied: no certificate or key of the peer matches. */
	readonly mustFail: boolean;
	/**
	 * The names that a certificate may have, if the result of verification depends only on them and on the
	 * SSL_CTX. Undefined with TLSA records.
	 */
	readonly names: readonly string[] | undefined;
}

/**
 * The reason why a request cannot be served at its level; undefined if it can.
 *
 * Note: stock crashes when a request at a DANE level has no DANE block. A DANE block without records is
 * valid: the chain must then end at a trusted authority, and the name is checked. This is not possible at the
 * level fingerprint, which checks no name: every server with a certificate from any trusted authority would
 * pass.
 */
export function policyError(start: ClientStart, {legacyVerification}: ReleaseFeatures): string | undefined {
	const {tls_level: level} = start;
	if (level < 0 || level > TLS_LEV_SECURE) {
		return `unknown TLS security level ${level}`;
	}

	if (!legacyVerification && level === TLS_LEV_FPRINT && recordsOf(start).length === 0) {
		return 'no fingerprints at TLS security level fingerprint';
	}

	return start.dane === undefined && isDaneLevel(level)
		? `no TLSA records at TLS security level ${level}`
		: undefined;
}

/** Configures the digests of TLSA records for a context. Source: tls_dane_init(), postfix src/tls/tls_dane.c. */
export function prepareDane(
	ctx: SslCtx,
	digests: string,
	fingerprintDigest: EvpMd,
	{legacyVerification}: ReleaseFeatures,
): boolean {
	if (SSL_CTX_dane_enable(ctx) <= 0) {
		warning('OpenSSL DANE initialization failed: disabling TLS support');
		printErrors();
		return false;
	}

	/* Most preferred first. A matching type that is not listed is disabled. */
	const listed = new Map<number, {readonly md: EvpMd | null; readonly order: number}>();
	const elements = splitList(digests);
	for (const [position, element] of elements.entries()) {
		const parsed = parseDigest(element, listed);
		if (parsed !== undefined) {
			/* Clients of releases with legacy verification select the digest themselves. */
			const order = legacyVerification ? 1 : elements.length - position;
			listed.set(parsed.mtype, {md: parsed.md, order});
		}
	}

	for (let mtype = 1; mtype <= Math.max(2, ...listed.keys()); mtype++) {
		const {md, order} = listed.get(mtype) ?? {md: null, order: 0};
		setDigest(ctx, md, mtype, order);
	}

	setDigest(ctx, fingerprintDigest, FINGERPRINT_MTYPE, elements.length + 1);
	return true;
}

/** Matching type of synthetic records: the digest of fingerprints. Source: DANE_EE fingerprints, tls_dane.c. */
const FINGERPRINT_MTYPE = 255;

const standardDigests: ReadonlyMap<string, number> = new Map([
	['sha256', 1],
	['sha512', 2],
]);

function parseDigest(
	element: string,
	listed: ReadonlyMap<number, unknown>,
): {readonly mtype: number; readonly md: EvpMd | null} | undefined {
	const [name = '', number] = element.split('=', 2);
	const mtype = number === undefined ? standardDigests.get(name.toLowerCase()) : Number(number);
	if (mtype === undefined) {
		warning(`tls_dane_digests: digest algorithm ${name} needs an explicit number`);
	} else if (number !== undefined && (!/^\d+$/.test(number) || mtype > FINGERPRINT_MTYPE)) {
		warning(`Invalid matching type number in tls_dane_digests: ${name}=${number}`);
	} else if (mtype === 0 || mtype === FINGERPRINT_MTYPE) {
		warning(`Reserved matching type number in tls_dane_digests: ${name}=${number}`);
	} else if (name !== '' && mtype <= 2 && standardDigests.get(name.toLowerCase()) !== mtype) {
		warning(`tls_dane_digests: matching type ${mtype} can only be ${mtype === 1 ? 'sha256' : 'sha512'}`);
	} else if (listed.has(mtype)) {
		warning(`tls_dane_digests: matching type ${mtype} specified more than once`);
	} else {
		const md = name === '' ? null : EVP_get_digestbyname(name);
		if (name !== '' && md === null) {
			warning(`tls_dane_digests: digest algorithm "${name}"(${mtype}) unknown`);
		}

		return {mtype, md};
	}

	return undefined;
}

function setDigest(ctx: SslCtx, md: EvpMd | null, mtype: number, order: number): void {
	if (SSL_CTX_dane_mtype_set(ctx, md, mtype, order) <= 0) {
		warning(`tls_dane_digests: error configuring matching type ${mtype}`);
		printErrors();
	}
}

/** The checks that {@link enableChecks} enabled. */
export interface EnabledChecks {
	/** DANE is enabled. */
	readonly dane: boolean;
	/** Reference identities that OpenSSL accepted. */
	readonly names: readonly string[];
	/** Names must be checked, but OpenSSL accepted none. */
	readonly mustFail: boolean;
}

/**
 * Enables DANE and the name checks of a level.
 *
 * Note: stock crashes if the level checks names and the match list is empty (`match=:` in a policy table).
 * The client sees the connection end before the handshake and defers the mail. This function has the same
 * effect on the client.
 *
 * @param name - of the peer, for the log.
 * @returns undefined on failure: the reason has been logged, and the session must not start.
 * Source: tls_auth_enable(), postfix src/tls/tls_client.c.
 */
export function enableChecks(ssl: Ssl, start: ClientStart, name: string): EnabledChecks | undefined {
	const level = checksOf(start.tls_level, recordsOf(start).length > 0);

	/*
	 * DANE first, names second: SSL_dane_enable() removes the names from the
	 * connection. In the other order, a certificate from the right authority
	 * would match every host.
	 */
	if (level.dane !== undefined && !enableDane(ssl, level.dane, name)) {
		return undefined;
	}

	if (level.names && start.matchargv.length === 0) {
		warning(
			`${name}: no match names at TLS security level ${levelNames[start.tls_level] ?? start.tls_level}`,
		);
		return undefined;
	}

	const names = level.names ? addNames(ssl, start, name) : [];
	return {dane: level.dane !== undefined, names, mustFail: level.names && names.length === 0};
}

/**
 * Completes a policy after {@link enableChecks}: raw public keys and TLSA records.
 *
 * @param name - of the peer, for the log.
 * @param reporter - receives a failure if no record is usable.
 * Source: tls_client_start(), postfix src/tls/tls_client.c.
 */
export function applyPolicy(
	ssl: Ssl,
	start: ClientStart,
	name: string,
	{dane, names, mustFail}: EnabledChecks,
	{rawPublicKeys}: ReleaseFeatures,
	reporter?: FailureReporter,
): AppliedPolicy {
	const level = start.tls_level;
	const records = recordsOf(start);
	if (rawPublicKeys && start.enable_rpk === 1 && level <= TLS_LEV_FPRINT) {
		acceptServerKey(ssl);
	}

	if (records.length === 0) {
		return {level, mustFail, names: dane ? undefined : names};
	}

	const usable = addRecords(ssl, records, name);
	if (usable === undefined) {
		return {level, mustFail: true, names: undefined};
	}

	/* A raw public key can match only records for the key of the server itself. */
	if (rawPublicKeys && usable.every(({usage, selector}) => usage === DANE_EE && selector === SPKI)) {
		acceptServerKey(ssl);
	}

	return usable.length > 0
		? {level, mustFail, names: undefined}
		: withoutUsableRecords(level, name, reporter);
}

/* Clients send the list in reverse. The log lines of stock have the original order. */
function recordsOf(start: ClientStart): readonly TlsaRecord[] {
	return (start.dane?.tlsa ?? [])
		.map(({usage, selector, mtype, data}) => ({
			usage: usage ?? 0,
			selector: selector ?? 0,
			mtype: mtype ?? 0,
			data: data ?? new Uint8Array(0),
		}))
		.toReversed();
}

/* The checks for which DANE is enabled. The first two are also text of log messages. */
type DaneCheck = 'DANE-based certificate validation' | 'fingerprint certificate validation' | 'trust anchors';

interface LevelChecks {
	readonly dane: DaneCheck | undefined;
	/** Whether names are checked. */
	readonly names: boolean;
}

function checksOf(level: number, hasRecords: boolean): LevelChecks {
	switch (level) {
		case TLS_LEV_HALF_DANE:
		case TLS_LEV_DANE:
		case TLS_LEV_DANE_ONLY:
			return {dane: 'DANE-based certificate validation', names: true};
		case TLS_LEV_FPRINT:
			return {dane: 'fingerprint certificate validation', names: false};
		case TLS_LEV_VERIFY:
		case TLS_LEV_SECURE:
			return {dane: hasRecords ? 'trust anchors' : undefined, names: true};
		default:
			return {dane: undefined, names: false};
	}
}

function enableDane(ssl: Ssl, check: DaneCheck, name: string): boolean {
	if (SSL_dane_enable(ssl, null) <= 0) {
		const action = check === 'trust anchors' ? 'configuring local trust anchors' : `enabling ${check}`;
		warning(`${name}: error ${action}`);
		printErrors();
		return false;
	}

	/* A key that matches a DANE-EE record or a fingerprint is trusted without a name check. */
	if (check !== 'trust anchors') {
		SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	}

	return true;
}

/* The records that are usable; undefined if OpenSSL reports an error that is not about one record. */
function addRecords(
	ssl: Ssl,
	records: readonly TlsaRecord[],
	name: string,
): readonly TlsaRecord[] | undefined {
	const usable: TlsaRecord[] = [];
	for (const record of records) {
		const result = addTlsa(ssl, record);
		if (result > 0) {
			usable.push(record);
		} else if (result === 0) {
			warning(`${name}: unusable TLSA RR: ${recordText(record)}`);
		} else {
			warning(`${name}: error loading trust settings: ${recordText(record)}`);
			printErrors();
			return undefined;
		}
	}

	return usable;
}

/** A record for the log. Long data are abbreviated in the middle. Source: tlsa_carp(), postfix src/tls/tls_dane.c. */
export function recordText({usage, selector, mtype, data}: TlsaRecord): string {
	const MAX_DUMP = 64;
	const text =
		data.length > 0 && data.length <= MAX_DUMP
			? hexText(data)
			: `${hexText(data.subarray(0, MAX_DUMP / 2))}...${hexText(data.subarray(Math.max(data.length - MAX_DUMP / 2, 0)))}`;
	return `${usage} ${selector} ${mtype} ${data.length === 0 ? '...' : text}`;
}

function withoutUsableRecords(
	level: number,
	name: string,
	reporter: FailureReporter | undefined,
): AppliedPolicy {
	switch (level) {
		case TLS_LEV_HALF_DANE:
		case TLS_LEV_DANE:
			reporter?.report('tlsa_invalid', 'all-TLSA-records-unusable');
			warning(`${name}: all TLSA records unusable, fallback to unauthenticated TLS`);
			/* The level encrypt checks nothing, so nothing has to fail. */
			return {level: TLS_LEV_ENCRYPT, mustFail: false, names: undefined};
		case TLS_LEV_DANE_ONLY:
			reporter?.report('tlsa_invalid', 'all-TLSA-records-unusable');
			warning(`${name}: all TLSA records unusable`);
			break;
		case TLS_LEV_FPRINT:
			reporter?.report('validation_failure', 'all-fingerprints-unusable');
			warning(`${name}: all fingerprints unusable`);
			break;
		default:
			reporter?.report('validation_failure', 'all-trust-anchors-unusable');
			warning(`${name}: all trust anchors unusable`);
	}

	return {level, mustFail: true, names: undefined};
}

/* Adds the match names, and returns those that OpenSSL accepted. With none, no certificate may match. */
function addNames(ssl: Ssl, start: ClientStart, name: string): readonly string[] {
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	const added: string[] = [];
	for (const element of start.matchargv) {
		const pattern = namePattern(element, start, {legacyVerification: false});
		if (pattern === undefined) {
			warning(`${name}: ignoring invalid match name: "."`);
			continue;
		}

		const identity = pattern.subdomains ? `.${pattern.name}` : pattern.name;
		if (SSL_add1_host(ssl, identity) === 1) {
			added.push(identity);
		} else {
			warning(`${name}: error loading match name: "${identity}"`);
			printErrors();
		}
	}

	if (added.length === 0) {
		warning(`${name}: could not configure peer name checks`);
	}

	return added;
}
