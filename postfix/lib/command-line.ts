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
import {Refusal} from './master-cf.ts';

/**
 * Options of one letter, each with a value.
 *
 * @param letters - those that are known.
 * @throws {Refusal} for anything else, with the usage.
 */
export function singleLetterOptions<Letter extends string>(
	letters: readonly Letter[],
	usage: string,
	args: readonly string[] = process.argv.slice(2),
): Readonly<Partial<Record<Letter, string>>> {
	try {
		const {values} = parseArgs({
			args: [...args],
			options: Object.fromEntries(letters.map(letter => [letter, {type: 'string', short: letter}] as const)),
			strict: true,
		});
		return values as Partial<Record<Letter, string>>;
	} catch (reason) {
		throw new Refusal(`${reason instanceof Error ? reason.message : String(reason)}\n${usage}`);
	}
}

/** @throws {Refusal} unless the process belongs to root. */
export function requireRoot(why: string): void {
	if (userInfo().uid !== 0) {
		throw new Refusal(`this needs root privileges: ${why}`);
	}
}

/** @throws {Refusal} when master(8) or a client could take it for something else. */
export function checkServiceName(service: string): void {
	if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(service)) {
		throw new Refusal(`invalid service name: "${service}": use letters, digits, "-", "_" and "."`);
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
