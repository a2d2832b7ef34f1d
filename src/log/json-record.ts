/*++
/* NAME
/*	json-record 3
/* SUMMARY
/*	log records as JSON
/* DESCRIPTION
/*	pino formats each record: level, time, process id, name and text.
/*	A record has at most PIPE_BUF bytes, so that a named pipe can
/*	accept it: a text that is too long in JSON, because of the quotes
/*	and backslashes that it contains, is shortened.
/*
/*	This module is loaded only for a service with a JSON log. Loading
/*	pino takes time, and clients wait while a process starts.
/* SEE ALSO
/*	log(3), json-file(3)
/*--*/

import {pino, stdTimeFunctions} from 'pino';
import {type JsonLog, PIPE_BUF} from './json-file.ts';
import type {Level} from './log.ts';

/* In ascending order of severity. pino has other names and numbers. */
const numbers: Readonly<Record<Level, number>> = {info: 30, warning: 40, error: 50, fatal: 60, panic: 70};

/**
 * Makes a record listener of {@link addRecordListener} that formats records.
 *
 * @param name - PREFIX/PROCESS, as in the Postfix log.
 * @param log - takes each record.
 */
export function jsonRecords(name: string, log: JsonLog): (level: Level, text: string) => void {
	let record = '';
	const logger = pino(
		{
			base: {pid: process.pid, name},
			timestamp: stdTimeFunctions.isoTime,
			level: 'info',
			formatters: {level: label => ({level: label})},
			customLevels: {...numbers},
			useOnlyCustomLevels: true,
		},
		{
			write(line: string) {
				record = line;
			},
		},
	);
	return (level, text) => {
		logger[level](text);
		const excess = Buffer.byteLength(record) - PIPE_BUF;
		if (excess > 0) {
			/* Each UTF-16 unit takes at least one byte, except the second half of a surrogate pair. */
			logger[level](text.slice(0, -excess).replace(/[\uD800-\uDBFF]$/, ''));
		}

		log(record);
	};
}
