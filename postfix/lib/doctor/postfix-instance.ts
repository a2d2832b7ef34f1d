/*++
/* NAME
/*	postfix-instance 3
/* SUMMARY
/*	the configuration of a Postfix instance
/* DESCRIPTION
/*	readInstance() reads an instance for the checks of doctor(1): all
/*	parameters, the services of master.cf with the parameters that they
/*	override, and the warnings of postconf(1) about unused parameters.
/*	It changes nothing, and does not examine running processes.
/* DIAGNOSTICS
/*	UsageError: the instance does not exist, or Postfix is not
/*	installed.
/*--*/

import {splitList} from '../../../src/base/text.ts';
import {readMainCf, readMasterCf, withExactSpace} from '../../../src/conf/exact-space.ts';
import {addNamedFunction, expand} from '../../../src/conf/expand.ts';
import {tablesIn, valuesIn} from '../../../src/conf/postconf-output.ts';
import {compareReleases} from '../../../src/conf/release.ts';
import {configurationDirectory, minorRelease, run, runPostconf} from '../instance.ts';

/** An obstacle to connection reuse. */
export interface Finding {
	/** The fact, in one sentence. */
	readonly fact: string;
	/** The services that the fact applies to, if the sentence does not name them. */
	readonly services?: readonly Service[];
	/** The consequence of the fact. */
	readonly effect: string;
	/** Commands that correct it. */
	readonly repair: readonly string[];
}

/** A service in master.cf. */
export interface Service {
	readonly name: string;
	readonly type: string;
	/** Name and type, `name/type`, as in postconf(1). */
	readonly title: string;
	readonly isPrivate: boolean;
	readonly chroot: boolean;
	/** Process limit. The default is that of main.cf; 0 is unlimited. */
	readonly limit: number;
	/** Command column. */
	readonly command: string;
	/** Value of a parameter for this service, expanded. Empty if the release does not have the parameter. */
	value(parameter: string): string;
	/** The postconf(1) command that sets a parameter in the file where it is set now: master.cf or main.cf. */
	set(parameter: string, value: string): string;
}

/** The configuration of a Postfix instance. */
export interface PostfixInstance {
	/** Configuration directory, absolute. */
	readonly directory: string;
	readonly services: readonly Service[];
	/** The services that run smtp(8) or lmtp(8). */
	readonly clients: readonly Client[];
	/** Next-hops whose TLS policies are looked up: the relay host, and those that the administrator named. */
	readonly destinations: readonly string[];
	/** Settings of parameters that Postfix does not have, as `name=value`. */
	readonly unknown: readonly string[];
	/** Value of a parameter in main.cf, expanded. */
	value(parameter: string): string;
}

/** A service that delivers mail, and can use tlsproxy(8). */
export interface Client extends Service {
	readonly program: 'smtp' | 'lmtp';
	/** Value of the parameter whose name is the program name, an underscore, and the suffix. */
	programValue(suffix: string): string;
	/** Whether connection reuse is enabled, by default or for some destinations. */
	readonly reuses: boolean;
}

/**
 * Reads the configuration of an instance.
 *
 * @param directory - configuration directory, as the user wrote it.
 * @param destinations - next-hops that the administrator named.
 * @throws {UsageError} if the instance cannot be read.
 */
export function readInstance(directory: string, destinations: readonly string[]): PostfixInstance {
	const path = configurationDirectory(directory);
	const values = withExactSpace(valuesIn(runPostconf(path, []).output.split('\n')), readMainCf(path));
	defineFunctions(path, values.get('mail_version') ?? '');
	const {warnings} = runPostconf(path, ['-n']);
	const value = valueIn(values);
	const settings = withExactSpace(valuesIn(runPostconf(path, ['-P']).output.split('\n')), readMasterCf(path));
	const services = runPostconf(path, ['-M'])
		.output.split('\n')
		.filter(line => line !== '')
		.map(line => serviceOf(path, line, values, settings));
	const relayHost = value('relayhost');
	return {
		directory: path,
		services,
		clients: services.flatMap(service => clientOf(path, service)),
		destinations: [...new Set([...(relayHost === '' ? [] : [relayHost]), ...destinations])],
		unknown: [...warnings.matchAll(/unused parameter: (\S+=.*)$/gm)].map(([, setting = '']) => setting),
		value,
	};
}

/* Postfix 3.11 and later have functions in main.cf. Few values call them: postconf(1) evaluates them on demand. */
function defineFunctions(directory: string, release: string): void {
	if (compareReleases(minorRelease(release), '3.11') < 0) {
		return;
	}

	for (const name of ['domain_to_ascii', 'domain_to_utf8']) {
		addNamedFunction(name, text => {
			/* relayhost: a parameter that every release has, and whose value is not restricted. */
			const {output} = runPostconf(directory, ['-xh', '-o', `relayhost=\${${name}{${text}}}`, 'relayhost']);
			return output.trimEnd();
		});
	}
}

function valueIn(values: ReadonlyMap<string, string>): (parameter: string) => string {
	return parameter => expand(values.get(parameter) ?? '', name => values.get(name));
}

/**
 * Parses a service.
 *
 * @param line - from `postconf -M`.
 * @param shared - parameters in main.cf.
 * @param settings - parameters in master.cf, by `name/type/parameter`.
 */
function serviceOf(
	directory: string,
	line: string,
	shared: ReadonlyMap<string, string>,
	settings: ReadonlyMap<string, string>,
): Service {
	const [name = '', type = '', isPrivate = '', , chroot = '', , limit = '', command = ''] = line.split(/\s+/);
	const title = `${name}/${type}`;
	const prefix = `${title}/`;
	const overrides = new Map(
		[...settings].flatMap(([key, text]) =>
			key.startsWith(prefix) ? [[key.slice(prefix.length), text] as const] : [],
		),
	);
	const value = valueIn(new Map([...shared, ...overrides, ['service_name', name]]));
	const postconf = `postconf -c ${directory}`;
	/* Defaults of the columns. Source: postfix src/master/master_ent.c. */
	return {
		name,
		type,
		title,
		isPrivate: !/^n/i.test(isPrivate),
		chroot: chroot === '-' ? Number.parseInt(value('compatibility_level'), 10) < 1 : /^y/i.test(chroot),
		limit: Number(limit === '-' ? value('default_process_limit') : limit),
		command,
		value,
		set: (parameter, text) =>
			overrides.has(parameter)
				? `${postconf} -P "${prefix}${parameter}=${text}"`
				: `${postconf} -e "${parameter}=${text}"`,
	};
}

function clientOf(directory: string, service: Service): readonly Client[] {
	const program = service.command.replace(/^.*\//, '');
	if (program !== 'smtp' && program !== 'lmtp') {
		return [];
	}

	const programValue = (suffix: string): string => service.value(`${program}_${suffix}`);
	const reuses =
		isYes(programValue('tls_connection_reuse')) ||
		tablesIn(programValue('tls_policy_maps')).some(table =>
			/connection_reuse=yes/i.test(contentOf(directory, table)),
		);
	return [{...service, program, programValue, reuses}];
}

/* Empty if postmap(1) cannot list this type of table, or this user cannot read it. */
function contentOf(directory: string, table: string): string {
	return run('postmap', ['-c', directory, '-s', table]).stdout ?? '';
}

/**
 * Looks up a key in a table.
 *
 * @returns undefined if the table does not contain the key, or cannot be read.
 */
export function lookUp(directory: string, table: string, key: string): string | undefined {
	const {status, stdout} = run('postmap', ['-c', directory, '-q', key, table]);
	return status === 0 ? stdout.trim() : undefined;
}

/** Whether a boolean parameter is on. */
export function isYes(value: string): boolean {
	return value.toLowerCase() === 'yes';
}

/** The clients that reuse connections. If no client does, the services that run smtp(8), which could. */
export function reusingClients(instance: PostfixInstance): readonly Client[] {
	const clients = instance.clients.filter(({reuses}) => reuses);
	return clients.length > 0 ? clients : instance.clients.filter(({program}) => program === 'smtp');
}

/**
 * Whether `master_service_disable` turns a service off. The first pattern that matches decides.
 *
 * Source: postfix src/global/match_service.c.
 */
export function isDisabled(instance: PostfixInstance, {name, type}: Service): boolean {
	const names = [`${name}/${type}`, `${name}.${type}`, type].map(text => text.toLowerCase());
	const found = splitList(instance.value('master_service_disable').toLowerCase()).find(pattern =>
		names.includes(pattern.replace(/^!+/, '')),
	);
	return found !== undefined && !found.startsWith('!');
}

/** The titles of services, for a sentence. */
export function titles(services: readonly Service[]): string {
	return services.map(({title}) => title).join(', ');
}
