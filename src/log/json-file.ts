/*++
/* NAME
/*	json-file 3
/* SUMMARY
/*	a second log, of JSON records
/* DESCRIPTION
/*	Programs that collect logs like records better than lines. They
/*	can have them beside the log of Postfix, in a file, a named pipe
/*	or a datagram socket, which is opened here and now: later there is
/*	a jail. One record is one line, and one datagram.
/*
/*	Nobody waits for this log. What cannot be written at once is lost,
/*	and the next record that can be written is preceded by one that
/*	tells how many were.
/* DIAGNOSTICS
/*	What cannot be opened is undefined, with a warning.
/* SEE ALSO
/*	log(3), transport(3)
/*--*/

import {closeSync, constants, fstatSync, openSync, statSync} from 'node:fs';
import type {Fd} from '../base/units.ts';
import {
	AF_UNIX,
	close,
	connect,
	errno,
	MSG_NOSIGNAL,
	SOCK_CLOEXEC,
	SOCK_DGRAM,
	SOCK_NONBLOCK,
	send,
	socket,
	strerror,
	unixAddress,
	write,
} from '../ffi/libc/libc.ts';
import {warning} from './log.ts';

/** Takes one record, with the end of its line. */
export type JsonLog = (line: string) => void;

/** Opens a log. Files are made for root only, and added to. */
export function openJsonLog(path: string): JsonLog | undefined {
	const put =
		statSync(path, {throwIfNoEntry: false})?.isSocket() === true ? openSocket(path) : openFile(path);
	if (typeof put === 'string') {
		warning(`cannot open json_log ${path}: ${put}`);
		return undefined;
	}

	let lost = 0;
	return line => {
		if (lost > 0 && put(Buffer.from(lossOf(lost)))) {
			lost = 0;
		}

		if (lost > 0 || !put(Buffer.from(line))) {
			lost++;
		}
	};
}

/** Writes all of a record, or nothing. Tells whether it has. */
type Put = (record: Uint8Array) => boolean;

function openSocket(path: string): Put | string {
	const address = unixAddress(path);
	if (address === undefined) {
		return 'File name too long';
	}

	const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) as Fd;
	if (fd < 0 || connect(fd, address, address.length) < 0) {
		const reason = strerror(errno());
		close(fd);
		return reason;
	}

	return record => send(fd, record, record.length, MSG_NOSIGNAL) === record.length;
}

/* A named pipe without a reader is refused, and one whose reader is slow takes what it can. */
function openFile(path: string): Put | string {
	const {O_APPEND, O_CREAT, O_NOCTTY, O_NONBLOCK, O_WRONLY} = constants;
	try {
		const fd = openSync(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY, 0o600) as Fd;
		const stat = fstatSync(fd);
		if (!stat.isFile() && !stat.isFIFO()) {
			closeSync(fd);
			return 'neither file nor named pipe nor socket';
		}

		return record => write(fd, record, record.length) === record.length;
	} catch (reason) {
		return reason instanceof Error ? reason.message : String(reason);
	}
}

function lossOf(count: number): string {
	return `${JSON.stringify({level: 'warning', time: new Date().toISOString(), pid: process.pid, msg: `${count} records lost`})}\n`;
}
