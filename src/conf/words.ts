/*++
/* NAME
/*	words 3
/* SUMMARY
/*	settings of our own, which master.cf has behind the options
/* DESCRIPTION
/*	Postfix knows nothing of them: in main.cf, or behind -o, they
/*	would be unknown parameters. Each is a name=value word, is off
/*	when it is absent, and obeys the rules that a parameter of its
/*	type obeys.
/* DIAGNOSTICS
/*	ConfigurationError: a bad value, in the words of stock.
/* SEE ALSO
/*	options(3), which refuses words of other names
/*--*/

import {toInteger} from './convert.ts';

/** Names that may occur. */
export const wordNames = ['client_handshake_count_limit', 'handshake_count_limit'] as const;

/**
 * The value of a word that limits a number.
 *
 * @param words - those of the command line.
 * @returns zero: there is no limit.
 * @throws {ConfigurationError} when it is no number, or negative.
 */
export function limitWord(words: ReadonlyMap<string, string>, name: (typeof wordNames)[number]): number {
	return toInteger(name, words.get(name) ?? '0', {min: 0});
}
