/*++
/* NAME
/*	command-line 3
/* SUMMARY
/*	what the commands in this directory have in common
/* DESCRIPTION
/*	Options in the Postfix way, and messages in its form: the name of
/*	the command, the severity, the text. Exit status 1 when something
/*	was refused; nothing was changed then.
/*--*/

import {userInfo} from 'node:os';
import {parseArgs} from 'node:util';
import {UsageError} from './master-cf.ts';

/** Options as they were given. */
export interface Options<Valued extends string, Flag extends string> {
	readonly values: Readonly<Partial<Record<Valued, string>>>;
	readonly flags: ReadonlySet<Flag>;
	readonly words: readonly string[];
}

/**
 * Options of one letter.
 *
 * @param valued - those that have a value.
 * @param flags - those that have none.
 * @param more - `words` when arguments may follow.
 * @throws {UsageError} for anything else, with the usage.
 */
export function singleLetterOptions<Valued extends string, Flag extends string = never>(
	valued: readonly Valued[],
	usage: string,
	flags: readonly Flag[] = [],
	more: 'words' | 'nothing' = 'nothing',
): Options<Valued, Flag> {
	try {
		const {values, positionals} = parseArgs({
			args: process.argv.slice(2),
			options: Object.fromEntries([
				...valued.map(letter => [letter, {type: 'string', short: letter}] as const),
				...flags.map(letter => [letter, {type: 'boolean', short: letter}] as const),
			]),
			allowPositionals: more === 'words',
		});
		const given: Readonly<Partial<Record<string, unknown>>> = values;
		return {
			values: Object.fromEntries(
				valued.flatMap(letter => (typeof given[letter] === 'string' ? [[letter, given[letter]]] : [])),
			) as Partial<Record<Valued, string>>,
			flags: new Set(flags.filter(letter => given[letter] === true)),
			words: positionals,
		};
	} catch (reason) {
		throw new UsageError(`${reason instanceof Error ? reason.message : String(reason)}\n${usage}`, {
			cause: reason,
		});
	}
}

/**
 * The configuration directory that has to be named.
 *
 * @throws {UsageError} when it is not: which instance is meant must not be guessed.
 */
export function namedDirectory(named: string | undefined, usage: string): string {
	if (named === undefined) {
		throw new UsageError(`no configuration directory\n${usage}`);
	}

	return named;
}

/** @throws {UsageError} unless the process belongs to root. */
export function requireRoot(why: string): void {
	if (userInfo().uid !== 0) {
		throw new UsageError(`this needs root privileges: ${why}`);
	}
}

/** @throws {UsageError} when master(8) or a client could take it for something else. */
export function checkServiceName(service: string): void {
	if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(service)) {
		throw new UsageError(`invalid service name: "${service}": use letters, digits, "-", "_" and "."`);
	}
}

/**
 * Runs a command; a refusal becomes its message and exit status.
 *
 * @param failure - exit status when it could not do its work.
 */
export async function runCommand(name: string, body: () => Promise<void> | void, failure = 1): Promise<void> {
	try {
		await body();
	} catch (reason) {
		/* What is not a refusal is most often the file system's: the message says which file. */
		process.stderr.write(`${name}: fatal: ${reason instanceof Error ? reason.message : String(reason)}\n`);
		process.exitCode = failure;
	}
}

/** Writes text as it stands in a file, byte for byte. */
export function printBytes(text: string): void {
	process.stdout.write(Buffer.from(text, 'latin1'));
}

/** Lines that show a part of a file. */
export function quoted(label: string, text: string): string {
	return text === ''
		? ''
		: text
				.trimEnd()
				.split('\n')
				.map((line, n) => `  ${(n === 0 ? label : '').padEnd(5)}${line}\n`)
				.join('');
}
