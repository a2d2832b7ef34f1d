/*++
/* NAME
/*	ciphers 3
/* SUMMARY
/*	the ciphers of one connection
/* DESCRIPTION
/*	A request or the configuration says which ciphers a connection may
/*	use: a grade, less exclusions. A cipher list that most connections
/*	of an application share becomes that of its context.
/* DIAGNOSTICS
/*	When there are none to be set the reason has been logged.
/* SEE ALSO
/*	option-lists(3), postfix src/tls/tls_misc.c, tls_set_ciphers()
/*--*/

import {cacheKey} from '../../base/cache-key.ts';
import {ERR_clear_error} from '../../ffi/openssl/libcrypto.ts';
import {SSL_set_cipher_list, type Ssl} from '../../ffi/openssl/ssl.ts';
import {info, warning} from '../../log/log.ts';
import {lowercase} from '../hostname.ts';
import {printErrors} from '../library.ts';
import {TLS_LOG_VERBOSE} from '../log-mask.ts';
import {type CipherGrades, type CipherList, cipherList} from '../option-lists.ts';
import type {SslContext} from './ssl-context.ts';

/** Which ciphers a connection may use. */
export interface CipherChoice {
	readonly cipher_grade: string;
	readonly cipher_exclusions: string;
	/** Of the peer, as the request has it. */
	readonly namaddr: string;
}

/* Of an application, most connections have the same. */
const lists = new WeakMap<CipherGrades, Map<string, CipherList>>();
/** Lists of one application. */
const LISTS = 50;

function listOf(grades: CipherGrades, grade: string, exclusions: string): CipherList {
	const known = lists.get(grades) ?? new Map<string, CipherList>();
	lists.set(grades, known);
	const key = cacheKey(grade, exclusions);
	const list = known.get(key) ?? cipherList(grades, grade, exclusions);
	if (known.size < LISTS) {
		known.set(key, list);
	}

	return list;
}

/**
 * Sets the ciphers of a connection.
 *
 * @param grades - the lists behind the grades.
 * @param logMask - of the connection.
 * @returns the cipher list; undefined when it cannot be set.
 */
export function setCiphers(
	context: SslContext,
	ssl: Ssl,
	grades: CipherGrades,
	{cipher_grade, cipher_exclusions, namaddr}: CipherChoice,
	logMask: number,
): string | undefined {
	const name = lowercase(namaddr);
	const ciphers = listOf(grades, cipher_grade, cipher_exclusions);
	if ('invalidGrade' in ciphers) {
		warning(`${name}: invalid cipher grade: "${ciphers.invalidGrade}"`);
		return undefined;
	}

	if ('invalidExclusion' in ciphers) {
		warning(`${name}: invalid unary '!+-@' in cipher exclusion: ${ciphers.invalidExclusion}`);
		return undefined;
	}

	ERR_clear_error();
	if (!context.hasCipherList(ciphers.list) && SSL_set_cipher_list(ssl, ciphers.list) !== 1) {
		warning(`${name}: error setting cipher grade: "${cipher_grade}"`);
		printErrors();
		return undefined;
	}

	if ((logMask & TLS_LOG_VERBOSE) !== 0) {
		info(`${namaddr}: TLS cipher list "${ciphers.list}"`);
	}

	return ciphers.list;
}
