/*++
/* NAME
/*	compatibility-level 3
/* SUMMARY
/*	compatibility levels
/* DESCRIPTION
/*	A compatibility level is MAJOR[.MINOR[.PATCH]]. It cannot be
/*	compared as text or as a fraction: 3.10 is above 3.9.
/* SEE ALSO
/*	postfix src/global/compat_level.c
/*--*/

import {ConfigurationError} from '../base/errors.ts';

/** A compatibility level; missing parts are zero. */
export interface Level {
	readonly major: number;
	readonly minor: number;
	readonly patch: number;
}

/**
 * Reads a compatibility level.
 *
 * @throws {ConfigurationError} when it is not one.
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

/* Each number is what strtol(3) takes, without the negative ones. */
const syntax = /^\s*\+?(\d{1,13})(?:\.\s*\+?(\d+)(?:\.\s*\+?(\d+))?)?$/;

/** Largest minor and patch number: 10 bits. */
const PART_LIMIT = 1023;
