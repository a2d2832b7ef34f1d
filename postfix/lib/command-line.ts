/*++
/* NAME
/*	command-line 3
/* SUMMARY
/*	options, checks and messages of the commands
/* DESCRIPTION
/*	Functions that the commands in this directory share. Options have
/*	one letter, as those of Postfix commands. Messages have the form of
/*	Postfix: the name of the command, the severity, the text.
/* DIAGNOSTICS
/*	UsageError: wrong options, or missing privileges.
/*--*/

import {userInfo} from 'node:os';
import {parseArgs} from 'node:util';
import {errorText} from '../../src/base/text.ts';
import {UsageError} from './usage-error.ts';

/** The parsed command line. */
export interface Options<Valued extends string, Flag extends string> {
	readonly values: Readonly<Partial<Record<Valued, string>>>;
	readonly flags: ReadonlySet<Flag>;
	/** The arguments after the options. */
	readonly operands: readonly string[];
}

/**
 * Parses options of one letter.
 *
 * @param valued - options with a value.
 * @param flags - options without a value.
 * @param further - whether arguments may follow the options.
 * @throws {UsageError} for anything else, with the usage.
 */
export function singleLetterOptions<Valued extends string, Flag extends string = never>(
	valued: readonly Valued[],
	usage: string,
	flags: readonly Flag[] = [],
	further: 'operands' | 'nothing' = 'nothing',
): Options<Valued, Flag> {
	return checkUsage(usage, () => {
		const {values, positionals} = parseArgs({
			args: process.argv.slice(2),
			options: Object.fromEntries([
				...valued.map(letter => [letter, {type: 'string', short: letter}] as const),
				...flags.map(letter => [letter, {type: 'boolean', short: letter}] as const),
			]),
			allowPositionals: further === 'operands',
		});
		const given: Readonly<Partial<Record<string, unknown>>> = values;
		return {
			values: Object.fromEntries(
				valued.flatMap(letter => (typeof given[letter] === 'string' ? [[letter, given[letter]]] : [])),
			) as Partial<Record<Valued, string>>,
			flags: new Set(flags.filter(letter => given[letter] === true)),
			operands: positionals,
		};
	});
}

/**
 * Calls a function that parses arguments.
 *
 * @throws {UsageError} if it throws: its message, and the usage.
 */
export function checkUsage<Result>(usage: string, parse: () => Result): Result {
	try {
		return parse();
	} catch (reason) {
		throw new UsageError(`${errorText(reason)}\n${usage}`, {cause: reason});
	}
}

/**
 * Checks that a configuration directory was specified. No default: the commands must not guess the instance.
 *
 * @throws {UsageError} if it was not.
 */
export function requireDirectory(directory: string | undefined, usage: string): string {
	if (directory === undefined) {
		throw new UsageError(`no configuration directory\n${usage}`);
	}

	return directory;
}

/**
 * Checks that the process runs as root.
 *
 * @param reason - part of the message.
 * @throws {UsageError} if it does not.
 */
export function requireRoot(reason: string): void {
	if (userInfo().uid !== 0) {
		throw new UsageError(`this needs root privileges: ${reason}`);
	}
}

/**
 * Checks a service name. It is a file name and a column in master.cf.
 *
 * @throws {UsageError} if it is not a valid name.
 */
export function checkServiceName(service: string): void {
	if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(service)) {
		throw new UsageError(`invalid service name: "${service}": use letters, digits, "-", "_" and "."`);
	}
}

/**
 * Runs a command. If it throws, prints the error and sets the exit status.
 *
 * Only the message is printed: an error that is not a UsageError usually is one of the file system, whose message
 * contains the path.
 *
 * @param failure - exit status after an error.
 */
export async function runCommand(name: string, body: () => Promise<void> | void, failure = 1): Promise<void> {
	try {
		await body();
	} catch (reason) {
		process.stderr.write(`${name}: fatal: ${errorText(reason)}\n`);
		process.exitCode = failure;
	}
}

/** Writes text from a file to standard output. It has one character per byte. */
export function printBytes(text: string): void {
	process.stdout.write(Buffer.from(text, 'latin1'));
}

/** Formats lines of a file for output, with a label before the first one. Empty if the text is empty. */
export function labelled(label: string, text: string): string {
	return text === ''
		? ''
		: text
				.trimEnd()
				.split('\n')
				.map((line, n) => `  ${(n === 0 ? label : '').padEnd(5)}${line}\n`)
				.join('');
}
