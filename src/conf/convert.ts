/*++
/* NAME
/*	convert 3
/* SUMMARY
/*	convert parameter values to text, numbers, booleans and times
/* DESCRIPTION
/*	Each function converts an expanded value, and checks it with the
/*	limits in the parameter table. Error messages are those of stock
/*	daemons, because administrators search for them.
/* DIAGNOSTICS
/*	ConfigurationError: the value is malformed or out of range.
/* SEE ALSO
/*	postfix src/global/mail_conf_str.c, mail_conf_int.c,
/*	mail_conf_bool.c, mail_conf_time.c
/*	postfix src/global/conv_time.c
/*--*/

import {ConfigurationError} from '../base/errors.ts';
import type {Seconds} from '../base/units.ts';
import type {Parameter, TimeUnit} from './parameters.ts';

/** The limits of a value; see {@link Parameter}. */
export type Limits = Pick<Parameter, 'min' | 'max' | 'minLength' | 'unit'>;

/**
 * Checks the length of a string.
 *
 * @throws {ConfigurationError} if it is too short.
 */
export function toText(name: string, value: string, {minLength = 0}: Limits): string {
	const length = Buffer.byteLength(value);
	if (length < minLength) {
		throw new ConfigurationError(`bad string length ${length} < ${minLength}: ${name} = ${value}`);
	}

	return value;
}

/**
 * Converts a decimal number in the range of a C int.
 *
 * @throws {ConfigurationError} if it is malformed or out of range.
 */
export function toInteger(name: string, value: string, {min, max}: Limits): number {
	const number = wholeNumber.test(value) ? Number(value) : Number.NaN;
	if (!(number >= INT_MIN && number <= INT_MAX)) {
		throw new ConfigurationError(`bad numerical configuration: ${name} = ${value}`);
	}

	if (min !== undefined && number < min) {
		throw new ConfigurationError(`invalid ${name} parameter value ${number} < ${min}`);
	}

	if (max !== undefined && number > max) {
		throw new ConfigurationError(`invalid ${name} parameter value ${number} > ${max}`);
	}

	return number;
}

/**
 * Converts `yes` or `no`, in upper or lower case.
 *
 * @throws {ConfigurationError} for anything else.
 */
export function toBoolean(name: string, value: string): boolean {
	switch (value.toLowerCase()) {
		case 'yes':
			return true;
		case 'no':
			return false;
		default:
			throw new ConfigurationError(`bad boolean configuration: ${name} = ${value}`);
	}
}

/**
 * Converts a number with an optional unit.
 *
 * Note: the unit is the first character after the number, and the rest is ignored: `10sec` is ten seconds. A
 * unit without a number is zero.
 *
 * @throws {ConfigurationError} if it is malformed, negative, out of range, or does not fit a C int.
 */
export function toSeconds(name: string, value: string, {min, max, unit = 's'}: Limits): Seconds {
	const [, digits = '', suffix = unit] = value === '' ? [] : (timeSyntax.exec(value) ?? []);
	const number = Number(digits);
	const factor = isUnit(suffix) ? secondsIn[suffix] : Number.NaN;

	/* Postfix compares before it multiplies, and so rejects the largest multiple of each unit except seconds. */
	const fits = suffix === 's' ? number <= INT_MAX : number < Math.trunc(INT_MAX / factor);
	if (value === '' || !(number >= 0) || !fits) {
		throw new ConfigurationError(`parameter ${name}: bad time value or unit: ${value}`);
	}

	const seconds = number * factor;
	if (min !== undefined && seconds < min) {
		throw new ConfigurationError(`invalid ${name}: ${seconds} (min ${min})`);
	}

	if (max !== undefined && seconds > max) {
		throw new ConfigurationError(`invalid ${name}: ${seconds} (max ${max})`);
	}

	return seconds as Seconds;
}

function isUnit(suffix: string): suffix is TimeUnit {
	return Object.hasOwn(secondsIn, suffix);
}

const secondsIn: Readonly<Record<TimeUnit, number>> = {s: 1, m: 60, h: 3600, d: 86_400, w: 604_800};

/* The syntax of strtol(3). */
const wholeNumber = /^\s*[+-]?\d+$/;
const timeSyntax = /^(\s*[+-]?\d+|)(.)?/s;

const INT_MAX = 2_147_483_647;
const INT_MIN = -2_147_483_648;
