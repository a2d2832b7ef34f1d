/*++
/* NAME
/*	postconf 3
/* SUMMARY
/*	read the configuration with postconf(1)
/* DESCRIPTION
/*	readConfiguration() gets the unexpanded values of all parameters
/*	from the installed postconf(1), which knows the defaults of its
/*	release and reads main.cf as Postfix does, except for white space,
/*	which exact-space(3) restores. Settings on the command line, and the
/*	parameters that describe the process, replace these values. This
/*	must be done before the process enters its jail.
/*
/*	Usually the supervisor has run postconf(1) while this process was
/*	started. Otherwise this module runs it, once. A second run is
/*	needed only if a setting on the command line refers to a name that
/*	is not a parameter of Postfix: postconf(1) prints such a name only
/*	if main.cf or master.cf refers to it.
/*
/*	The command is not run with execa, which other parts of this
/*	project use: that would add 14 ms to each start, while a client
/*	waits, and 5 MB to each process.
/* DIAGNOSTICS
/*	ConfigurationError: postconf(1) cannot be run, fails, or exceeds
/*	its time limit.
/* SEE ALSO
/*	postconf(1)
/*--*/

import {existsSync} from 'node:fs';
import {ConfigurationError} from '../base/errors.ts';
import {commandLines} from './command.ts';
import {Configuration} from './configuration.ts';
import {readMainCf, withExactSpace} from './exact-space.ts';
import {valuesIn} from './postconf-output.ts';

/** The sources of the configuration of a process. */
export interface ConfigurationSource {
	/** Directory of main.cf; by default, that of postconf(1): MAIL_CONFIG, or built in. */
	readonly configDirectory?: string;
	/** Settings on the command line, in order. The last one for a name applies. */
	readonly overrides: ReadonlyArray<readonly [name: string, value: string]>;
	/** Name of the service in master.cf. */
	readonly serviceName: string;
	/** Base name of the program. */
	readonly processName: string;
	/** The output of postconf(1), if it has been run already. */
	readonly parameters?: readonly string[] | undefined;
	/** Pathname of postconf(1); by default, it is searched for. */
	readonly postconf?: string;
}

/**
 * Reads the configuration of this process.
 *
 * @throws {ConfigurationError} if postconf(1) cannot be run, or rejects main.cf.
 */
export async function readConfiguration(source: ConfigurationSource): Promise<Configuration> {
	const {configDirectory, overrides, serviceName, processName} = source;
	const postconf = source.postconf ?? findPostconf();
	const directory = configDirectory === undefined ? [] : ['-c', configDirectory];
	const values = valuesIn(source.parameters ?? (await postconfLines(directory, postconf)));

	const processParameters = new Map([
		['service_name', serviceName],
		['process_name', processName],
		['process_id', String(process.pid)],
		['config_directory', configDirectory ?? values.get('config_directory') ?? ''],
	]);
	const settings = new Map([...overrides, ...processParameters]);

	/*
	 * postconf(1) searches main.cf for each name that a parameter refers to, and for
	 * the names in its value. Here, mail_name is the parameter with the references:
	 * all releases have it, and this program does not use it.
	 */
	const unknown = namesIn(settings.values()).filter(name => !values.has(name) && !settings.has(name));
	if (unknown.length > 0) {
		const references = unknown.map(name => `\${${name}}`).join(' ');
		const lines = await postconfLines([...directory, '-o', `mail_name=${references}`], postconf);
		for (const [name, value] of valuesIn(lines)) {
			if (!values.has(name)) {
				values.set(name, value);
			}
		}
	}

	const mainCf = readMainCf(configDirectory ?? values.get('config_directory') ?? '');
	return new Configuration(withExactSpace(values, mainCf), settings);
}

function findPostconf(): string {
	const found = postconfPaths.find(path => existsSync(path));
	if (found === undefined) {
		throw new ConfigurationError(`no postconf command in ${postconfPaths.join(' or ')}`);
	}

	return found;
}

/* The names in all references in values, including those in branches that are not chosen. */
function namesIn(values: Iterable<string>): readonly string[] {
	const names = [...values].flatMap(value => [...value.matchAll(reference)].map(([, name = '']) => name));
	return [...new Set(names)];
}

/**
 * Runs postconf(1).
 *
 * @param postconf - its pathname; by default, it is searched for.
 * @returns the lines that it prints.
 * @throws {ConfigurationError} with the fatal error of postconf(1), if it printed one.
 */
export async function postconfLines(
	options: readonly string[],
	postconf: string = findPostconf(),
): Promise<readonly string[]> {
	return await commandLines(postconf, options);
}

/* Also in boot/prefetch-config.sh. */
const postconfPaths: readonly string[] = ['/usr/sbin/postconf', '/usr/local/sbin/postconf'];

const reference = /\$[{(]?\s*(\w+)/g;
