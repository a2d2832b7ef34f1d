/*++
/* NAME
/*	service-arguments 3
/* SUMMARY
/*	settings of our own, which master.cf has behind the options
/* DESCRIPTION
/*	Postfix knows nothing of them: in main.cf, or behind -o, they
/*	would be unknown parameters. Each is a name=value word, has a
/*	default, and obeys the rules that a parameter of its type obeys.
/* DIAGNOSTICS
/*	ConfigurationError: a bad value, in the words of stock.
/* SEE ALSO
/*	options(3), which refuses words of other names
/*--*/

import {toBoolean, toInteger} from './convert.ts';

/** Names that may occur. */
export const serviceArgumentNames = [
	'client_handshake_count_limit',
	'handshake_count_limit',
	'json_log',
	'seccomp',
] as const;

/** Names of words that say yes or no, and what is said when they are absent. */
const answers = {seccomp: 'yes'} as const;

/**
 * The value of a word that limits a number.
 *
 * @param words - those of the command line.
 * @returns zero: there is no limit.
 * @throws {ConfigurationError} when it is no number, or negative.
 */
export function limitArgument(
	words: ReadonlyMap<string, string>,
	name: `${string}_limit` & (typeof serviceArgumentNames)[number],
): number {
	return toInteger(name, words.get(name) ?? '0', {min: 0});
}

/**
 * The value of a word that says yes or no.
 *
 * @throws {ConfigurationError} when it says something else.
 */
export function booleanArgument(words: ReadonlyMap<string, string>, name: keyof typeof answers): boolean {
	return toBoolean(name, words.get(name) ?? answers[name]);
}

/** The value of a word that is a path; undefined when it is absent or empty. */
export function pathArgument(words: ReadonlyMap<string, string>, name: 'json_log'): string | undefined {
	const path = words.get(name) ?? '';
	return path === '' ? undefined : path;
}
