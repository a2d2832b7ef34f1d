/*++
/* NAME
/*	blocking 3
/* SUMMARY
/*	asks tlsmgr(8), and waits
/* DESCRIPTION
/*	For the time before the jail, when there is nobody to serve yet:
/*	each question has a connection of its own, and the process sleeps
/*	until the answer is there or the time is over. A connection that
/*	ends without an answer is replaced once, as in line(3).
/* DIAGNOSTICS
/*	A warning for each failure to talk to the server, and undefined.
/* BUGS
/*	Looks for the answer once per millisecond.
/* SEE ALSO
/*	tlsmgr/client(3), postfix src/tls/tls_mgr.c
/*--*/

import {PeerError} from '../errors.ts';
import {now} from '../event/deadline.ts';
import {buffer, connectUnix, readStream, writeStream} from '../event/stream.ts';
import {warning} from '../log.ts';
import {END, FAILED, WANT_READ, WANT_WRITE} from '../step.ts';
import type {Fd, Milliseconds} from '../units.ts';
import {AttributeFramer, type AttributeList} from '../wire/attr.ts';
import {connectLine, problemLine} from './log-lines.ts';
import {type CachePolicy, isGreeting, parsePolicy, parseSeed, printPolicy, printSeed} from './message.ts';

/** Whom to ask, and for how long. */
export interface BlockingOptions {
	/** Of the socket of tlsmgr(8). */
	readonly path: string;
	/** It speaks first. */
	readonly greeting: boolean;
	/** Time for all of it; five seconds unless given. */
	readonly limit?: Milliseconds;
}

const LIMIT = 5000 as Milliseconds;

/** Asks how long sessions are kept: undefined when nobody can tell. */
export function policyNow(options: BlockingOptions, cacheType: string): CachePolicy | undefined {
	return ask(options, printPolicy(cacheType), parsePolicy);
}

/** Asks for random bytes, 1 to 255 of them: undefined when there are none. */
export function seedNow(options: BlockingOptions, size: number): Uint8Array | undefined {
	return ask(options, printSeed(size), list => parseSeed(list, size));
}

function ask<Value>(
	options: BlockingOptions,
	request: Uint8Array,
	parse: (reply: AttributeList) => Value | undefined,
): Value | undefined {
	const until = (now() + (options.limit ?? LIMIT)) as Milliseconds;
	try {
		const reply = exchange(options, request, until) ?? exchange(options, request, until);
		if (reply === undefined) {
			throw new PeerError('Connection closed by server');
		}

		return parse(reply);
	} catch (reason) {
		if (reason instanceof PeerError) {
			warning(problemLine(options.path, reason.message));
			return undefined;
		}

		throw reason;
	}
}

/* The reply, or undefined when the connection has ended. */
function exchange(
	{path, greeting}: BlockingOptions,
	request: Uint8Array,
	until: Milliseconds,
): AttributeList | undefined {
	const connected = connectUnix(path);
	if (typeof connected === 'string') {
		warning(connectLine(path, connected));
		throw new PeerError(connected);
	}

	using connection = connected;
	if (greeting) {
		const list = receive(connection.value, until);
		if (list === undefined) {
			return undefined;
		}

		if (!isGreeting(list)) {
			throw new PeerError('no greeting of tlsmgr');
		}
	}

	return sent(connection.value, request, until) ? receive(connection.value, until) : undefined;
}

function sent(fd: Fd, request: Uint8Array, until: Milliseconds): boolean {
	for (let rest = request; rest.length > 0; ) {
		const count = writeStream(fd, rest, rest.length);
		if (count === FAILED) {
			return false;
		}

		if (count === WANT_WRITE) {
			sleep(until);
		} else {
			rest = rest.subarray(count);
		}
	}

	return true;
}

function receive(fd: Fd, until: Milliseconds): AttributeList | undefined {
	for (const framer = new AttributeFramer(); ; ) {
		const size = readStream(fd);
		if (size === END || size === FAILED) {
			return undefined;
		}

		if (size === WANT_READ) {
			sleep(until);
			continue;
		}

		const framed = framer.push(buffer.bytes.subarray(0, size));
		if (framed !== undefined) {
			if (framed.taken !== size) {
				throw new PeerError('more than was asked for');
			}

			return framed.list;
		}
	}
}

const never = new Int32Array(new SharedArrayBuffer(4));

function sleep(until: Milliseconds): void {
	if (now() >= until) {
		throw new PeerError('Connection timed out');
	}

	Atomics.wait(never, 0, 0, 1);
}
