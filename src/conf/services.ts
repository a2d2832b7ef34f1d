/*++
/* NAME
/*	services 3
/* SUMMARY
/*	the clients of tlsproxy(8) in master.cf
/* DESCRIPTION
/*	Finds the services of master.cf that run smtp(8) or lmtp(8), with
/*	the configuration that each of them has: that of main.cf, and its
/*	own settings on top. Whoever serves them can know beforehand what
/*	they will ask for. To be called before the jail.
/* DIAGNOSTICS
/*	ConfigurationError: postconf is missing, fails or does not answer.
/* SEE ALSO
/*	master(5), postconf(1)
/*--*/

import type {Configuration} from './configuration.ts';
import {readMasterCf, type Values, withExactSpace} from './exact.ts';
import {postconfLines, valuesIn} from './postconf.ts';

/** One service. */
export interface MailClient {
	/** Name and type, as postconf(1) prints them. */
	readonly service: string;
	/** Parameters of the two have different names. */
	readonly program: 'smtp' | 'lmtp';
	readonly configuration: Configuration;
}

/** What master.cf says, as postconf(1) prints it. */
export interface MasterFile {
	/** A line per service. */
	readonly services: readonly string[];
	/** A line per setting of a service. */
	readonly settings: readonly string[];
}

/**
 * Reads master.cf.
 *
 * @param configDirectory - its directory; without, the one that postconf chooses.
 * @param postconf - path of postconf(1); without, the usual places are tried.
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

/** @param configuration - of this process, from the same directory. */
export function mailClients(
	{services, settings}: MasterFile,
	configuration: Configuration,
): readonly MailClient[] {
	const written = readMasterCf(configuration.configDirectory);
	const exact = withExactSpace(valuesIn(settings), written);
	return services.flatMap(line => {
		const [name = '', type = '', , , , , , command = ''] = line.split(/\s+/);
		const program = command.replace(/^.*\//, '');
		if (program !== 'smtp' && program !== 'lmtp') {
			return [];
		}

		const service = `${name}/${type}`;
		const own = settingsOf(service, exact);
		own.set('service_name', name).set('process_name', program);
		return [{service, program, configuration: configuration.forService(own)}];
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
