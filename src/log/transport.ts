/*++
/* NAME
/*	transport 3
/* SUMMARY
/*	log records to syslog(3) or to postlogd(8)
/* DESCRIPTION
/*	Both are opened here and now, because after chroot(2) their names
/*	mean nothing any more. postlogd(8) writes what it gets, so a
/*	record for it is the whole line; syslog(3) adds its own head.
/* DIAGNOSTICS
/*	A socket that cannot be opened loses the records, as in the C
/*	program: there is nobody to tell.
/* SEE ALSO
/*	postfix src/util/msg_logger.c, src/util/msg_syslog.c
/*--*/

import type {Fd} from '../base/units.ts';
import {
	AF_UNIX,
	close,
	connect,
	LOG_NDELAY,
	LOG_PID,
	MSG_NOSIGNAL,
	openlog,
	SOCK_CLOEXEC,
	SOCK_DGRAM,
	send,
	socket,
	syslog,
	unixAddress,
	write,
} from '../ffi/libc/libc.ts';
import type {LogTransport} from './log.ts';

/**
 * Opens the system log.
 *
 * @param tag - PREFIX/PROCESS, without the process id.
 * @param facility - LOG_… number of syslog(3).
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

const RECORD_SIZE = 4096;

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/**
 * Connects to postlogd(8).
 *
 * @param path - of the socket.
 * @param hostname - of this host; its first label goes into each record.
 * @param tag - PREFIX/PROCESS, without the process id.
 */
export function postlogTransport(path: string, hostname: string, tag: string): LogTransport {
	const head = `${hostname.split('.', 1)[0] ?? hostname} ${tag}[${process.pid}]: `;
	const fd = connectDatagram(path);
	/* The first local time reads the time zone: do that while the file can be found. */
	timestamp(Date.now());
	/* One record at a time. A text has 2000 bytes at most, what stands before it has a few dozen. */
	const record = Buffer.allocUnsafeSlow(RECORD_SIZE);
	return {
		send(_severity, label, text) {
			if (fd !== undefined) {
				const size = record.write(`${timestamp(Date.now())} ${head}${label}${text}`);
				send(fd, record, size, MSG_NOSIGNAL);
			}
		},
	};
}

/** Has all records written to standard error, too, as stock does with -V. Source: postfix src/util/msg_vstream.c. */
export function withStderr(transport: LogTransport, name: string): LogTransport {
	return {
		send(severity, label, text) {
			transport.send(severity, label, text);
			const line = Buffer.from(`${name}: ${label}${text}\n`);
			write(STDERR, line, line.length);
		},
	};
}

function connectDatagram(path: string): Fd | undefined {
	const address = unixAddress(path);
	if (address === undefined) {
		return undefined;
	}

	const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) as Fd;
	if (fd < 0) {
		return undefined;
	}

	if (connect(fd, address, address.length) < 0) {
		close(fd);
		return undefined;
	}

	return fd;
}

let lastSecond = 0;
let lastTimestamp = '';

/* Many records have the same. */
function timestamp(time: number): string {
	const second = Math.floor(time / 1000);
	if (second !== lastSecond) {
		const date = new Date(time);
		const day = `${months[date.getMonth()]} ${two(date.getDate())}`;
		lastTimestamp = `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
		lastSecond = second;
	}

	return lastTimestamp;
}

function two(value: number): string {
	return String(value).padStart(2, '0');
}
