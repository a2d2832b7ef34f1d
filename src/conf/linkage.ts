/*++
/* NAME
/*	linkage 3
/* SUMMARY
/*	which libraries the installed Postfix uses
/* DESCRIPTION
/*	A host can have several releases of OpenSSL. That of Postfix is
/*	the one whose configuration file, policies and cipher names its
/*	administrator knows, and whose sessions tlsmgr(8) keeps. The same
/*	holds for the releases of ICU, which convert different names. The
/*	names of these libraries are in Postfix's own files: in its shared
/*	libraries, or in its daemons if it has none.
/*--*/

import {readdirSync} from 'node:fs';
import {join} from 'node:path';
import type {Configuration} from './configuration.ts';
import {neededLibraries} from './elf.ts';

/* Daemons that do TLS. tlsproxy itself may have been replaced. */
const daemons = ['smtp', 'smtpd', 'tlsmgr'];

/** The name of the libssl that Postfix is linked with, such as `libssl.so.3`; undefined when that cannot be seen. */
export function linkedLibssl(configuration: Configuration): string | undefined {
	return find(configuration, 'tls', 'libssl.so.');
}

/** The name of the libtlsrpt that Postfix is linked with; undefined when it is not. */
export function linkedLibtlsrpt(configuration: Configuration): string | undefined {
	return find(configuration, 'tls', 'libtlsrpt.so.');
}

/** The name of the libicuuc that Postfix is linked with, such as `libicuuc.so.72`; undefined when it is not. */
export function libicuucOf(configuration: Configuration): string | undefined {
	return find(configuration, 'util', 'libicuuc.so.');
}

/* In libpostfix-PART, or else in the daemons. */
function find(configuration: Configuration, part: 'tls' | 'util', prefix: string): string | undefined {
	const library = configuration.string('shlib_directory');
	const daemonDirectory = configuration.string('daemon_directory');
	const files = [
		...namesIn(library)
			.filter(name => name === `libpostfix-${part}.so` || name.startsWith(`libpostfix-${part}.so.`))
			.map(name => join(library, name)),
		...daemons.map(name => join(daemonDirectory, name)),
	];
	for (const file of files) {
		const found = neededLibraries(file).find(name => name.startsWith(prefix));
		if (found !== undefined) {
			return found;
		}
	}

	return undefined;
}

/* `shlib_directory = no`: there are no shared libraries. */
function namesIn(directory: string): readonly string[] {
	try {
		return readdirSync(directory).toSorted();
	} catch {
		return [];
	}
}
