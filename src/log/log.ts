/*++
/* NAME
/*	log 3
/* SUMMARY
/*	message functions by Postfix level, to syslog or postlogd
/* DESCRIPTION
/*	Where records go and how they look is the business of Postfix. The
/*	tag is PREFIX/PROCESS[PID], the label (`warning: ` and so on) is
/*	part of the text, control characters become question marks, and no
/*	text is longer than 2000 bytes. Who wants more of a record than
/*	that gets it beside: see json-record(3).
/*
/*	Before main.cf is read the environment decides between syslog and
/*	postlogd, afterwards maillog_file does: call openLog() again. The
/*	socket has to be open before chroot(2).
/*
/*	fatal() and panic() end the process after one second: a brake for
/*	programs that master(8) restarts. What has to happen first, the
/*	program announces with onExit().
/* DIAGNOSTICS
/*	There is nobody to tell about a record that cannot be sent: it is
/*	lost, as with the C program.
/* SEE ALSO
/*	postfix src/util/msg.c, src/util/msg_logger.c,
/*	src/global/maillog_client.c
/*--*/

/** Sends one finished record; `severity` is a severity of syslog(3). */
export interface LogTransport {
	send(severity: number, label: string, text: string): void;
}

/** Levels of msg(3), with the severity of syslog(3) and the label of each. */
const levels = {
	info: {severity: 6, label: ''},
	warning: {severity: 4, label: 'warning: '},
	error: {severity: 3, label: 'error: '},
	fatal: {severity: 2, label: 'fatal: '},
	panic: {severity: 2, label: 'panic: '},
} as const;

/** Name of a level. */
export type Level = keyof typeof levels;

/** Bytes of text in one record. Source: postfix src/util/msg_logger.c. */
const TEXT_LIMIT = 2000;

let transport: LogTransport | undefined;
let also: ((level: Level, text: string) => void) | undefined;
let utf8 = true;
let verbosity = 0;

/** Directs all further records to a transport. */
export function openLog(to: LogTransport): void {
	transport = to;
}

/** Has all further records go somewhere else, too. */
export function addRecordListener(to: (level: Level, text: string) => void): void {
	also = to;
}

function put(level: Level, text: string): void {
	const clean = cleanText(text);
	const {severity, label} = levels[level];
	transport?.send(severity, label, clean);
	also?.(level, clean);
}

/** Whether text that is not ASCII can be printed. Source: util_utf8_enable, postfix src/util/printable.c. */
export function allowUtf8(enable: boolean): void {
	utf8 = enable;
}

/** How much to say about what we do: the number of -v options. */
export function setVerbosity(level: number): void {
	verbosity = level;
}

/** Logs what helps to find out what happens, when that is wanted. Costs nothing otherwise. Source: msg_verbose. */
export function verbose(text: () => string): void {
	if (verbosity > 0) {
		info(text());
	}
}

/** Logs what an administrator wants to know. Source: msg_info(), postfix src/util/msg.c. */
export function info(text: string): void {
	put('info', text);
}

/** Logs what went wrong without stopping anybody. Source: msg_warn(). */
export function warning(text: string): void {
	put('warning', text);
}

/** Logs what went wrong, and has to be looked at. Source: msg_error(). */
export function error(text: string): void {
	put('error', text);
}

/** Runs something, and tells what it would have logged as a warning, or more. Nothing is logged meanwhile. */
export function captureWarnings<T>(run: () => T): {readonly result: T; readonly warnings: readonly string[]} {
	const warnings: string[] = [];
	const before = {transport, also};
	also = undefined;
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
		({transport, also} = before);
	}
}

let beforeExit: (status: number) => void = () => undefined;

/** Sets what has to be done before fatal() or panic() end the process. */
export function onExit(run: (status: number) => void): void {
	beforeExit = run;
}

/** Logs why this process cannot serve, waits one second and ends it. Source: msg_fatal(). */
export function fatal(text: string): never {
	put('fatal', text);
	return leave();
}

/** Logs a mistake of our own, waits one second and ends the process. Source: msg_panic(). */
export function panic(text: string): never {
	put('panic', text);
	return leave();
}

function leave(): never {
	Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
	beforeExit(1);
	process.exit(1);
}

/**
 * Makes a text fit for a log: no control characters, valid UTF-8, at most 2000 bytes.
 *
 * Text from the wire holds one byte per character; where such a text has bytes above 127 it is taken
 * as UTF-8. Source: printable(), postfix src/util/printable.c.
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

	/* A character that is cut in two becomes a replacement character: drop it. */
	return Buffer.from(clean)
		.subarray(0, TEXT_LIMIT)
		.toString()
		.replace(/\uFFFD$/, '');
}

/* Nearly every text. */
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
