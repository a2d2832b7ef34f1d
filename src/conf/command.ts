/*++
/* NAME
/*	command 3
/* SUMMARY
/*	run a command of Postfix
/* DESCRIPTION
/*	Runs postconf(1) or postmap(1), and returns the lines that it
/*	prints. Commands can be run before the process enters its jail
/*	only. Their errors and warnings have the text that a daemon would
/*	log.
/* DIAGNOSTICS
/*	ConfigurationError: the command cannot be run, fails, or exceeds
/*	its time limit.
/*--*/

import type {ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {finished} from 'node:stream/promises';
import {ConfigurationError} from '../base/errors.ts';
import {errorText} from '../base/text.ts';

/**
 * Runs a command.
 *
 * @param command - its pathname.
 * @param onWarning - called with each warning, if the command succeeds.
 * @returns the lines on standard output.
 * @throws {ConfigurationError} with the fatal error of the command, if it printed one.
 */
export async function commandLines(
	command: string,
	options: readonly string[],
	onWarning?: (warning: string) => void,
): Promise<readonly string[]> {
	/*
	 * Loaded on demand, because most processes run no command. Loading these modules takes as long as
	 * running postconf(1), and a client waits.
	 */
	const {spawn} = process.getBuiltinModule('node:child_process');
	const {default: split} = await import('split2');
	const run = spawn(command, options, {stdio: ['ignore', 'pipe', 'pipe']});
	/* Not one long timer: it would expire, and kill the command, if this process is stopped for that time. */
	let steps = TIME_LIMIT / STEP;
	const timer = setInterval(() => {
		if (--steps === 0) {
			run.kill('SIGKILL');
		}
	}, STEP);
	const lines = run.stdout.pipe(split());
	const found: string[] = [];
	lines.on('data', (line: string) => found.push(line));
	let errors = '';
	run.stderr.setEncoding('utf8').on('data', (text: string) => {
		errors += text;
	});
	let status: unknown;
	try {
		[[status]] = await Promise.all([once(run, 'close'), finished(lines)]);
	} catch (reason) {
		throw new ConfigurationError(`${command}: ${errorText(reason)}`, {cause: reason});
	} finally {
		clearInterval(timer);
	}

	if (status !== 0) {
		throw new ConfigurationError(failureText(run, errors, command));
	}

	if (onWarning !== undefined) {
		for (const [, warning = ''] of errors.matchAll(/^[^:]+: warning: (.+)$/gm)) {
			onWarning(warning);
		}
	}

	return found;
}

function failureText({exitCode, signalCode, killed}: ChildProcess, errors: string, command: string): string {
	const fatal = /fatal: (.+)$/m.exec(errors)?.[1];
	if (fatal !== undefined) {
		return fatal;
	}

	return killed
		? `${command}: no answer within ${TIME_LIMIT / 1000} seconds`
		: `${command}: ${exitCode === null ? `ended by ${signalCode}` : `exit status ${exitCode}`}`;
}

/**
 * Time limit of a command, in milliseconds. postconf(1) takes less than 10 ms, and up to 2 seconds if main.cf has
 * just been changed. Clients wait for this process no longer than this.
 */
export const TIME_LIMIT = 10_000;

/* The interval in which the time limit is counted down, in milliseconds. A pause of this process counts as one. */
const STEP = 1000;
