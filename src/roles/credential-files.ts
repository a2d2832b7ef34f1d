/*++
/* NAME
/*	credential-files 3
/* SUMMARY
/*	the certificate files that are read before the jail
/* DESCRIPTION
/*	The roles say which they are. Here is what others do with them than
/*	loading them: wait for them to change, and look whether a change is
/*	good.
/*--*/

import {fromBytes} from '../base/text.ts';
import {captureWarnings} from '../log/log.ts';
import {type CredentialFileNames, CredentialStore} from '../tls/context/credential-store.ts';
import {namedFiles} from '../tls/context/named-files.ts';

/** Files that are loaded together. */
export interface CredentialFiles {
	/** Whose they are: a service of master.cf. Undefined: our own. */
	readonly owner: string | undefined;
	/** The program of that service, whose parameters name the files. */
	readonly program?: 'smtp' | 'lmtp';
	readonly files: CredentialFileNames;
	/** tls_append_default_CA */
	readonly appendDefault: boolean;
	/** Files of lookup tables. What is in them is looked at when it is needed. */
	readonly tables?: readonly string[];
}

/** The files, with the names that are configured. Directories are not among them: they are read when needed. */
export function fileNames(credentialFiles: readonly CredentialFiles[]): readonly string[] {
	return credentialFiles.flatMap(({files, tables = []}) =>
		[...[...namedFiles(files), files.CAfile].map(fromBytes), ...tables].filter(name => name !== ''),
	);
}

/**
 * Loads materials to see whether that works, and forgets them.
 *
 * @param changed - only those that have one of these files.
 * @returns what is wrong, in the words of those who load; undefined when nothing is.
 */
export function loadProblem(
	credentialFiles: readonly CredentialFiles[],
	changed: readonly string[],
): string | undefined {
	using credentialStore = new CredentialStore();
	for (const material of credentialFiles) {
		if (!fileNames([material]).some(name => changed.includes(name))) {
			continue;
		}

		const {result, warnings} = captureWarnings(() =>
			credentialStore.load(material.files, material.appendDefault),
		);
		if (!result || warnings.length > 0) {
			return warnings.join('; ').replaceAll(': disabling TLS support', '') || 'they cannot be loaded';
		}
	}

	return undefined;
}
