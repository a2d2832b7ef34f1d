/*++
/* NAME
/*	services 3
/* SUMMARY
/*	find the clients of tlsproxy(8) in master.cf
/* DESCRIPTION
/*	Finds the services in master.cf that run smtp(8) or lmtp(8), and
/*	the configuration of each: main.cf with the -o options of the
/*	service. The result lists the files that requests will name while
/*	they can still be opened, before the process enters the jail.
/* DIAGNOSTICS
/*	ConfigurationError: postconf(1) cannot be run, fails, or exceeds
/*	its time limit.
/* SEE ALSO
/*	master(5), postconf(1)
/*--*/

import type {Configuration} from './configuration.ts';
import {readMasterCf, type Values, withExactSpace} from './exact-space.ts';
import {postconfLines} from './postconf.ts';
import {type MasterFile, valuesIn} from './postconf-output.ts';

/** A service that can send requests. */
export interface MailClient {
	/** `name/type`, as postconf(1) prints it. */
	readonly service: string;
	/** The program. Its name is the prefix of its parameters. */
	readonly program: 'smtp' | 'lmtp';
	readonly configuration: Configuration;
}

/**
 * Reads master.cf with postconf(1).
 *
 * @param configDirectory - the configuration directory; by default, that of postconf(1).
 * @param postconf - pathname of postconf(1); by default, it is searched for.
 */
export async function readMasterFile(
	configDirectory: string | undefined,
	postconf?: string,
): Promise<MasterFile> {
	const directory = configDirectory === undefined ? [] : ['-c', configDirectory];
	const [services, settings] = await Promise.all([
		postconfLines([...directory, '-M'], postconf),
		postconfLines([...directory, '-P'], postconf),
	]);
	return {services, settings};
}

/**
 * Finds the services that run smtp(8) or lmtp(8).
 *
 * @param configuration - that of this process, from the same directory.
 */
export function mailClients(
	{services, settings}: MasterFile,
	configuration: Configuration,
): readonly MailClient[] {
	const fromFile = readMasterCf(configuration.configDirectory);
	const values = withExactSpace(valuesIn(settings), fromFile);
	return services.flatMap(line => {
		const [name = '', type = '', , , , , , command = ''] = line.split(/\s+/);
		const program = command.replace(/^.*\//, '');
		if (program !== 'smtp' && program !== 'lmtp') {
			return [];
		}

		const service = `${name}/${type}`;
		const overrides = settingsOf(service, values);
		overrides.set('service_name', name).set('process_name', program);
		return [{service, program, configuration: configuration.forService(overrides)}];
	});
}

function settingsOf(service: string, settings: Values): Map<string, string> {
	const prefix = `${service}/`;
	return new Map(
		[...settings]
			.filter(([name]) => name.startsWith(prefix))
			.map(([name, value]) => [name.slice(prefix.length), value]),
	);
}
