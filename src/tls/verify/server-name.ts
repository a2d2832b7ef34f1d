/*++
/* NAME
/*	server-name 3
/* SUMMARY
/*	names that a request has for a server
/* DESCRIPTION
/*	The name that is sent to the server, and the patterns that its
/*	certificate has to match. Both are ASCII on the wire and in
/*	certificates: other names are converted, see midna-domain(3). A
/*	name that cannot be converted is used as it is.
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

/** The ASCII form of a name, or the name itself if it has none. */
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

/** What a name in a certificate has to be. */
export interface NamePattern {
	/** Without the leading dot. */
	readonly name: string;
	/** Only names of subdomains match. */
	readonly subdomains: boolean;
}

/* U+3002, U+FF0E and U+FF61 in UTF-8, in front of something. Source: RFC 3490, section 3.1. */
const OTHER_FULL_STOP = /^(?:\u00E3\u0080\u0082|\u00EF\u00BC\u008E|\u00EF\u00BD\u00A1)(?=.)/s;

/**
 * Resolves one element of a match list.
 *
 * @returns undefined for a lone dot, which later releases ignore.
 * Source: add_namechecks(), and match_servername() of Postfix 3.5, postfix src/tls/tls_client.c.
 */
export function namePattern(
	element: string,
	{host, nexthop}: Pick<ClientStart, 'host' | 'nexthop'>,
	{legacyVerification: ownVerification}: Pick<ReleaseFeatures, 'legacyVerification'>,
): NamePattern | undefined {
	switch (element.toLowerCase()) {
		case 'nexthop':
			return {name: asciiName(nexthop), subdomains: false};
		case 'dot-nexthop':
			return {name: asciiName(nexthop), subdomains: true};
		case 'hostname':
			return {name: ownVerification ? host : asciiName(host), subdomains: false};
		case '.':
			return ownVerification ? {name: '.', subdomains: false} : undefined;
		default:
	}

	const name = element.startsWith('.')
		? element.slice(1)
		: hasEai()
			? element.replace(OTHER_FULL_STOP, '')
			: element;
	return {name: asciiName(name), subdomains: name !== element};
}

/** Bytes of a server name. Source: TLSEXT_MAXLEN_host_name, openssl/tls1.h. */
const SNI_LIMIT = 255;

/**
 * The name that a server is asked for; undefined for none.
 *
 * @param dane - whether the level rests on DNS, which names the server.
 * Source: tls_auth_enable(), postfix src/tls/tls_client.c.
 */
export function serverName(
	{legacyVerification: ownVerification}: ReleaseFeatures,
	start: ClientStart,
	dane: boolean,
): string | undefined {
	const configured = configuredName(start);
	/* Postfix converts the name first, and then does not use it. */
	const name = configured === undefined || ownVerification ? configured : asciiName(configured);
	return dane ? (start.dane?.domain ?? '') : name;
}

/**
 * Sets the name that a server is asked for.
 *
 * @returns the name that is sent, empty for none; undefined when it cannot be sent: the reason has been logged.
 * Source: tls_auth_enable(), and tls_client_start() of Postfix 3.5, postfix src/tls/tls_client.c.
 */
export function setServerName(
	{legacyVerification: ownVerification}: ReleaseFeatures,
	ssl: Ssl,
	name: string | undefined,
	{namaddr, logMask}: {readonly namaddr: string; readonly logMask: number},
): string | undefined {
	if (name === undefined) {
		return '';
	}

	if (name.length > SNI_LIMIT) {
		if (ownVerification) {
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
