/*++
/* NAME
/*	server-name 3
/* SUMMARY
/*	names of servers, as TLS wants them
/* DESCRIPTION
/*	Names of other scripts have a form in ASCII, which is what stands
/*	in certificates and is sent to the server.
/* SEE ALSO
/*	postfix src/util/midna_domain.c, src/tls/tls_client.c
/*--*/

import {isUtf8} from 'node:buffer';
import {domainToASCII} from 'node:url';
import {SSL_set_tlsext_host_name, type Ssl} from '../ffi/libssl.ts';
import {info, warning} from '../log.ts';
import type {ClientStart} from '../wire/client.ts';
import type {Behavior} from './behavior.ts';
import {TLS_LOG_DEBUG} from './log-mask.ts';

const PLAIN_NAME = /^[\u0021-\u007E]*$/;

/** A name in its ASCII form, with the dot in front that means `any name below`; as it is when there is none. */
export function asciiName(wire: string): string {
	if (PLAIN_NAME.test(wire)) {
		return wire;
	}

	const bytes = Buffer.from(wire, 'latin1');
	if (!isUtf8(bytes)) {
		warning(
			`midna_domain_to_ascii_create: Problem translating domain "${wire.slice(0, 100)}" to ASCII form: malformed UTF-8`,
		);
		return wire;
	}

	const text = bytes.toString();
	/* Full stops of other scripts. Source: RFC 3490, section 3.1. */
	const dotted = text.replace(/^[\u3002\uFF0E\uFF61]/, '.');
	if (PLAIN_NAME.test(dotted)) {
		return dotted;
	}

	const [, dot = '', name = ''] = /^(\.?)(.*)$/.exec(dotted) ?? [];
	const ascii = domainToASCII(name);
	return ascii === '' ? text : dot + ascii;
}

/** Bytes of a server name. Source: TLSEXT_MAXLEN_host_name, openssl/tls1.h. */
const SNI_LIMIT = 255;

/**
 * Sets the name that a server is asked for.
 *
 * @param name - of the server, for the log.
 * @param dane - whether the level rests on DNS, which names the server.
 * @returns the name that is sent, empty for none; undefined when it cannot be sent: the reason has been logged.
 * Source: tls_client_start(), postfix src/tls/tls_client.c.
 */
export function setServerName(
	{ownVerification}: Behavior,
	ssl: Ssl,
	start: ClientStart,
	{name, logMask, dane}: {readonly name: string; readonly logMask: number; readonly dane: boolean},
): string | undefined {
	const wanted = dane ? (start.dane?.domain ?? '') : configuredName(start);
	const sni = ownVerification ? wanted : asciiName(wanted);
	if (sni === '' && !dane) {
		return sni;
	}

	if (sni.length > SNI_LIMIT) {
		if (ownVerification) {
			return '';
		}

		warning(`${name}: ignoring too long SNI hostname: ${sni.slice(0, 100)}`);
		return undefined;
	}

	/* A name that is not converted has a character for each byte. */
	const text = ownVerification ? Buffer.from(sni, 'latin1').toString() : sni;
	if (SSL_set_tlsext_host_name(ssl, text) !== 1) {
		warning(`${name}: error setting SNI hostname to: ${sni}`);
		return undefined;
	}

	if ((logMask & TLS_LOG_DEBUG) !== 0) {
		info(`${name}: SNI hostname: ${sni}`);
	}

	return sni;
}

function configuredName({sni, host, nexthop}: ClientStart): string {
	switch (sni) {
		case 'hostname':
			return host;
		case 'nexthop':
			return nexthop;
		default:
			return sni;
	}
}
