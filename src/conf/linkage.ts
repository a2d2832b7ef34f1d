/*++
/* NAME
/*	linkage 3
/* SUMMARY
/*	which libraries for TLS the installed Postfix uses
/* DESCRIPTION
/*	A host can have several releases of OpenSSL. That of Postfix is
/*	the one whose configuration file, policies and cipher names its
/*	administrator knows, and whose sessions tlsmgr(8) keeps. Its name
/*	stands in Postfix's own files: in its library for TLS, where it is
/*	built with shared libraries, or else in its daemons.
/*--*/

import {readdirSync} from 'node:fs';
import {join} from 'node:path';
import type {Configuration} from './configuration.ts';
import {neededLibraries} from './elf.ts';

/* Daemons that do TLS. tlsproxy itself may have been replaced. */
const daemons = ['smtp', 'smtpd', 'tlsmgr'];

/** The name of the libssl that Postfix is linked with, such as `libssl.so.3`; undefined when that cannot be seen. */
export function libsslOf(configuration: Configuration): string | undefined {
	return find(configuration, 'libssl.so.');
}

/** The name of the libtlsrpt that Postfix is linked with; undefined when it is not. */
export function libtlsrptOf(configuration: Configuration): string | undefined {
	return find(configuration, 'libtlsrpt.so.');
}

function find(configuration: Configuration, prefix: string): string | undefined {
	const library = configuration.string('shlib_directory');
	const daemonDirectory = configuration.string('daemon_directory');
	const files = [
		...namesIn(library)
			.filter(name => /^libpostfix-tls\.so(\.|$)/.test(name))
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
