/*++
/* NAME
/*	registered 3
/* SUMMARY
/*	find the instances that run this program
/* DESCRIPTION
/*	Finds the instances of this machine in which a service runs one
/*	copy of the program. Services that run another copy are ignored.
/* SEE ALSO
/*	uninstall(1) has a separate implementation, because it must work
/*	without the runtime of this program.
/*--*/

import {readFileSync, realpathSync} from 'node:fs';
import {join} from 'node:path';
import {allInstances, parametersOf} from './instance.ts';
import {type Entry, entries} from './master-cf.ts';
import {UsageError} from './usage-error.ts';

/**
 * The configuration directories of all instances in which a service runs the program.
 *
 * @param program - the directory of the program, without symbolic links.
 */
export function registrationsOf(program: string): readonly string[] {
	return allInstances().filter(directory => {
		const candidates = daemonDirectories(directory);
		return entries(readFileSync(join(directory, 'master.cf'), 'latin1')).some(entry =>
			candidates.some(daemonDirectory => runsProgram(daemonDirectory, entry, program)),
		);
	});
}

/* Without postconf(1), after Postfix was removed: every directory that Debian has used. */
function daemonDirectories(directory: string): readonly string[] {
	try {
		return [parametersOf(directory, ['daemon_directory']).daemon_directory];
	} catch (reason) {
		if (reason instanceof UsageError) {
			return ['/usr/lib/postfix/sbin', '/usr/libexec/postfix'];
		}

		throw reason;
	}
}

function runsProgram(daemonDirectory: string, {command}: Entry, program: string): boolean {
	const path = join(daemonDirectory, Buffer.from(command, 'latin1').toString());
	try {
		return realpathSync(path) === join(program, 'tlsproxy');
	} catch {
		return path === join(program, 'tlsproxy');
	}
}
