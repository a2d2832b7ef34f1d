/*++
/* NAME
/*	registered 3
/* SUMMARY
/*	where a program is registered
/* DESCRIPTION
/*	Finds the services that run one copy of the program, in all
/*	instances of the machine. A package has to know before it goes
/*	away, and other copies are not its business.
/*--*/

import {readFileSync, realpathSync} from 'node:fs';
import {join} from 'node:path';
import {allInstances, parametersOf} from './instance.ts';
import {type Entry, entries, Refusal, registeredServices} from './master-cf.ts';

/** A service that runs the program. */
export interface Registered {
	/** Configuration directory. */
	readonly directory: string;
	readonly service: string;
	/** Whether install wrote the line; else somebody did by hand. */
	readonly byInstall: boolean;
	/** Number of its first line in master.cf, from 1. */
	readonly line: number;
}

/**
 * All services that run a program.
 *
 * @param program - directory of the program, without symbolic links.
 */
export function registrationsOf(program: string): readonly Registered[] {
	return allInstances().flatMap(directory => {
		const text = readFileSync(join(directory, 'master.cf'), 'latin1');
		const daemons = daemonDirectories(directory);
		const ours = new Set(registeredServices(text));
		return entries(text)
			.filter(entry => daemons.some(daemonDirectory => runs(daemonDirectory, entry, program)))
			.map(({name, lines}) => ({
				directory,
				service: name,
				byInstall: ours.has(name),
				line: lines[0] + 1,
			}));
	});
}

/* A Postfix that was removed cannot be asked: then all that Debian has had. */
function daemonDirectories(directory: string): readonly string[] {
	try {
		return [parametersOf(directory, ['daemon_directory']).daemon_directory];
	} catch (reason) {
		if (reason instanceof Refusal) {
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
