/*++
/* NAME
/*	view 3
/* SUMMARY
/*	a Postfix instance, as the checks of doctor(1) look at it
/* DESCRIPTION
/*	Reads an instance once: all parameters, all services of master.cf
/*	with their own settings on top, and what postconf(1) complains of.
/*	Nothing is changed, and nothing is asked of running daemons.
/* DIAGNOSTICS
/*	Refusal: no such instance, no Postfix.
/*--*/

import {spawnSync} from 'node:child_process';
import {readMainCf, readMasterCf, withExactSpace} from '../../../src/conf/exact-space.ts';
import {addNamedFunction, expand} from '../../../src/conf/expand.ts';
import {tablesIn, valuesIn} from '../../../src/conf/postconf-output.ts';
import {commandEnvironment, configurationDirectory, runPostconf} from '../instance.ts';

/** Something that keeps connections from being reused. */
export interface Finding {
	/** What is so, in one sentence. */
	readonly fact: string;
	/** Services of which it is so, when the sentence does not name them. */
	readonly who?: readonly Service[];
	/** Why that matters. */
	readonly effect: string;
	/** Commands that repair it. */
	readonly repair: readonly string[];
}

/** One service of master.cf. */
export interface Service {
	readonly name: string;
	readonly type: string;
	/** Name and type, as postconf(1) has them. */
	readonly title: string;
	readonly isPrivate: boolean;
	readonly chroot: boolean;
	/** Process limit, with the default of main.cf filled in; 0 is unlimited. */
	readonly limit: number;
	/** Command column. */
	readonly command: string;
	/** Value of a parameter for this service, expanded; empty when the release does not have it. */
	value(parameter: string): string;
	/** Command that gives a parameter another value, where it has it from. */
	set(parameter: string, value: string): string;
}

/** A Postfix instance. */
export interface View {
	/** Configuration directory, absolute. */
	readonly directory: string;
	readonly services: readonly Service[];
	/** What runs smtp(8) or lmtp(8). */
	readonly clients: readonly Client[];
	/** Next-hops of which the administrator wants to know, the relay host among them. */
	readonly destinations: readonly string[];
	/** Settings that Postfix does not know, as `name=value`. */
	readonly unknown: readonly string[];
	/** Value of a parameter in main.cf, expanded. */
	value(parameter: string): string;
}

/** A service that delivers, and could use tlsproxy(8). */
export interface Client extends Service {
	readonly program: 'smtp' | 'lmtp';
	/** Value of the parameter that smtp(8) calls `smtp_REST`, and lmtp(8) `lmtp_REST`. */
	own(rest: string): string;
	/** Whether its connections go through tlsproxy(8), by default or for some destination. */
	readonly reuses: boolean;
}

/**
 * Looks at an instance.
 *
 * @param directory - what the user calls the configuration directory.
 * @param destinations - next-hops of interest.
 * @throws {Refusal} when there is nothing to look at.
 */
export function lookAt(directory: string, destinations: readonly string[]): View {
	const path = configurationDirectory(directory);
	const values = withExactSpace(valuesIn(runPostconf(path, []).output.split('\n')), readMainCf(path));
	defineFunctions(path, values.get('mail_version') ?? '');
	const {warnings} = runPostconf(path, ['-n']);
	const value = valueIn(values);
	const overrides = [
		...withExactSpace(valuesIn(runPostconf(path, ['-P']).output.split('\n')), readMasterCf(path)),
	];
	const services = runPostconf(path, ['-M'])
		.output.split('\n')
		.filter(line => line !== '')
		.map(line => serviceOf(path, line, values, overrides));
	const relayHost = value('relayhost');
	return {
		directory: path,
		services,
		clients: services.flatMap(service => clientOf(path, service)),
		destinations: [...new Set([...(relayHost === '' ? [] : [relayHost]), ...destinations])],
		unknown: [...warnings.matchAll(/unused parameter: (\S+=.*)$/gm)].map(([, name = '']) => name),
		value,
	};
}

/* Postfix 3.11 and later have functions in main.cf. Few values call them; postconf(1) evaluates them. */
function defineFunctions(directory: string, release: string): void {
	const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(release) ?? [];
	if (Number(major) < 3 || (Number(major) === 3 && Number(minor) < 11)) {
		return;
	}

	for (const name of ['domain_to_ascii', 'domain_to_utf8']) {
		addNamedFunction(name, text => {
			/* Any parameter will do that is in every release, and has no limits. */
			const {output} = runPostconf(directory, ['-xh', '-o', `relayhost=\${${name}{${text}}}`, 'relayhost']);
			return output.trimEnd();
		});
	}
}

function valueIn(values: ReadonlyMap<string, string>): (parameter: string) => string {
	return parameter => expand(values.get(parameter) ?? '', name => values.get(name));
}

function serviceOf(
	directory: string,
	line: string,
	shared: ReadonlyMap<string, string>,
	overrides: ReadonlyArray<readonly [string, string]>,
): Service {
	const [name = '', type = '', isPrivate = '', , chroot = '', , limit = '', command = ''] = line.split(/\s+/);
	const title = `${name}/${type}`;
	const prefix = `${title}/`;
	const own = new Map(
		overrides.flatMap(([key, text]) =>
			key.startsWith(prefix) ? [[key.slice(prefix.length), text] as const] : [],
		),
	);
	const value = valueIn(new Map([...shared, ...own, ['service_name', name]]));
	const at = `postconf -c ${directory}`;
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
			own.has(parameter) ? `${at} -P "${prefix}${parameter}=${text}"` : `${at} -e "${parameter}=${text}"`,
	};
}

function clientOf(directory: string, service: Service): readonly Client[] {
	const program = service.command.replace(/^.*\//, '');
	if (program !== 'smtp' && program !== 'lmtp') {
		return [];
	}

	const own = (rest: string): string => service.value(`${program}_${rest}`);
	const reuses =
		isYes(own('tls_connection_reuse')) ||
		tablesIn(own('tls_policy_maps')).some(table => /connection_reuse=yes/i.test(contentOf(directory, table)));
	return [{...service, program, own, reuses}];
}

/* Tables that cannot be listed, by postmap(1) or by this user, are not looked into. */
function contentOf(directory: string, table: string): string {
	const {stdout} = spawnSync('postmap', ['-c', directory, '-s', table], {
		encoding: 'utf8',
		env: {...commandEnvironment},
	});
	return stdout ?? '';
}

/**
 * What a lookup table has for a key.
 *
 * @returns undefined when it has nothing, or cannot be asked.
 */
export function lookUp(directory: string, table: string, key: string): string | undefined {
	const {status, stdout} = spawnSync('postmap', ['-c', directory, '-q', key, table], {
		encoding: 'utf8',
		env: {...commandEnvironment},
	});
	return status === 0 ? stdout.trim() : undefined;
}

/** Whether a boolean parameter is on. */
export function isYes(value: string): boolean {
	return value.toLowerCase() === 'yes';
}

/** The clients that reuse connections; when there are none, those that could. */
export function usersOf(view: View): readonly Client[] {
	const users = view.clients.filter(({reuses}) => reuses);
	return users.length > 0 ? users : view.clients.filter(({program}) => program === 'smtp');
}

/**
 * Whether `master_service_disable` turns a service off. The first pattern that matches decides.
 *
 * Source: postfix src/global/match_service.c.
 */
export function isDisabled(view: View, {name, type}: Service): boolean {
	const names = [`${name}/${type}`, `${name}.${type}`, type].map(text => text.toLowerCase());
	const found = view
		.value('master_service_disable')
		.toLowerCase()
		.split(/[\s,]+/)
		.find(pattern => names.includes(pattern.replace(/^!+/, '')));
	return found !== undefined && !found.startsWith('!');
}

/** Services by title, for a sentence. */
export function titles(services: readonly Service[]): string {
	return services.map(({title}) => title).join(', ');
}
