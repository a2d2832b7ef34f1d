/*++
/* NAME
/*	named-files 3
/* SUMMARY
/*	the certificate files that settings name
/* DESCRIPTION
/*	Settings name files in several ways. This module lists the files
/*	that Postfix loads, compares settings, and formats them for the
/*	log. It opens no file.
/* SEE ALSO
/*	certificates(3), postfix src/tls/tls_certkey.c
/*--*/

import {cacheKey} from '../../base/cache-key.ts';
import {splitList} from '../../base/text.ts';

/** The files of one identity. Names as on the wire, one character per byte. */
export interface IdentityFiles {
	readonly chain_files: string;
	readonly cert_file: string;
	readonly key_file: string;
	readonly dcert_file: string;
	readonly dkey_file: string;
	readonly eccert_file: string;
	readonly eckey_file: string;
}

/** Files and directory of trusted certificates. */
export interface AuthorityFiles {
	readonly CAfile: string;
	readonly CApath: string;
}

/** The older settings, in the order in which they are loaded. */
export const pairs = [
	['RSA', 'cert_file', 'key_file'],
	['DSA', 'dcert_file', 'dkey_file'],
	['ECDSA', 'eccert_file', 'eckey_file'],
] as const;

/** The elements of chain_files. Source: load_chain_files(), postfix src/tls/tls_certkey.c. */
export function filesOfChain({chain_files}: Pick<IdentityFiles, 'chain_files'>): readonly string[] {
	return splitList(chain_files);
}

/**
 * The settings of an identity that have an effect, each with the files that it names.
 *
 * Note: chain_files is a list, and replaces all others unless it is empty. The others name one file each,
 * whatever characters that name contains; a key without a certificate is not loaded.
 * Source: tls_set_my_certificate_key_info(), postfix src/tls/tls_certkey.c.
 */
function effectiveSettings(
	files: IdentityFiles,
): ReadonlyArray<readonly [setting: keyof IdentityFiles, names: readonly string[]]> {
	if (files.chain_files !== '') {
		return [['chain_files', filesOfChain(files)]];
	}

	return pairs
		.filter(([, certificate]) => files[certificate] !== '')
		.flatMap(([, certificate, key]) => [
			[certificate, [files[certificate]]],
			[key, [files[key]]],
		]);
}

/** The files that are loaded for an identity. */
export function namedFiles(files: IdentityFiles): readonly string[] {
	return effectiveSettings(files)
		.flatMap(([, names]) => names)
		.filter(name => name !== '');
}

/** The key of an identity: equal for settings that load the same files in the same way. */
export function identityKey(files: IdentityFiles): string {
	return cacheKey(...effectiveSettings(files).map(([setting, names]) => cacheKey(setting, ...names)));
}

/** The key of trusted certificates. If no file is named, appendDefault has no effect. */
export function authorityKey({CAfile, CApath}: AuthorityFiles, appendDefault: boolean): string {
	return CAfile === '' && CApath === '' ? '' : cacheKey(CAfile, CApath, String(appendDefault));
}

/**
 * The files that a client names, as settings for the log.
 *
 * @param prefix - of the names of the parameters, such as `smtp_tls_`.
 */
export function namedSettings(files: IdentityFiles & AuthorityFiles, prefix: string): string {
	return [...identitySettings(files, prefix), ...authoritySettings(files, prefix)].join('; ');
}

/** The common prefix of a client's parameter names, from the name of its log level; empty for another name. */
export function parameterPrefix(logParameter: string): string {
	return logParameter.endsWith('loglevel') ? logParameter.slice(0, -'loglevel'.length) : '';
}

/** The files of an identity, as settings for the log. */
export function identitySettings(files: IdentityFiles, prefix: string): readonly string[] {
	return effectiveSettings(files).map(([setting, names]) => `${prefix}${setting} = ${names.join(', ')}`);
}

/** The files of trusted certificates, as settings for the log. */
export function authoritySettings({CAfile, CApath}: AuthorityFiles, prefix: string): readonly string[] {
	return [
		...(CAfile === '' ? [] : [`${prefix}CAfile = ${CAfile}`]),
		...(CApath === '' ? [] : [`${prefix}CApath = ${CApath}`]),
	];
}
