/*++
/* NAME
/*	linkage 3
/* SUMMARY
/*	find the libraries that the installed Postfix is linked with
/* DESCRIPTION
/*	Several releases of OpenSSL can be installed. This program must use
/*	the one of Postfix: main.cf is written for its configuration file,
/*	policies and cipher names, and tlsmgr(8) stores its sessions. The
/*	same applies to ICU, whose releases convert different domain names.
/*	The names of the libraries are read from the shared libraries of
/*	Postfix, or from its daemons if it has none.
/*--*/

import {readdirSync} from 'node:fs';
import {join} from 'node:path';
import {neededLibraries} from '../base/elf.ts';
import type {Configuration} from './configuration.ts';

/* Daemons that use TLS. Not tlsproxy, which this program can have replaced. */
const daemons = ['smtp', 'smtpd', 'tlsmgr'];

/** The name of the libssl that Postfix is linked with, such as `libssl.so.3`; undefined if it is not found. */
export function linkedLibssl(configuration: Configuration): string | undefined {
	return find(configuration, 'tls', 'libssl.so.');
}

/** The name of the libtlsrpt that Postfix is linked with; undefined if it is not. */
export function linkedLibtlsrpt(configuration: Configuration): string | undefined {
	return find(configuration, 'tls', 'libtlsrpt.so.');
}

/** The name of the libicuuc that Postfix is linked with, such as `libicuuc.so.72`; undefined if it is not. */
export function linkedLibicuuc(configuration: Configuration): string | undefined {
	return find(configuration, 'util', 'libicuuc.so.');
}

/* Searches libpostfix-PART, then the daemons. */
function find(configuration: Configuration, part: 'tls' | 'util', prefix: string): string | undefined {
	const shlibDirectory = configuration.string('shlib_directory');
	const daemonDirectory = configuration.string('daemon_directory');
	const files = [
		...namesIn(shlibDirectory)
			.filter(name => name === `libpostfix-${part}.so` || name.startsWith(`libpostfix-${part}.so.`))
			.map(name => join(shlibDirectory, name)),
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

/* Empty if the directory cannot be read: shlib_directory is `no` in a Postfix without shared libraries. */
function namesIn(directory: string): readonly string[] {
	try {
		return readdirSync(directory).toSorted();
	} catch {
		return [];
	}
}
