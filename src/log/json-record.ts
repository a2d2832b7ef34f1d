/*++
/* NAME
/*	json-record 3
/* SUMMARY
/*	log records as JSON
/* DESCRIPTION
/*	pino makes a record of what is logged: level, time, process id,
/*	name and text. It is loaded where somebody wants records, and not
/*	otherwise: clients wait while a process starts.
/* SEE ALSO
/*	log(3), json-file(3)
/*--*/

import {pino, stdTimeFunctions} from 'pino';
import type {Level} from './log.ts';

/* In the order of pino, whose own names and numbers these are not. */
const numbers: Readonly<Record<Level, number>> = {info: 30, warning: 40, error: 50, fatal: 60, panic: 70};

/**
 * Makes records.
 *
 * @param name - of this program, as in the other log.
 * @param to - takes a record, with the end of its line.
 * @returns what takes a level and a clean text.
 */
export function jsonRecords(
	name: string,
	to: (record: string) => void,
): (level: Level, text: string) => void {
	const logger = pino(
		{
			base: {pid: process.pid, name},
			timestamp: stdTimeFunctions.isoTime,
			level: 'info',
			formatters: {level: label => ({level: label})},
			customLevels: {...numbers},
			useOnlyCustomLevels: true,
		},
		{write: to},
	);
	return (level, text) => logger[level](text);
}
