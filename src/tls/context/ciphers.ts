/*++
/* NAME
/*	ciphers 3
/* SUMMARY
/*	select the ciphers of a connection
/* DESCRIPTION
/*	A request or the configuration selects the ciphers of a connection
/*	by a grade and a list of exclusions. If the SSL_CTX already has the
/*	resulting cipher list, it is not set again for the connection.
/* DIAGNOSTICS
/*	Invalid grades and exclusions, and errors of OpenSSL, are logged as
/*	warnings.
/* SEE ALSO
/*	option-lists(3), postfix src/tls/tls_misc.c, tls_set_ciphers()
/*--*/

import {cacheKey} from '../../base/cache-key.ts';
import {Lru} from '../../base/lru.ts';
import {ERR_clear_error} from '../../ffi/openssl/libcrypto.ts';
import {SSL_set_cipher_list, type Ssl} from '../../ffi/openssl/ssl.ts';
import {info, warning} from '../../log/log.ts';
import {lowercase} from '../hostname.ts';
import {printErrors} from '../library.ts';
import {TLS_LOG_VERBOSE} from '../log-mask.ts';
import {type CipherGrades, type CipherList, cipherList} from '../option-lists.ts';
import type {SslContext} from './ssl-context.ts';

/** The ciphers that a connection may use. */
export interface CipherChoice {
	readonly cipher_grade: string;
	readonly cipher_exclusions: string;
	/** Name and address of the peer, as in the request. */
	readonly namaddr: string;
}

/* Number of cached cipher lists for one set of grades. Most connections have the same list. */
const LIST_LIMIT = 50;

/* By the grades of an SSL_CTX. */
const caches = new WeakMap<CipherGrades, Lru<string, CipherList>>();

function cachedCipherList(grades: CipherGrades, grade: string, exclusions: string): CipherList {
	let cache = caches.get(grades);
	if (cache === undefined) {
		cache = new Lru(LIST_LIMIT);
		caches.set(grades, cache);
	}

	const key = cacheKey(grade, exclusions);
	let list = cache.get(key);
	if (list === undefined) {
		list = cipherList(grades, grade, exclusions);
		cache.set(key, list);
	}

	return list;
}

/**
 * Sets the ciphers of a connection.
 *
 * @param grades - the cipher list of each grade.
 * @param logMask - of the connection.
 * @returns the cipher list; undefined if it cannot be set, and the reason has been logged.
 */
export function setCiphers(
	context: SslContext,
	ssl: Ssl,
	grades: CipherGrades,
	{cipher_grade, cipher_exclusions, namaddr}: CipherChoice,
	logMask: number,
): string | undefined {
	const name = lowercase(namaddr);
	const ciphers = cachedCipherList(grades, cipher_grade, cipher_exclusions);
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
