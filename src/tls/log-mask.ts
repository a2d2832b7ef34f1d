/*++
/* NAME
/*	log-mask 3
/* SUMMARY
/*	TLS log levels
/* DESCRIPTION
/*	A log level is a list of numbers and keywords. It is converted to a
/*	bit mask. Each kind of log line requires certain bits.
/* SEE ALSO
/*	postfix src/tls/tls_misc.c, tls_log_mask()
/*--*/

import {splitList} from '../base/text.ts';
import type {ReleaseFeatures} from '../conf/release.ts';
import {warning} from '../log/log.ts';

/* Bits of a mask. Source: postfix src/tls/tls.h. */
const TLS_LOG_NONE = 1;
export const TLS_LOG_SUMMARY = 2;
export const TLS_LOG_UNTRUSTED = 4;
export const TLS_LOG_PEERCERT = 8;
export const TLS_LOG_CERTMATCH = 16;
export const TLS_LOG_VERBOSE = 32;
export const TLS_LOG_CACHE = 64;
export const TLS_LOG_DEBUG = 128;
export const TLS_LOG_TLSPKTS = 256;
export const TLS_LOG_ALLPKTS = 512;
const TLS_LOG_DANE = 1024;
const TLS_LOG_TRACE = 2048;

const routine = TLS_LOG_SUMMARY;
const debug = routine | TLS_LOG_VERBOSE | TLS_LOG_CACHE | TLS_LOG_DEBUG;
const expert = debug | TLS_LOG_TLSPKTS;
const developer = expert | TLS_LOG_ALLPKTS;

const keywords: ReadonlyMap<string, number> = new Map([
	['0', TLS_LOG_NONE],
	['none', TLS_LOG_NONE],
	['1', routine],
	['routine', routine],
	['2', debug],
	['debug', debug],
	['3', expert],
	['ssl-expert', expert],
	...['4', '5', '6', '7', '8', '9', 'ssl-developer'].map(keyword => [keyword, developer] as const),
	['summary', TLS_LOG_SUMMARY],
	['untrusted', TLS_LOG_UNTRUSTED],
	['peercert', TLS_LOG_PEERCERT],
	['certmatch', TLS_LOG_CERTMATCH],
	['verbose', TLS_LOG_VERBOSE],
	['cache', TLS_LOG_CACHE],
	['dane', TLS_LOG_DANE],
	['trace', TLS_LOG_TRACE],
	['ssl-debug', TLS_LOG_DEBUG],
	['ssl-handshake-packet-dump', TLS_LOG_TLSPKTS],
	['ssl-session-packet-dump', TLS_LOG_TLSPKTS | TLS_LOG_ALLPKTS],
]);

/* The warning is logged once per process. */
let traceWarned = false;

/**
 * The mask of a log level.
 *
 * @param parameter - its name, for the warning about an unknown keyword; then the mask is 0.
 * @param features - not all releases know all keywords.
 */
export function logMask(parameter: string, level: string, features: ReleaseFeatures): number {
	let mask = 0;
	for (const token of splitList(level)) {
		const keyword = token.toLowerCase();
		const bits = isSupported(keyword, features) ? keywords.get(keyword) : undefined;
		if (bits === undefined) {
			warning(`unknown ${parameter} value "${token}" in "${level}"`);
			return 0;
		}

		mask |= bits;
	}

	if ((mask & TLS_LOG_TRACE) !== 0 && !traceWarned) {
		/* As stock does if its OpenSSL has no trace support. */
		warning(`${parameter}: ignoring "trace" log level: this program writes no protocol traces`);
		traceWarned = true;
	}

	return mask;
}

/* Postfix 3.6 has added "dane", together with verification by OpenSSL; 3.12 has added "trace". */
function isSupported(keyword: string, {legacyVerification, logLevelPerConnection}: ReleaseFeatures): boolean {
	return !((keyword === 'dane' && legacyVerification) || (keyword === 'trace' && !logLevelPerConnection));
}

/**
 * The mask of a connection: that of its settings, or, before Postfix 3.12, that of its SSL_CTX.
 *
 * @param contextMask - the mask of the SSL_CTX.
 * @param start - the settings of the connection.
 */
export function connectionLogMask(
	contextMask: number,
	{log_param, log_level}: {readonly log_param?: string | undefined; readonly log_level?: string | undefined},
	features: ReleaseFeatures,
): number {
	return features.logLevelPerConnection && log_param !== undefined && log_level !== undefined
		? logMask(log_param, log_level, features)
		: contextMask;
}
