/*++
/* NAME
/*	json-file 3
/* SUMMARY
/*	destination of JSON log records
/* DESCRIPTION
/*	JSON records are written in addition to the Postfix log, for log
/*	collectors. The destination is a file, a named pipe or a datagram
/*	socket. It is opened before the jail. A record is one line, or one
/*	datagram.
/*
/*	The process never waits for this destination. A record is written
/*	as a whole, or it is lost. The next record that can be written is
/*	preceded by one with the number of lost records.
/*
/*	A named pipe accepts up to PIPE_BUF bytes as a whole or not at all;
/*	a longer record is lost. A full disk may accept a part of a record:
/*	the rest is written in front of the next record.
/* BUGS
/*	When several processes append to the same file while the disk is
/*	full, the two parts of a record may be separated by records of
/*	another process.
/* DIAGNOSTICS
/*	Warning: the destination cannot be opened.
/* SEE ALSO
/*	log(3), json-record(3); pipe(7), PIPE_BUF
/*--*/

import {closeSync, constants, fstatSync, openSync, statSync} from 'node:fs';
import {errorText} from '../base/text.ts';
import type {Fd} from '../base/units.ts';
import {MSG_NOSIGNAL, SOCK_NONBLOCK, send, write} from '../ffi/libc/libc.ts';
import {connectDatagram} from './datagram.ts';
import {warning} from './log.ts';

/** Largest number of bytes that a named pipe accepts as a whole or not at all. Source: <linux/limits.h>. */
export const PIPE_BUF = 4096;

/** Takes one record, including the line feed. */
export type JsonLog = (record: string) => void;

/**
 * Opens a destination. A file is created with mode 0600, or appended to.
 *
 * @returns undefined when it cannot be opened; the reason has been logged.
 */
export function openJsonLog(path: string): JsonLog | undefined {
	const writer =
		statSync(path, {throwIfNoEntry: false})?.isSocket() === true ? openSocket(path) : openFile(path);
	if (typeof writer === 'string') {
		warning(`cannot open json_log ${path}: ${writer}`);
		return undefined;
	}

	let lost = 0;
	return record => {
		if (lost > 0 && writer(Buffer.from(lossRecord(lost)))) {
			lost = 0;
		}

		if (lost > 0 || !writer(Buffer.from(record))) {
			lost++;
		}
	};
}

/** Writes a record as a whole. Returns false when the record is lost. */
type Writer = (record: Uint8Array) => boolean;

function openSocket(path: string): Writer | string {
	const fd = connectDatagram(path, SOCK_NONBLOCK);
	return typeof fd === 'string'
		? fd
		: record => send(fd, record, record.length, MSG_NOSIGNAL) === record.length;
}

function openFile(path: string): Writer | string {
	const {O_APPEND, O_CREAT, O_NOCTTY, O_NONBLOCK, O_WRONLY} = constants;
	try {
		/* O_NONBLOCK: open(2) fails for a named pipe without a reader, and write(2) does not wait for the reader. */
		const fd = openSync(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY, 0o600) as Fd;
		const stat = fstatSync(fd);
		if (stat.isFIFO()) {
			return record => record.length <= PIPE_BUF && write(fd, record, record.length) === record.length;
		}

		if (stat.isFile()) {
			return fileWriter(fd);
		}

		closeSync(fd);
		return 'neither file nor named pipe nor socket';
	} catch (reason) {
		return errorText(reason);
	}
}

function fileWriter(fd: Fd): Writer {
	/* The part of the last record that a full disk has not accepted. */
	let rest: Uint8Array = new Uint8Array();
	const append = (bytes: Uint8Array): Uint8Array =>
		bytes.subarray(Math.max(write(fd, bytes, bytes.length), 0));
	return record => {
		if (rest.length > 0) {
			rest = append(rest);
			if (rest.length > 0) {
				return false;
			}
		}

		const unwritten = append(record);
		if (unwritten.length === record.length) {
			return false;
		}

		rest = unwritten;
		return true;
	};
}

function lossRecord(count: number): string {
	return `${JSON.stringify({level: 'warning', time: new Date().toISOString(), pid: process.pid, msg: `${count} records lost`})}\n`;
}
