/*++
/* NAME
/*	legacy-verification 3
/* SUMMARY
/*	server verification of Postfix 3.4 and 3.5
/* DESCRIPTION
/*	These releases compare names and digests after the handshake.
/*	OpenSSL verifies only the chain, against the authorities of the
/*	service or the trust anchors of the request.
/*
/*	This module passes trust anchors to OpenSSL as TLSA records. The
/*	result is the same as in those releases, which search the chain
/*	themselves: it must contain one of the trust anchors, and no other
/*	authority is trusted.
/* SEE ALSO
/*	policy(3), for later releases;
/*	postfix 3.5 src/tls/tls_client.c, src/tls/tls_dane.c
/*--*/

import {hexText} from '../../base/text.ts';
import {addTlsa, daneMatch, SSL_dane_enable} from '../../ffi/openssl/dane.ts';
import {EVP_get_digestbyname} from '../../ffi/openssl/libcrypto.ts';
import {SSL_get_verify_result, type Ssl} from '../../ffi/openssl/ssl.ts';
import {derOfCertificate, type X509, X509_get0_pubkey, X509_V_OK} from '../../ffi/openssl/x509.ts';
import {info, warning} from '../../log/log.ts';
import type {ClientStart} from '../../wire/client-settings.ts';
import {printErrors} from '../library.ts';
import {TLS_LOG_CERTMATCH, TLS_LOG_VERBOSE} from '../log-mask.ts';
import {isAscii} from '../midna-domain.ts';
import type {ClientHandshakeFacts} from './handshake-facts.ts';
import {certificateFingerprint, keyFingerprint} from './peer-names.ts';
import {type AppliedPolicy, isDaneLevel, TLS_LEV_HALF_DANE} from './policy.ts';
import {asciiName, namePattern} from './server-name.ts';

type DigestList = NonNullable<NonNullable<ClientStart['dane']>['ta']>[number];

/* Certificate usage and matching types of TLSA records. Source: RFC 7218. */
const DANE_TA = 2;
const matchingTypes: ReadonlyMap<string, number> = new Map([
	['sha256', 1],
	['sha512', 2],
]);

/**
 * Whether the log must contain the reason why a chain is not trusted. Not if only digests of the certificate
 * or its key are compared.
 */
export function explainsDistrust({tls_level: level, dane}: ClientStart): boolean {
	return level >= TLS_LEV_HALF_DANE && (!isDaneLevel(level) || (dane?.ta ?? []).length > 0);
}

/**
 * Passes the trust anchors of a request to OpenSSL.
 *
 * @returns undefined on failure; the reason has been logged.
 */
export function applyLegacyPolicy(ssl: Ssl, start: ClientStart, name: string): AppliedPolicy | undefined {
	const anchors = start.dane?.ta ?? [];
	const policy: AppliedPolicy = {level: start.tls_level, mustFail: false, names: undefined};
	if (anchors.length === 0) {
		return policy;
	}

	if (SSL_dane_enable(ssl, null) <= 0) {
		warning(`${name}: error configuring local trust anchors`);
		printErrors();
		return undefined;
	}

	const records = [
		...anchors.flatMap(recordsOf),
		...(start.dane?.certs ?? []).map(({cert}) => ({selector: 0, mtype: 0, data: cert})),
		...(start.dane?.pkeys ?? []).map(({pkey}) => ({selector: 1, mtype: 0, data: pkey})),
	];
	/* Without a usable trust anchor no chain is trusted, as with an anchor that is not in the chain. */
	const results = records.map(record => addTlsa(ssl, {usage: DANE_TA, ...record}));
	if (results.some(result => result < 0)) {
		printErrors();
	}

	return results.some(result => result > 0) ? policy : {...policy, mustFail: true};
}

function recordsOf({mdalg = '', certs = [], pkeys = []}: DigestList) {
	const mtype = matchingTypes.get(mdalg.toLowerCase());
	return mtype === undefined
		? []
		: [
				...certs.map(text => ({selector: 0, mtype, data: bytesOf(text)})),
				...pkeys.map(text => ({selector: 1, mtype, data: bytesOf(text)})),
			];
}

function bytesOf(text: string): Uint8Array {
	return Buffer.from(text.replaceAll(':', ''), 'hex');
}

/** The result of verification. */
export interface LegacyVerdict {
	readonly trusted: boolean;
	readonly matched: boolean;
	/** The certificate has DNS names, and they were compared. */
	readonly hasDnsNames: boolean;
	/** The DNS name to report; undefined: report the common name. */
	readonly name: string | undefined;
}

/** Verifies the certificate of a complete handshake. Source: verify_extract_print(), verify_extract_name(). */
export function legacyVerdict(
	facts: ClientHandshakeFacts,
	certificate: X509,
	commonName: string,
): LegacyVerdict {
	const {level, verifyState, ssl} = facts;
	logAnchor(facts);
	const byDigest = matchesDigest(facts, certificate);
	const trusted = byDigest || (!verifyState.mustFail && SSL_get_verify_result(ssl) === X509_V_OK);
	const mustMatchName = !byDigest && trusted && level >= TLS_LEV_HALF_DANE;
	const logsAll = (verifyState.logMask & TLS_LOG_CERTMATCH) !== 0;
	if (!mustMatchName && !logsAll) {
		return {trusted, matched: byDigest, hasDnsNames: false, name: undefined};
	}

	const names = compareNames(facts, certificate, commonName, logsAll);
	return {
		trusted,
		matched: byDigest || (mustMatchName && names.matched),
		hasDnsNames: names.hasDnsNames,
		name: names.name,
	};
}

/* Whether a digest in the request matches the certificate or its key. Source: tls_dane_match(). */
function matchesDigest(
	{fingerprinting, verifyState, start}: ClientHandshakeFacts,
	certificate: X509,
): boolean {
	const hasKey = X509_get0_pubkey(certificate) !== null;
	for (const {mdalg = '', certs = [], pkeys = []} of start.dane?.ee ?? []) {
		const digest = EVP_get_digestbyname(mdalg);
		if (digest === null) {
			continue;
		}

		const kinds = [
			[
				'public-key',
				pkeys,
				hasKey ? keyFingerprint(certificate, {...fingerprinting, digest}) : '',
				'digest=',
			],
			['certificate', certs, certificateFingerprint(certificate, digest), 'digest '],
		] as const;
		for (const [kind, digests, fingerprint, label] of kinds) {
			if (digests.some(text => text.toUpperCase() === fingerprint)) {
				if ((verifyState.logMask & (TLS_LOG_VERBOSE | TLS_LOG_CERTMATCH)) !== 0) {
					info(`${verifyState.namaddr}: depth=0 matched end entity ${kind} ${mdalg} ${label}${fingerprint}`);
				}

				return true;
			}
		}
	}

	return false;
}

/* Logs the trust anchor that the chain ends at. */
function logAnchor({verifyState, ssl}: ClientHandshakeFacts): void {
	if (
		(verifyState.logMask & (TLS_LOG_VERBOSE | TLS_LOG_CERTMATCH)) === 0 ||
		SSL_get_verify_result(ssl) !== X509_V_OK
	) {
		return;
	}

	const match = daneMatch(ssl);
	if (match === undefined) {
		return;
	}

	const algorithm = [...matchingTypes].find(([, mtype]) => mtype === match.mtype)?.[0];
	if (algorithm !== undefined) {
		const [kind, label] = match.selector === 1 ? ['public-key', 'digest='] : ['certificate', 'digest '];
		const hex = hexText(match.data, ':');
		info(
			`${verifyState.namaddr}: depth=${match.depth} matched trust anchor ${kind} ${algorithm} ${label}${hex}`,
		);
	}

	const position = match.selector === 1 ? 'chain is trust-anchor signed' : 'trust-anchor certificate';
	info(`${verifyState.namaddr}: depth=${Math.max(match.depth - 1, 0)} ${position}`);
}

function compareNames(
	facts: ClientHandshakeFacts,
	certificate: X509,
	commonName: string,
	logsAll: boolean,
): {readonly matched: boolean; readonly hasDnsNames: boolean; readonly name: string | undefined} {
	const {verifyState, start, wildcardMatchesMultipleLabels} = facts;
	const verbose = logsAll || (verifyState.logMask & TLS_LOG_VERBOSE) !== 0;
	const dnsNames = dnsNamesOf(certificate);
	let name: string | undefined;
	let matched = false;
	for (const raw of dnsNames) {
		const dnsName = printableName(raw, verifyState.namaddr);
		if (dnsName !== undefined && dnsName !== '') {
			const matches = matchesName(dnsName, start, wildcardMatchesMultipleLabels);
			if ((matches && !matched) || name === '') {
				name = undefined;
			}

			matched ||= matches;
			if (verbose) {
				info(`${start.namaddr}: ${matches ? 'Matched ' : ''}subjectAltName: ${dnsName}`);
			}
		}

		name ??= dnsName ?? '';
		if (matched && !logsAll) {
			break;
		}
	}

	if (dnsNames.length > 0) {
		if (verbose) {
			info(`${verifyState.namaddr} CommonName ${commonName}`);
		}

		return {matched, hasDnsNames: true, name};
	}

	matched = commonName !== '' && matchesName(commonName, start, wildcardMatchesMultipleLabels);
	if (verbose) {
		info(`${start.namaddr} ${matched ? 'Matched ' : ''}CommonName ${commonName}`);
	}

	return {matched, hasDnsNames: false, name: undefined};
}

/* The DNS names as they are in the certificate, with any NUL bytes and control characters. */
function dnsNamesOf(certificate: X509): readonly string[] {
	const der = derOfCertificate(certificate);
	/* Loaded when needed: it takes long, and only Postfix 3.4 and 3.5 need it. */
	const {X509Certificate} = process.getBuiltinModule('node:crypto');
	const text = der === undefined ? '' : (new X509Certificate(der).subjectAltName ?? '');
	return [...text.matchAll(/(?:^|, )DNS:("(?:[^"\\]|\\.)*"|[^,]*)/g)].map(([, name = '']) =>
		name.startsWith('"') ? (JSON.parse(name) as string) : name,
	);
}

/* Undefined if a name contains other characters than printable ASCII. Source: tls_dns_name(). */
function printableName(raw: string, namaddr: string): string | undefined {
	const name = raw.replace(/\0+$/, '');
	if (name.includes('\0')) {
		warning(`tls_dns_name: ${namaddr}: internal NUL in subjectAltName`);
		return undefined;
	}

	if (!/^[ -~]*$/.test(name)) {
		const printable = name.replaceAll(/[^ -~]/g, '?').slice(0, 100);
		warning(`tls_dns_name: ${namaddr}: non-printable characters in subjectAltName: ${printable}`);
		return undefined;
	}

	return name;
}

/* Source: match_servername(). */
function matchesName(
	certificateName: string,
	start: Pick<ClientStart, 'host' | 'matchargv' | 'nexthop'>,
	multipleLabels: boolean,
): boolean {
	if (start.matchargv.length === 0 || !isAscii(certificateName)) {
		return false;
	}

	/* Postfix converts the next-hop even if no pattern refers to it, and logs a failure. */
	asciiName(start.nexthop);
	const name = certificateName.toLowerCase();
	return start.matchargv.some(element => {
		const pattern = namePattern(element, start, {legacyVerification: true});
		if (pattern === undefined) {
			return false;
		}

		const domain = pattern.name.toLowerCase();
		return pattern.subdomains
			? name.endsWith(`.${domain}`) && name.length > domain.length + 1
			: matchesDomain(name, domain, multipleLabels);
	});
}

/* Whether a name equals a domain, or is a wildcard for its first label, or for several. */
function matchesDomain(name: string, domain: string, multipleLabels: boolean): boolean {
	if (name === domain) {
		return true;
	}

	const dot = domain.indexOf('.');
	if (!name.startsWith('*.') || name.length < 3 || dot < 0) {
		return false;
	}

	const parent = domain.slice(dot);
	return multipleLabels ? parent.endsWith(name.slice(1)) : parent === name.slice(1);
}
