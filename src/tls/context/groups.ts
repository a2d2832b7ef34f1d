/*++
/* NAME
/*	groups 3
/* SUMMARY
/*	key exchange groups of an SSL_CTX
/* DESCRIPTION
/*	Two parameters name groups: tls_eecdh_auto_curves, and since 3.8
/*	tls_ffdhe_auto_groups. Each name is tried on a temporary SSL_CTX,
/*	and the names that the library supports are set. Releases differ in
/*	how they look up names, and in what they do when no name is
/*	supported.
/* DIAGNOSTICS
/*	The warnings of stock. After a warning the groups are OpenSSL's
/*	defaults.
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
} from '../../ffi/openssl/ssl-ctx.ts';
import {warning} from '../../log/log.ts';
import {printErrors} from '../library.ts';

/** The parameters that name groups. */
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
	if (configured.every(names => names === '')) {
		return;
	}

	let result = tryGroups(ctx, configured, 'configured', byName);
	const [curves, fields] = hasKeywords() ? features.defaultGroupsByKeyword : features.defaultGroups;
	const defaults = [curves, finiteFields(fields)] as const;
	if (result === 'no-group' && configured.some((names, index) => names.trim() !== defaults[index])) {
		warning('using Postfix default key exchange groups instead');
		result = tryGroups(ctx, defaults, 'Postfix default', byName);
	}

	if (result !== 'set') {
		warning('using OpenSSL default key exchange groups instead');
	}
}

/* Keywords such as "DEFAULT". */
function hasKeywords(): boolean {
	return OpenSSL_version_num() >= 0x30_50_00_00;
}

/* OpenSSL before 3.0 supports curves only. */
function finiteFields(names: string): string {
	return isOpenssl3() ? names : '';
}

function tryGroups(
	ctx: SslCtx,
	parameters: readonly string[],
	origin: string,
	byName: boolean,
): 'set' | 'no-group' | 'failed' {
	const names = splitList(parameters.join(' '), byName ? ':' : '');
	if (names.length === 0) {
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
		? namedGroups(ctx, probe, names)
		: numberedGroups(ctx, probe, names, 'key exchange group');
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

/* A function that sets the supported groups; undefined when no group is supported. OpenSSL refuses duplicate names. */
function namedGroups(ctx: SslCtx, probe: SslCtx, names: readonly string[]): (() => boolean) | undefined {
	const usable = new Map<string, string>();
	for (const name of names) {
		const key = name.toLowerCase();
		if (!usable.has(key) && SSL_CTX_set1_groups_list(probe, name) === 1) {
			usable.set(key, name);
		}
	}

	return usable.size === 0
		? undefined
		: () => SSL_CTX_set1_groups_list(ctx, [...usable.values()].join(':')) === 1;
}

/* The same for names that have a number (NID). */
function numberedGroups(
	ctx: SslCtx,
	probe: SslCtx,
	names: readonly string[],
	label: string,
): (() => boolean) | undefined {
	const usable: number[] = [];
	for (const name of names) {
		const nid = EC_curve_nist2nid(name) || OBJ_sn2nid(name) || OBJ_ln2nid(name);
		if (nid === NID_undef) {
			warning(`ignoring unknown ${label} "${name}"`);
		} else if (SSL_CTX_set1_groups(probe, [nid]) === 1) {
			usable.push(nid);
		}
	}

	return usable.length === 0 ? undefined : () => SSL_CTX_set1_groups(ctx, usable) === 1;
}

/* Source: tls_auto_eecdh_curves(), postfix src/tls/tls_dh.c of 3.7. */
function setCurves(ctx: SslCtx, parameter: string): void {
	const names = splitList(parameter);
	if (names.length === 0) {
		return;
	}

	const probe = SSL_CTX_new(TLS_client_method());
	if (probe === null) {
		warning('cannot allocate temp SSL_CTX, using default ECDHE curves');
		return;
	}

	const set = numberedGroups(ctx, probe, names, 'ECDHE curve');
	SSL_CTX_free(probe);
	ERR_clear_error();
	if (set === undefined) {
		warning('none of the configured ECDHE curves are supported');
	} else if (!set()) {
		warning('failed to configure ECDHE curves');
		ERR_clear_error();
	}
}
