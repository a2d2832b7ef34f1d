/*++
/* NAME
/*	command 3
/* SUMMARY
/*	runs a command of Postfix before the jail
/* DESCRIPTION
/*	What a command prints is the answer. What it prints as an error or
/*	a warning is what a daemon would have logged.
/* DIAGNOSTICS
/*	ConfigurationError: the command is missing, fails or does not
/*	answer.
/*--*/

import type {ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {finished} from 'node:stream/promises';
import {ConfigurationError} from '../base/errors.ts';

/**
 * Runs a command.
 *
 * @param command - its path.
 * @param warned - is called with each warning of a command that has succeeded.
 * @returns the lines that it prints.
 * @throws {ConfigurationError} with the words of the command, when it has any.
 */
export async function commandLines(
	command: string,
	options: readonly string[],
	warned?: (words: string) => void,
): Promise<readonly string[]> {
	/* Most processes run none: what does it takes as long to load as postconf(1) to run, and a client waits. */
	const {spawn} = process.getBuiltinModule('node:child_process');
	const {default: split} = await import('split2');
	const run = spawn(command, options, {stdio: ['ignore', 'pipe', 'pipe']});
	/* One timer would expire while this process is stopped, and the command with it. */
	let steps = TIME_LIMIT / STEP;
	const timer = setInterval(() => {
		if (--steps === 0) {
			run.kill('SIGKILL');
		}
	}, STEP);
	const lines = run.stdout.pipe(split());
	const found: string[] = [];
	lines.on('data', (line: string) => found.push(line));
	let complaints = '';
	run.stderr.setEncoding('utf8').on('data', (text: string) => {
		complaints += text;
	});
	let status: unknown;
	try {
		[[status]] = await Promise.all([once(run, 'close'), finished(lines)]);
	} catch (reason) {
		throw new ConfigurationError(`${command}: ${reason instanceof Error ? reason.message : String(reason)}`, {
			cause: reason,
		});
	} finally {
		clearInterval(timer);
	}

	if (status !== 0) {
		throw new ConfigurationError(reasonOf(run, complaints, command));
	}

	if (warned !== undefined) {
		for (const [, words = ''] of complaints.matchAll(/^[^:]+: warning: (.+)$/gm)) {
			warned(words);
		}
	}

	return found;
}

/* What a command prints as an error is what a daemon would have logged. */
function reasonOf({exitCode, signalCode, killed}: ChildProcess, complaints: string, command: string): string {
	const words = /fatal: (.+)$/m.exec(complaints)?.[1];
	if (words !== undefined) {
		return words;
	}

	return killed
		? `${command}: no answer within ${TIME_LIMIT / 1000} seconds`
		: `${command}: ${exitCode === null ? `ended by ${signalCode}` : `exit status ${exitCode}`}`;
}

/**
 * Milliseconds that a command may take. postconf(1) needs less than ten, and up to two seconds where
 * main.cf was changed just now; a client waits for us no longer than this.
 */
export const TIME_LIMIT = 10_000;

/** Milliseconds of a step of that. A pause of this process takes one step, however long it is. */
const STEP = 1000;
