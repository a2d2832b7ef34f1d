/*++
/* NAME
/*	transport 3
/* SUMMARY
/*	log transports: syslogd(8), postlogd(8), standard error
/* DESCRIPTION
/*	A transport is opened immediately, because the path of its socket
/*	does not exist after chroot(2). postlogd(8) writes records as they
/*	are, so that a record for it is a complete line; a record for
/*	syslogd(8) has the form of syslog(3), with priority, time and tag.
/*
/*	No transport blocks the process. When postlogd(8) or syslogd(8)
/*	does not read, records are queued, and counted when the queue is
/*	full. A record that standard error cannot accept is lost there.
/* DIAGNOSTICS
/*	Warning: the number of records that could not be sent, as soon as
/*	records can be sent again. Stock blocks while the receiver does not
/*	read, and loses records when it has closed its socket.
/* BUGS
/*	With a syslogd(8) that has a stream socket, and with the facility
/*	"kern", records are sent with syslog(3), which blocks when the
/*	socket is full.
/* SEE ALSO
/*	record-socket(3);
/*	postfix src/util/msg_logger.c, src/util/msg_syslog.c
/*--*/

import type {Fd} from '../base/units.ts';
import {
	errorNumber,
	isWritable,
	LOG_NDELAY,
	LOG_PID,
	localTime,
	openlog,
	strerror,
	syslog,
	write,
} from '../ffi/libc/libc.ts';
import {type LogTransport, levels} from './log.ts';
import {RecordSocket} from './record-socket.ts';

/** The socket of syslogd(8). Source: _PATH_LOG, <paths.h>. */
const SYSLOG_PATH = '/dev/log';

/** Size of the buffer for one record: a text has at most 2000 bytes, and its prefix some dozens. */
const RECORD_BUFFER_SIZE = 4096;

/**
 * Connects to syslogd(8).
 *
 * @param tag - PREFIX/PROCESS, without the process id.
 * @param facility - number of syslog(3), shifted left by 3.
 * @returns a transport that owns the socket, for the life of the process.
 */
export function syslogTransport(tag: string, facility: number): LogTransport {
	/* The C library replaces the facility "kern", depending on its version. */
	if (facility !== 0) {
		const prefix = ` ${tag}[${process.pid}]: `;
		const transport = socketTransport(
			SYSLOG_PATH,
			(severity, label, text) =>
				`<${severity | facility}>${timestamp(Date.now()).forSyslog}${prefix}${label}${text}`,
		);
		if (transport.problem !== strerror(errorNumber('EPROTOTYPE'))) {
			return transport;
		}
	}

	openlog(tag, LOG_PID | LOG_NDELAY, facility);
	return {
		send(severity, label, text) {
			syslog(severity | facility, label + text);
		},
	};
}

/**
 * Connects to postlogd(8).
 *
 * @param path - path of the socket.
 * @param hostname - name of this host; its first label is part of each record.
 * @param tag - PREFIX/PROCESS, without the process id.
 * @returns a transport that owns the socket, for the life of the process.
 */
export function postlogTransport(path: string, hostname: string, tag: string): LogTransport {
	const prefix = ` ${hostname.split('.', 1)[0] ?? hostname} ${tag}[${process.pid}]: `;
	return socketTransport(
		path,
		(_severity, label, text) => `${timestamp(Date.now()).forPostlog}${prefix}${label}${text}`,
	);
}

/** @param format - makes a record from the arguments of {@link LogTransport.send}. */
function socketTransport(
	path: string,
	format: (...record: Parameters<LogTransport['send']>) => string,
): LogTransport & {readonly problem: string | undefined} {
	/* The first call that formats local time loads the time zone, which cannot be read in the jail. */
	timestamp(Date.now());
	const loss = levels.warning;
	const socket = new RecordSocket(path, count =>
		Buffer.from(format(loss.severity, loss.label, `${count} log records lost: the log could not be written`)),
	);
	/* Reused for all records: the socket copies it. */
	const record = Buffer.allocUnsafeSlow(RECORD_BUFFER_SIZE);
	return {
		problem: socket.problem,
		send(severity, label, text) {
			socket.send(record, record.write(format(severity, label, text)));
		},
		drain(limit) {
			socket.drain(limit);
		},
	};
}

const STDERR = 2 as Fd;

/** Adds standard error as a second destination, as stock does with -V. Source: postfix src/util/msg_vstream.c. */
export function withStderr(transport: LogTransport, name: string): LogTransport {
	return {
		send(severity, label, text) {
			transport.send(severity, label, text);
			/* A full pipe would block the process. Its flag O_NONBLOCK is shared with other processes. */
			if (!isWritable(STDERR)) {
				return;
			}

			const line = Buffer.from(`${name}: ${label}${text}\n`);
			write(STDERR, line, line.length);
		},
		drain(limit) {
			transport.drain?.(limit);
		},
	};
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** A local time in the two forms in which logs have it. */
interface Timestamp {
	/** The day has two digits. Source: msg_logger_print(), postfix src/util/msg_logger.c. */
	readonly forPostlog: string;
	/** The day is padded with a blank. Source: syslog(3). */
	readonly forSyslog: string;
}

let lastSecond = -1;
let lastTimestamp: Timestamp = {forPostlog: '', forSyslog: ''};

/* Cached per second: consecutive records often have the same timestamp. */
function timestamp(time: number): Timestamp {
	const second = Math.floor(time / 1000);
	if (second !== lastSecond) {
		const local = localTime(second);
		const month = months[local.month] ?? '';
		const clock = [local.hour, local.minute, local.second].map(twoDigits).join(':');
		lastTimestamp = {
			forPostlog: `${month} ${twoDigits(local.day)} ${clock}`,
			forSyslog: `${month} ${String(local.day).padStart(2)} ${clock}`,
		};
		lastSecond = second;
	}

	return lastTimestamp;
}

function twoDigits(value: number): string {
	return String(value).padStart(2, '0');
}
