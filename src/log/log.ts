/*++
/* NAME
/*	log 3
/* SUMMARY
/*	logging functions, one per Postfix level
/* DESCRIPTION
/*	Records have the format of Postfix. The tag is PREFIX/PROCESS[PID],
/*	the label (`warning: ` and so on) is part of the text, control
/*	characters are replaced with question marks, and a text has at
/*	most 2000 bytes. Structured records go to a second destination:
/*	see json-record(3).
/*
/*	The log belongs to the process, therefore its transport is module
/*	state. Before main.cf is read the environment selects the
/*	transport, afterwards maillog_file does: openLog() is called twice.
/*	The transport has to be opened before chroot(2).
/*
/*	fatal() and panic() end the process after one second, so that
/*	master(8) does not restart a failing program too often. onExit()
/*	sets a function that they call before the process ends.
/*
/*	Logging never blocks the process: a transport queues records that
/*	the receiver does not accept yet. The end of the process waits for
/*	them, but not longer than a second. See transport(3).
/* DIAGNOSTICS
/*	Records that cannot be sent are lost; a warning reports their
/*	number when the log can be written again.
/* SEE ALSO
/*	postfix src/util/msg.c, src/util/msg_logger.c,
/*	src/global/maillog_client.c
/*--*/

import {stackText} from '../base/text.ts';
import type {Milliseconds} from '../base/units.ts';

/** A log destination. */
export interface LogTransport {
	/** Sends one record, or queues it. Never blocks. @param severity - number of syslog(3). */
	send(severity: number, label: string, text: string): void;
	/** Waits until all queued records have been sent; not longer than a limit. Absent without a queue. */
	drain?(limit: Milliseconds): void;
}

/** Levels of msg(3): severity of syslog(3) and label. */
export const levels = {
	info: {severity: 6, label: ''},
	warning: {severity: 4, label: 'warning: '},
	error: {severity: 3, label: 'error: '},
	fatal: {severity: 2, label: 'fatal: '},
	panic: {severity: 2, label: 'panic: '},
} as const;

/** Name of a log level. */
export type Level = keyof typeof levels;

/** Largest number of bytes in the text of a record. Source: postfix src/util/msg_logger.c. */
const TEXT_LIMIT = 2000;

let transport: LogTransport | undefined;
let recordListener: ((level: Level, text: string) => void) | undefined;
let utf8 = true;
let verbosity = 0;

/** Sends all further records to a transport, instead of the previous one. */
export function openLog(newTransport: LogTransport): void {
	transport = newTransport;
}

/** Passes all further records to a listener as well. One listener. */
export function addRecordListener(listener: (level: Level, text: string) => void): void {
	recordListener = listener;
}

function write(level: Level, text: string): void {
	const clean = cleanText(text);
	const {severity, label} = levels[level];
	transport?.send(severity, label, clean);
	recordListener?.(level, clean);
}

/** Sets whether non-ASCII text is logged as UTF-8. Source: util_utf8_enable, postfix src/util/printable.c. */
export function allowUtf8(enable: boolean): void {
	utf8 = enable;
}

/** Sets the number of -v options. */
export function setVerbosity(level: number): void {
	verbosity = level;
}

/** Logs debugging information with -v. Without -v, `text` is not called. Source: msg_verbose. */
export function verbose(text: () => string): void {
	if (verbosity > 0) {
		info(text());
	}
}

/** Logs an event. Source: msg_info(), postfix src/util/msg.c. */
export function info(text: string): void {
	write('info', text);
}

/** Logs a problem. Source: msg_warn(). */
export function warning(text: string): void {
	write('warning', text);
}

/** Logs a problem that an administrator has to fix. Source: msg_error(). */
export function error(text: string): void {
	write('error', text);
}

/** Logs an exception that no handler is responsible for. The process continues. */
export function logException(reason: unknown): void {
	error(`unexpected exception: ${stackText(reason)}`);
}

/** Runs a function and collects its records of level warning or higher, instead of logging them. */
export function captureWarnings<T>(run: () => T): {readonly result: T; readonly warnings: readonly string[]} {
	const warnings: string[] = [];
	const saved = {transport, recordListener};
	recordListener = undefined;
	transport = {
		send(severity, _label, text) {
			if (severity < levels.info.severity) {
				warnings.push(text);
			}
		},
	};
	try {
		return {result: run(), warnings};
	} finally {
		({transport, recordListener} = saved);
	}
}

/** Time that the process waits for the receiver of the log before it ends. */
const DRAIN_LIMIT = 1000 as Milliseconds;

/** Waits until the receiver has accepted all records; not longer than a second. For the end of the process. */
export function drainLog(): void {
	transport?.drain?.(DRAIN_LIMIT);
}

let exitListener: (status: number) => void = () => undefined;

/** Sets the function that fatal() and panic() call before they end the process. */
export function onExit(listener: (status: number) => void): void {
	exitListener = listener;
}

/** Logs why the process cannot serve, waits one second and ends the process. Source: msg_fatal(). */
export function fatal(text: string): never {
	return exit('fatal', text);
}

/** Logs an internal error, waits one second and ends the process. Source: msg_panic(). */
export function panic(text: string): never {
	return exit('panic', text);
}

/** Time before fatal() and panic() end the process, in milliseconds. Source: msg_fatal(). */
const EXIT_DELAY = 1000;

function exit(level: 'fatal' | 'panic', text: string): never {
	/* First: a full queue would not accept the record. */
	drainLog();
	write(level, text);
	const started = performance.now();
	drainLog();
	Atomics.wait(
		new Int32Array(new SharedArrayBuffer(4)),
		0,
		0,
		Math.max(0, EXIT_DELAY - (performance.now() - started)),
	);
	exitListener(1);
	process.exit(1);
}

/**
 * Makes a text printable: no control characters, valid UTF-8, at most 2000 bytes.
 *
 * Text from the network has one byte per character; bytes above 127 are decoded as UTF-8. Source: printable(),
 * postfix src/util/printable.c.
 */
export function cleanText(text: string): string {
	if (isPlain(text) && text.length <= TEXT_LIMIT) {
		return text;
	}

	const clean = isAscii(text)
		? text.replaceAll(/\p{Cc}/gu, '?')
		: utf8
			? decodeBytes(text).replaceAll(/\p{Cc}/gu, '?')
			: bytesOf(text)
					.toString('latin1')
					.replaceAll(/[^ -~]/g, '?');
	if (clean.length * 3 <= TEXT_LIMIT || Buffer.byteLength(clean) <= TEXT_LIMIT) {
		return clean;
	}

	/* A truncated character is decoded as a replacement character. */
	return Buffer.from(clean)
		.subarray(0, TEXT_LIMIT)
		.toString()
		.replace(/\uFFFD$/, '');
}

/* True for nearly every text: no copy is made of those. */
function isPlain(text: string): boolean {
	for (let index = 0; index < text.length; index++) {
		const code = text.charCodeAt(index);
		if (code < 0x20 || code > 0x7e) {
			return false;
		}
	}

	return true;
}

function isAscii(text: string): boolean {
	for (let index = 0; index < text.length; index++) {
		if (text.charCodeAt(index) > 0x7e) {
			return false;
		}
	}

	return true;
}

function decodeBytes(text: string): string {
	return isBytes(text) ? Buffer.from(text, 'latin1').toString('utf8').replaceAll('\uFFFD', '?') : text;
}

function bytesOf(text: string): Buffer {
	return Buffer.from(text, isBytes(text) ? 'latin1' : 'utf8');
}

function isBytes(text: string): boolean {
	for (let index = 0; index < text.length; index++) {
		if (text.charCodeAt(index) > 0xff) {
			return false;
		}
	}

	return true;
}
