/*++
/* NAME
/*	transport 3
/* SUMMARY
/*	log transports: syslog(3), postlogd(8), standard error
/* DESCRIPTION
/*	A transport is opened immediately, because the path of its socket
/*	does not exist after chroot(2). postlogd(8) writes records as they
/*	are, so that a record for it is a complete line; syslog(3) adds
/*	time and tag.
/* DIAGNOSTICS
/*	When the socket of postlogd(8) cannot be opened, records are lost,
/*	as with stock.
/* SEE ALSO
/*	postfix src/util/msg_logger.c, src/util/msg_syslog.c
/*--*/

import type {Fd} from '../base/units.ts';
import {LOG_NDELAY, LOG_PID, MSG_NOSIGNAL, openlog, send, syslog, write} from '../ffi/libc/libc.ts';
import {connectDatagram} from './datagram.ts';
import type {LogTransport} from './log.ts';

/**
 * Opens the system log, which belongs to the whole process.
 *
 * @param tag - PREFIX/PROCESS, without the process id. syslog(3) adds that.
 * @param facility - number of syslog(3), shifted left by 3.
 */
export function syslogTransport(tag: string, facility: number): LogTransport {
	openlog(tag, LOG_PID | LOG_NDELAY, facility);
	return {
		send(severity, label, text) {
			syslog(severity | facility, label + text);
		},
	};
}

const STDERR = 2 as Fd;

/** Size of the buffer for one record: a text has at most 2000 bytes, and its prefix some dozens. */
const RECORD_BUFFER_SIZE = 4096;

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/**
 * Connects to postlogd(8).
 *
 * @param path - path of the socket.
 * @param hostname - name of this host; its first label is part of each record.
 * @param tag - PREFIX/PROCESS, without the process id.
 * @returns a transport that owns the socket, for the life of the process.
 */
export function postlogTransport(path: string, hostname: string, tag: string): LogTransport {
	const prefix = `${hostname.split('.', 1)[0] ?? hostname} ${tag}[${process.pid}]: `;
	const fd = connectDatagram(path);
	/* The first call that formats local time loads the time zone, which cannot be read in the jail. */
	timestamp(Date.now());
	/* Reused for all records: send(2) copies it. */
	const record = Buffer.allocUnsafeSlow(RECORD_BUFFER_SIZE);
	return {
		send(_severity, label, text) {
			if (typeof fd === 'number') {
				const size = record.write(`${timestamp(Date.now())} ${prefix}${label}${text}`);
				send(fd, record, size, MSG_NOSIGNAL);
			}
		},
	};
}

/** Adds standard error as a second destination, as stock does with -V. Source: postfix src/util/msg_vstream.c. */
export function withStderr(transport: LogTransport, name: string): LogTransport {
	return {
		send(severity, label, text) {
			transport.send(severity, label, text);
			const line = Buffer.from(`${name}: ${label}${text}\n`);
			write(STDERR, line, line.length);
		},
	};
}

let lastSecond = 0;
let lastTimestamp = '';

/* Cached per second: consecutive records often have the same timestamp. */
function timestamp(time: number): string {
	const second = Math.floor(time / 1000);
	if (second !== lastSecond) {
		const date = new Date(time);
		const day = `${months[date.getMonth()]} ${twoDigits(date.getDate())}`;
		lastTimestamp = `${day} ${twoDigits(date.getHours())}:${twoDigits(date.getMinutes())}:${twoDigits(date.getSeconds())}`;
		lastSecond = second;
	}

	return lastTimestamp;
}

function twoDigits(value: number): string {
	return String(value).padStart(2, '0');
}
