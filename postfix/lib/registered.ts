/*++
/* NAME
/*	registered 3
/* SUMMARY
/*	where a program is registered
/* DESCRIPTION
/*	Finds the instances of this machine that run one copy of the
/*	program. Other copies are not looked for.
/* SEE ALSO
/*	uninstall(1), which has to work without this program's runtime
/*--*/

import {readFileSync, realpathSync} from 'node:fs';
import {join} from 'node:path';
import {allInstances, parametersOf} from './instance.ts';
import {type Entry, entries, UsageError} from './master-cf.ts';

/**
 * The configuration directories of all instances in which a service runs the program.
 *
 * @param program - its directory, without symbolic links.
 */
export function registrationsOf(program: string): readonly string[] {
	return allInstances().filter(directory => {
		const daemons = daemonDirectories(directory);
		return entries(readFileSync(join(directory, 'master.cf'), 'latin1')).some(entry =>
			daemons.some(daemonDirectory => runs(daemonDirectory, entry, program)),
		);
	});
}

/* A Postfix that was removed cannot be asked: then all that Debian has had. */
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

function runs(daemonDirectory: string, {command}: Entry, program: string): boolean {
	const path = join(daemonDirectory, Buffer.from(command, 'latin1').toString());
	try {
		return realpathSync(path) === join(program, 'tlsproxy');
	} catch {
		return path === join(program, 'tlsproxy');
	}
}
