/*++
/* NAME
/*	groups 3
/* SUMMARY
/*	key exchange groups of a context
/* DESCRIPTION
/*	Two parameters name groups: tls_eecdh_auto_curves, and since 3.8
/*	tls_ffdhe_auto_groups. Each word is tried on a context that is
/*	thrown away, and those that the library has are set: which groups
/*	there are is its own affair. Releases differ in how they call
/*	groups, and in what they do when nothing is left.
/* DIAGNOSTICS
/*	Warnings, in the words of stock. Then the groups are those that
/*	OpenSSL has by default.
/* SEE ALSO
/*	postfix src/tls/tls_dh.c
/*--*/

import {splitList} from '../../base/text.ts';
import type {ReleaseFeatures} from '../../conf/release.ts';
import {
	EC_curve_nist2nid,
	ERR_clear_error,
	isOpenssl3,
	NID_undef,
	OBJ_ln2nid,
	OBJ_sn2nid,
	OpenSSL_version_num,
} from '../../ffi/openssl/libcrypto.ts';
import {
	SSL_CTX_free,
	SSL_CTX_new,
	SSL_CTX_set1_groups,
	SSL_CTX_set1_groups_list,
	type SslCtx,
	TLS_client_method,
} from '../../ffi/openssl/libssl.ts';
import {warning} from '../../log/log.ts';
import {printErrors} from '../library.ts';

/** The two parameters. */
export interface GroupParameters {
	readonly tls_eecdh_auto_curves: string;
	readonly tls_ffdhe_auto_groups?: string | undefined;
}

/** Sets the key exchange groups of a context. Source: tls_auto_groups() and its predecessors, postfix src/tls/tls_dh.c. */
export function setGroups(ctx: SslCtx, parameters: GroupParameters, features: ReleaseFeatures): void {
	if (features.groups === 'curves') {
		setCurves(ctx, parameters.tls_eecdh_auto_curves);
		return;
	}

	const byName = features.groups === 'names';
	const configured = [
		parameters.tls_eecdh_auto_curves,
		finiteFields(parameters.tls_ffdhe_auto_groups ?? ''),
	] as const;
	if (configured.every(words => words === '')) {
		return;
	}

	let result = tryGroups(ctx, configured, 'configured', byName);
	const [curves, fields] = hasKeywords() ? features.defaultGroupsByKeyword : features.defaultGroups;
	const defaults = [curves, finiteFields(fields)] as const;
	if (result === 'no-group' && configured.some((words, index) => words.trim() !== defaults[index])) {
		warning('using Postfix default key exchange groups instead');
		result = tryGroups(ctx, defaults, 'Postfix default', byName);
	}

	if (result !== 'set') {
		warning('using OpenSSL default key exchange groups instead');
	}
}

/* "DEFAULT" and the like. */
function hasKeywords(): boolean {
	return OpenSSL_version_num() >= 0x30_50_00_00;
}

/* Before OpenSSL 3.0 there were no others than curves. */
function finiteFields(words: string): string {
	return isOpenssl3() ? words : '';
}

function tryGroups(
	ctx: SslCtx,
	parameters: readonly string[],
	origin: string,
	byName: boolean,
): 'set' | 'no-group' | 'failed' {
	const words = splitList(parameters.join(' '), byName ? ':' : '');
	if (words.length === 0) {
		warning(`no ${origin} key exchange group - OpenSSL requires at least one`);
		return 'no-group';
	}

	const probe = SSL_CTX_new(TLS_client_method());
	if (probe === null) {
		warning('cannot allocate temp SSL_CTX');
		printErrors();
		return 'failed';
	}

	const set = byName
		? namedGroups(ctx, probe, words)
		: numberedGroups(ctx, probe, words, 'key exchange group');
	SSL_CTX_free(probe);
	ERR_clear_error();
	if (set === undefined) {
		warning(`none of the ${origin} key exchange groups are supported`);
		return 'no-group';
	}

	if (!set()) {
		warning(`failed to set up the ${origin} key exchange groups`);
		printErrors();
		return 'failed';
	}

	return 'set';
}

/* How to set those of the words that the library has; undefined when it has none. OpenSSL does not tolerate a name twice. */
function namedGroups(ctx: SslCtx, probe: SslCtx, words: readonly string[]): (() => boolean) | undefined {
	const usable = new Map<string, string>();
	for (const word of words) {
		const key = word.toLowerCase();
		if (!usable.has(key) && SSL_CTX_set1_groups_list(probe, word) === 1) {
			usable.set(key, word);
		}
	}

	return usable.size === 0
		? undefined
		: () => SSL_CTX_set1_groups_list(ctx, [...usable.values()].join(':')) === 1;
}

/* The same for words that the library has numbers for. */
function numberedGroups(
	ctx: SslCtx,
	probe: SslCtx,
	words: readonly string[],
	what: string,
): (() => boolean) | undefined {
	const usable: number[] = [];
	for (const word of words) {
		const nid = EC_curve_nist2nid(word) || OBJ_sn2nid(word) || OBJ_ln2nid(word);
		if (nid === NID_undef) {
			warning(`ignoring unknown ${what} "${word}"`);
		} else if (SSL_CTX_set1_groups(probe, [nid]) === 1) {
			usable.push(nid);
		}
	}

	return usable.length === 0 ? undefined : () => SSL_CTX_set1_groups(ctx, usable) === 1;
}

/* Source: tls_auto_eecdh_curves(), postfix src/tls/tls_dh.c of 3.7. */
function setCurves(ctx: SslCtx, parameter: string): void {
	const words = splitList(parameter);
	if (words.length === 0) {
		return;
	}

	const probe = SSL_CTX_new(TLS_client_method());
	if (probe === null) {
		warning('cannot allocate temp SSL_CTX, using default ECDHE curves');
		return;
	}

	const set = numberedGroups(ctx, probe, words, 'ECDHE curve');
	SSL_CTX_free(probe);
	ERR_clear_error();
	if (set === undefined) {
		warning('none of the configured ECDHE curves are supported');
	} else if (!set()) {
		warning('failed to configure ECDHE curves');
		ERR_clear_error();
	}
}
