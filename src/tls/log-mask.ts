/*++
/* NAME
/*	log-mask 3
/* SUMMARY
/*	TLS log levels
/* DESCRIPTION
/*	A log level is a list of numbers and words; together they make a
/*	mask. Each kind of line asks for the bits that let it through.
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

const words: ReadonlyMap<string, number> = new Map([
	['0', TLS_LOG_NONE],
	['none', TLS_LOG_NONE],
	['1', routine],
	['routine', routine],
	['2', debug],
	['debug', debug],
	['3', expert],
	['ssl-expert', expert],
	...['4', '5', '6', '7', '8', '9', 'ssl-developer'].map(word => [word, developer] as const),
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

/* Once per process. */
let warnedOfTrace = false;

/**
 * The mask of a log level.
 *
 * @param parameter - name of the parameter, for the warning about an unknown word; the mask is 0 then.
 * @param behavior - of the release: not all know all words.
 */
export function logMask(parameter: string, level: string, features: ReleaseFeatures): number {
	let mask = 0;
	for (const word of splitList(level)) {
		const name = word.toLowerCase();
		const bits = isWord(name, features) ? words.get(name) : undefined;
		if (bits === undefined) {
			warning(`unknown ${parameter} value "${word}" in "${level}"`);
			return 0;
		}

		mask |= bits;
	}

	if ((mask & TLS_LOG_TRACE) !== 0 && !warnedOfTrace) {
		/* What stock says where its OpenSSL cannot trace. */
		warning(`${parameter}: ignoring "trace" log level: this program writes no protocol traces`);
		warnedOfTrace = true;
	}

	return mask;
}

/* The one came with the verification of OpenSSL, the other with log levels of connections. */
function isWord(
	name: string,
	{legacyVerification: ownVerification, logLevelPerConnection: logsPerConnection}: ReleaseFeatures,
): boolean {
	return !((name === 'dane' && ownVerification) || (name === 'trace' && !logsPerConnection));
}

/**
 * The mask of a connection: its own where the release has such, otherwise that of its context.
 *
 * @param ofContext - the mask of the properties that select the context.
 * @param start - the properties of the connection.
 */
export function connectionLogMask(
	ofContext: number,
	{log_param, log_level}: {readonly log_param?: string | undefined; readonly log_level?: string | undefined},
	features: ReleaseFeatures,
): number {
	return features.logLevelPerConnection && log_param !== undefined && log_level !== undefined
		? logMask(log_param, log_level, features)
		: ofContext;
}
