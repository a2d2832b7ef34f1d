/*++
/* NAME
/*	postconf 3
/* SUMMARY
/*	reads the configuration through postconf(1)
/* DESCRIPTION
/*	readConfiguration() asks the host's own postconf(1) for all
/*	parameters, unexpanded: it knows the defaults of its release and
/*	reads main.cf as Postfix does, except for white space, which comes
/*	from exact(3). Settings of the command line, and
/*	what a process says about itself, are put on top. To be called
/*	before the jail.
/*
/*	The supervisor has had postconf print the parameters while this
/*	process was started; without that, it is called here. One call is
/*	enough, unless a setting of the command line refers to a name that
/*	is not a parameter of Postfix: postconf prints such a name only if
/*	main.cf or master.cf refers to it.
/*
/*	The command is run without the library that runs commands elsewhere
/*	in this project: clients wait while this program starts, and stay
/*	for hours with what it has loaded. Measured: 14 ms of every start,
/*	and 5 MB of every process.
/* DIAGNOSTICS
/*	ConfigurationError: postconf is missing, fails or does not answer.
/* SEE ALSO
/*	postconf(1)
/*--*/

import {existsSync} from 'node:fs';
import {ConfigurationError} from '../base/errors.ts';
import {commandLines} from './command.ts';
import {Configuration} from './configuration.ts';
import {readMainCf, withExactSpace} from './exact.ts';

/** Where the configuration of a process comes from. */
export interface ConfigurationSource {
	/** Directory of main.cf; without, the one that postconf chooses (MAIL_CONFIG, or built in). */
	readonly configDirectory?: string;
	/** Settings of the command line, in order; a later one wins. */
	readonly overrides: ReadonlyArray<readonly [name: string, value: string]>;
	/** First column of master.cf. */
	readonly serviceName: string;
	/** Base name of the program. */
	readonly processName: string;
	/** All parameters, when postconf(1) has printed them already: a line each. */
	readonly parameters?: readonly string[] | undefined;
	/** Path of postconf(1); without, the usual places are tried. */
	readonly postconf?: string;
}

/**
 * Reads the configuration of this process.
 *
 * @throws {ConfigurationError} when postconf cannot be run, or refuses main.cf.
 */
export async function readConfiguration(source: ConfigurationSource): Promise<Configuration> {
	const {configDirectory, overrides, serviceName, processName} = source;
	const postconf = source.postconf ?? findPostconf();
	const directory = configDirectory === undefined ? [] : ['-c', configDirectory];
	const values = valuesIn(source.parameters ?? (await postconfLines(directory, postconf)));

	const own = new Map([
		['service_name', serviceName],
		['process_name', processName],
		['process_id', String(process.pid)],
		['config_directory', configDirectory ?? values.get('config_directory') ?? ''],
	]);
	const settings = new Map([...overrides, ...own]);

	/*
	 * Any reference makes postconf look for a name in main.cf, and for the names
	 * that its value refers to. mail_name stands in for the parameter that really
	 * has the reference: every release knows it, and nothing depends on it here.
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
	const found = usualPlaces.find(path => existsSync(path));
	if (found === undefined) {
		throw new ConfigurationError(`no postconf command in ${usualPlaces.join(' or ')}`);
	}

	return found;
}

/** The names that values refer to, in all the forms of expand(3), whether reached or not. */
function namesIn(values: Iterable<string>): readonly string[] {
	const names = [...values].flatMap(value => [...value.matchAll(reference)].map(([, name = '']) => name));
	return [...new Set(names)];
}

/** Names and values in lines that postconf(1) prints: `name = value`. */
export function valuesIn(lines: readonly string[]): Map<string, string> {
	const values = new Map<string, string>();
	for (const line of lines) {
		const end = line.indexOf(' =');
		if (end > 0) {
			values.set(line.slice(0, end), line.slice(end + 3));
		}
	}

	return values;
}

/**
 * Runs postconf(1).
 *
 * @param postconf - its path; without, the usual places are tried.
 * @returns the lines that it prints.
 * @throws {ConfigurationError} with the words of postconf, when it has any.
 */
export async function postconfLines(
	options: readonly string[],
	postconf: string = findPostconf(),
): Promise<readonly string[]> {
	return await commandLines(postconf, options);
}

const usualPlaces: readonly string[] = ['/usr/sbin/postconf', '/usr/local/sbin/postconf'];

const reference = /\$[{(]?\s*(\w+)/g;
