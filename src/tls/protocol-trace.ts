/*++
/* NAME
/*	protocol-trace 3
/* SUMMARY
/*	logs the steps of a handshake and the bytes of a connection
/* DESCRIPTION
/*	From log level 2 on, OpenSSL reports each step and alert. Level 3
/*	adds a dump of the handshake, and level 4 a dump of the whole
/*	session.
/* SECURITY
/*	A dump contains the bytes on the wire. Encrypted data stays
/*	encrypted.
/* SEE ALSO
/*	postfix src/tls/tls_misc.c, tls_info_callback()
/*	postfix src/tls/tls_bio_ops.c
/*--*/

import type {BioCallback} from '../ffi/openssl/bio.ts';
import {type BioTransfer, registerBioCallback, registerInfoCallback} from '../ffi/openssl/callback.ts';
import {SSL_ERROR_WANT_CLIENT_HELLO_CB} from '../ffi/openssl/client-hello.ts';
import {
	SSL_alert_desc_string_long,
	SSL_alert_type_string_long,
	SSL_CB_ALERT,
	SSL_CB_EXIT,
	SSL_CB_LOOP,
	SSL_CB_READ,
	SSL_ERROR_WANT_READ,
	SSL_ERROR_WANT_WRITE,
	SSL_get_error,
	SSL_ST_ACCEPT,
	SSL_ST_CONNECT,
	SSL_state_string_long,
	SSL3_AD_CLOSE_NOTIFY,
	type Ssl,
} from '../ffi/openssl/ssl.ts';
import type {InfoCallback} from '../ffi/openssl/ssl-ctx.ts';
import {info} from '../log/log.ts';

/** For SSL_CTX_set_info_callback() and SSL_set_info_callback(). */
export const infoCallback: InfoCallback = registerInfoCallback(logState);

/** For BIO_set_callback_ex(): logs the bytes that are read and written. */
export const dumpCallback: BioCallback = registerBioCallback(dump);

function logState(ssl: Ssl, where: number, result: number): void {
	const operation =
		(where & SSL_ST_CONNECT) !== 0 ? 'SSL_connect' : (where & SSL_ST_ACCEPT) !== 0 ? 'SSL_accept' : 'unknown';
	if ((where & SSL_CB_LOOP) !== 0) {
		info(`${operation}:${SSL_state_string_long(ssl)}`);
	} else if ((where & SSL_CB_ALERT) !== 0) {
		if ((result & 0xff) !== SSL3_AD_CLOSE_NOTIFY) {
			const direction = (where & SSL_CB_READ) !== 0 ? 'read' : 'write';
			const kind = SSL_alert_type_string_long(result);
			info(`SSL3 alert ${direction}:${kind}:${SSL_alert_desc_string_long(result)}`);
		}
	} else if ((where & SSL_CB_EXIT) !== 0 && result === 0) {
		info(`${operation}:failed in ${SSL_state_string_long(ssl)}`);
	} else if ((where & SSL_CB_EXIT) !== 0 && result < 0 && !isSuspended(ssl, result)) {
		info(`${operation}:error in ${SSL_state_string_long(ssl)}`);
	}
}

function isSuspended(ssl: Ssl, result: number): boolean {
	const code = SSL_get_error(ssl, result);
	return (
		code === SSL_ERROR_WANT_READ || code === SSL_ERROR_WANT_WRITE || code === SSL_ERROR_WANT_CLIENT_HELLO_CB
	);
}

const OCTETS_PER_LINE = 16;

function dump({bio, operation, address, wanted, result, bytes}: BioTransfer): void {
	const where = `${operation === 'read' ? 'read from' : 'write to'} ${pointer(bio)} [${pointer(address)}]`;
	if (result <= 0) {
		info(`${where} (${wanted} bytes => ${result})`);
		return;
	}

	info(`${where} (${wanted} bytes => ${result} (0x${result.toString(16).toUpperCase()}))`);
	for (const line of dumpLines(bytes)) {
		info(line);
	}
}

/** A dump in hexadecimal and text, with 16 bytes per line. Trailing spaces and NULs are omitted. */
export function dumpLines(bytes: Uint8Array): readonly string[] {
	const size = bytes.findLastIndex(octet => octet !== 0 && octet !== 0x20) + 1;
	const lines: string[] = [];
	for (let at = 0; at < size; at += OCTETS_PER_LINE) {
		lines.push(dumpLine(at, bytes.subarray(at, Math.min(at + OCTETS_PER_LINE, size))));
	}

	if (size < bytes.length) {
		lines.push(`${size.toString(16).padStart(4, '0')} - <SPACES/NULLS>`);
	}

	return lines;
}

function pointer(address: bigint): string {
	return address.toString(16).toUpperCase().padStart(8, '0');
}

function dumpLine(offset: number, bytes: Uint8Array): string {
	let octets = '';
	let text = '';
	for (let index = 0; index < OCTETS_PER_LINE; index++) {
		const octet = bytes[index];
		const middle = index === OCTETS_PER_LINE / 2 - 1;
		octets += octet === undefined ? '   ' : `${octet.toString(16).padStart(2, '0')}${middle ? '|' : ' '}`;
		if (octet !== undefined) {
			text += (octet >= 0x20 && octet < 0x7f ? String.fromCharCode(octet) : '.') + (middle ? ' ' : '');
		}
	}

	return `${offset.toString(16).padStart(4, '0')} ${octets} ${text}`;
}
