/*++
/* NAME
/*	credential-files 3
/* SUMMARY
/*	certificate, key and CA files that are read before the chroot jail
/* DESCRIPTION
/*	Each role lists its files and loads them into a CredentialStore.
/*	This module does everything else with these lists: it names the
/*	files for the file watcher, and checks whether changed files would
/*	load.
/*--*/

import {fromBytes} from '../base/text.ts';
import {captureWarnings} from '../log/log.ts';
import {type CredentialFileNames, CredentialStore} from '../tls/context/credential-store.ts';
import {namedFiles} from '../tls/context/named-files.ts';

/** The files of one identity, and of the CAs that it trusts. */
export interface CredentialFiles {
	/** The master.cf service that uses them; undefined: the tlsproxy(8) service itself. */
	readonly owner: string | undefined;
	/** The program of that service, whose parameters name the files. */
	readonly program?: 'smtp' | 'lmtp';
	readonly files: CredentialFileNames;
	/** tls_append_default_CA */
	readonly appendDefault: boolean;
	/** Files of lookup tables. Their contents are not loaded in advance. */
	readonly tables?: readonly string[];
}

/** The configured file names. A CApath directory is not included: OpenSSL reads it during each verification. */
export function fileNames(credentialFiles: readonly CredentialFiles[]): readonly string[] {
	return credentialFiles.flatMap(({files, tables = []}) =>
		[...[...namedFiles(files), files.CAfile].map(fromBytes), ...tables].filter(name => name !== ''),
	);
}

/**
 * Loads files into a temporary store, to check whether they are usable.
 *
 * @param changed - names of changed files. Entries without any of these files are skipped.
 * @returns the warnings of the first entry that does not load; undefined if all of them load.
 */
export function loadProblem(
	credentialFiles: readonly CredentialFiles[],
	changed: readonly string[],
): string | undefined {
	using credentialStore = new CredentialStore();
	for (const entry of credentialFiles) {
		if (!fileNames([entry]).some(name => changed.includes(name))) {
			continue;
		}

		const {result, warnings} = captureWarnings(() => credentialStore.load(entry.files, entry.appendDefault));
		if (!result || warnings.length > 0) {
			return warnings.join('; ').replaceAll(': disabling TLS support', '') || 'the files cannot be loaded';
		}
	}

	return undefined;
}
