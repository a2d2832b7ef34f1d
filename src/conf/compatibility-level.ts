/*++
/* NAME
/*	compatibility-level 3
/* SUMMARY
/*	parse and compare compatibility levels
/* DESCRIPTION
/*	A compatibility level is MAJOR[.MINOR[.PATCH]]. The parts are
/*	compared as numbers: 3.10 is greater than 3.9.
/* SEE ALSO
/*	postfix src/global/compat_level.c
/*--*/

import {ConfigurationError} from '../base/errors.ts';

/** A compatibility level. Missing parts are zero. */
export interface Level {
	readonly major: number;
	readonly minor: number;
	readonly patch: number;
}

/**
 * Parses a compatibility level.
 *
 * @throws {ConfigurationError} if the text is malformed.
 * Source: compat_level_from_string().
 */
export function parseLevel(text: string): Level {
	const [, major = '', minor = '0', patch = '0'] = syntax.exec(text) ?? [];
	if (major === '' || Number(minor) > PART_LIMIT || Number(patch) > PART_LIMIT) {
		throw new ConfigurationError(`malformed compatibility level syntax: "${text}"`);
	}

	return {major: Number(major), minor: Number(minor), patch: Number(patch)};
}

/** Orders levels: negative when `a` is lower than `b`. */
export function compareLevels(a: Level, b: Level): number {
	return a.major - b.major || a.minor - b.minor || a.patch - b.patch;
}

/* Numbers have the syntax of strtol(3), and are not negative. */
const syntax = /^\s*\+?(\d{1,13})(?:\.\s*\+?(\d+)(?:\.\s*\+?(\d+))?)?$/;

/* Maximum of the minor and patch number: Postfix has 10 bits for each. */
const PART_LIMIT = 1023;
