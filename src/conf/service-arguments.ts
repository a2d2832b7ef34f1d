/*++
/* NAME
/*	service-arguments 3
/* SUMMARY
/*	the settings that follow the options in master.cf
/* DESCRIPTION
/*	Service arguments are settings that stock tlsproxy(8) does not have.
/*	In master.cf they follow the options, as name=value. They are not
/*	parameters: postconf(1) would warn about unused parameters in
/*	main.cf and after -o. Values have the syntax of a parameter of the
/*	same type.
/* DIAGNOSTICS
/*	ConfigurationError: a bad value, with the message of stock for a
/*	parameter of the same type.
/* SEE ALSO
/*	options(3), which rejects other names
/*--*/

import {toBoolean, toInteger} from './convert.ts';

/** All names. */
export const serviceArgumentNames = [
	'client_handshake_count_limit',
	'fallback',
	'handshake_count_limit',
	'json_log',
	'seccomp',
] as const;

/* Boolean arguments with their defaults. */
const booleanDefaults = {fallback: 'yes', seccomp: 'yes'} as const;

/**
 * The value of an argument that is a limit.
 *
 * @param serviceArguments - values by name, from the command line.
 * @returns zero if there is no limit.
 * @throws {ConfigurationError} if the value is not a number, or is negative.
 */
export function limitArgument(
	serviceArguments: ReadonlyMap<string, string>,
	name: `${string}_limit` & (typeof serviceArgumentNames)[number],
): number {
	return toInteger(name, serviceArguments.get(name) ?? '0', {min: 0});
}

/**
 * The value of a boolean argument.
 *
 * @throws {ConfigurationError} if it is neither yes nor no.
 */
export function booleanArgument(
	serviceArguments: ReadonlyMap<string, string>,
	name: keyof typeof booleanDefaults,
): boolean {
	return toBoolean(name, serviceArguments.get(name) ?? booleanDefaults[name]);
}

/** The value of an argument that is a pathname; undefined if it is absent or empty. */
export function pathArgument(
	serviceArguments: ReadonlyMap<string, string>,
	name: 'json_log',
): string | undefined {
	const path = serviceArguments.get(name) ?? '';
	return path === '' ? undefined : path;
}
