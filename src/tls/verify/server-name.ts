/*++
/* NAME
/*	server-name 3
/* SUMMARY
/*	the SNI name and the match names of a request
/* DESCRIPTION
/*	The SNI name is sent to the server; match names are compared with
/*	its certificate. Both are ASCII on the wire and in certificates:
/*	other names are converted, see midna-domain(3). A name that cannot
/*	be converted is used as it is.
/*
/*	Names have one character per byte.
/* SEE ALSO
/*	postfix src/tls/tls_client.c
/*--*/

import type {ReleaseFeatures} from '../../conf/release.ts';
import {SSL_set_tlsext_host_name, type Ssl} from '../../ffi/openssl/ssl.ts';
import {info, verbose, warning} from '../../log/log.ts';
import type {ClientStart} from '../../wire/client-settings.ts';
import {TLS_LOG_DEBUG} from '../log-mask.ts';
import {domainToAscii, hasEai, isAscii} from '../midna-domain.ts';

/** The ASCII form of a name, or the name itself if it cannot be converted. */
export function asciiName(name: string): string {
	if (isAscii(name)) {
		return name;
	}

	const ascii = domainToAscii(name);
	if (ascii === undefined) {
		return name;
	}

	verbose(() => `${name} asciified to ${ascii}`);
	return ascii;
}

/** A pattern for names in a certificate. */
export interface NamePattern {
	/** Without the leading dot. */
	readonly name: string;
	/** Whether the pattern matches names of subdomains, instead of the name itself. */
	readonly subdomains: boolean;
}

/* U+3002, U+FF0E and U+FF61 in UTF-8, if other characters follow. Source: RFC 3490, section 3.1. */
const OTHER_FULL_STOP = /^(?:\u00E3\u0080\u0082|\u00EF\u00BC\u008E|\u00EF\u00BD\u00A1)(?=.)/s;

/**
 * Resolves one element of a match list.
 *
 * @returns undefined for a single dot, which releases without legacy verification ignore.
 * Source: add_namechecks(), and match_servername() of Postfix 3.5, postfix src/tls/tls_client.c.
 */
export function namePattern(
	element: string,
	{host, nexthop}: Pick<ClientStart, 'host' | 'nexthop'>,
	{legacyVerification}: Pick<ReleaseFeatures, 'legacyVerification'>,
): NamePattern | undefined {
	switch (element.toLowerCase()) {
		case 'nexthop':
			return {name: asciiName(nexthop), subdomains: false};
		case 'dot-nexthop':
			return {name: asciiName(nexthop), subdomains: true};
		case 'hostname':
			return {name: legacyVerification ? host : asciiName(host), subdomains: false};
		case '.':
			return legacyVerification ? {name: '.', subdomains: false} : undefined;
		default:
	}

	const name = element.startsWith('.')
		? element.slice(1)
		: hasEai()
			? element.replace(OTHER_FULL_STOP, '')
			: element;
	return {name: asciiName(name), subdomains: name !== element};
}

/** Maximum length of an SNI name in bytes. Source: TLSEXT_MAXLEN_host_name, openssl/tls1.h. */
const SNI_LENGTH_LIMIT = 255;

/**
 * The SNI name of a request; undefined if no name is to be sent.
 *
 * @param dane - whether the level is a DANE level, where the name comes from the TLSA lookup.
 * Source: tls_auth_enable(), postfix src/tls/tls_client.c.
 */
export function serverName(
	{legacyVerification}: ReleaseFeatures,
	start: ClientStart,
	dane: boolean,
): string | undefined {
	const configured = configuredName(start);
	/* Postfix converts the configured name even if it does not use it, and logs a failure. */
	const name = configured === undefined || legacyVerification ? configured : asciiName(configured);
	return dane ? (start.dane?.domain ?? '') : name;
}

/**
 * Sets the SNI name of a connection.
 *
 * @returns the name; empty if no name is sent; undefined on failure, and the reason has been logged.
 * Source: tls_auth_enable(), and tls_client_start() of Postfix 3.5, postfix src/tls/tls_client.c.
 */
export function setServerName(
	{legacyVerification}: ReleaseFeatures,
	ssl: Ssl,
	name: string | undefined,
	{namaddr, logMask}: {readonly namaddr: string; readonly logMask: number},
): string | undefined {
	if (name === undefined) {
		return '';
	}

	if (name.length > SNI_LENGTH_LIMIT) {
		if (legacyVerification) {
			return '';
		}

		warning(`${namaddr}: ignoring too long SNI hostname: ${name.slice(0, 100)}`);
		return undefined;
	}

	if (SSL_set_tlsext_host_name(ssl, name) !== 1) {
		warning(`${namaddr}: error setting SNI hostname to: ${name}`);
		return undefined;
	}

	if ((logMask & TLS_LOG_DEBUG) !== 0) {
		info(`${namaddr}: SNI hostname: ${name}`);
	}

	return name;
}

function configuredName({sni, host, nexthop}: ClientStart): string | undefined {
	switch (sni) {
		case '':
			return undefined;
		case 'hostname':
			return host;
		case 'nexthop':
			return nexthop;
		default:
			return sni;
	}
}
