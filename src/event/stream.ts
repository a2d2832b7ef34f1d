/*++
/* NAME
/*	stream 3
/* SUMMARY
/*	non-blocking socket calls, and the shared buffer
/* DESCRIPTION
/*	The program is single-threaded, and input is passed on before
/*	anything else is read. Therefore all sessions share one buffer.
/*	The caller copies only the bytes that the other side does not
/*	accept at once.
/*
/*	Results are a number of bytes when positive, otherwise a code of
/*	io-result(3).
/* SECURITY
/*	The buffer holds decrypted text of the session that used it last.
/*	Only the bytes that the preceding read has returned may leave the
/*	process.
/* SEE ALSO
/*	postfix src/util/nbbio.c
/*--*/

import {END, FAILED, WANT_READ, WANT_WRITE} from '../base/io-result.ts';
import {Owned} from '../base/owned.ts';
import type {Fd} from '../base/units.ts';
import {
	type Address,
	AF_UNIX,
	accept4,
	allocate,
	close,
	connect,
	EAGAIN,
	EINTR,
	errno,
	errorNumber,
	MSG_NOSIGNAL,
	read,
	SOCK_CLOEXEC,
	SOCK_NONBLOCK,
	SOCK_STREAM,
	send,
	setNonBlocking,
	socket,
	strerror,
	unixAddress,
} from '../ffi/libc/libc.ts';
import {receiveDescriptors} from '../ffi/libc/scm-rights.ts';

/** Capacity of the shared buffer, in bytes: four full TLS records. */
export const BUFFER_SIZE = 65_536;
/** The shared buffer, in C memory: its contents are valid until the next call that reads. */
export const buffer: {readonly address: Address; readonly bytes: Uint8Array} = allocate(BUFFER_SIZE);

/** Takes ownership of a descriptor. */
export function ownFd(fd: Fd): Owned<Fd> {
	return new Owned(fd, close);
}

/**
 * Reads into the shared buffer.
 *
 * @returns number of bytes, {@link WANT_READ}, {@link END} or {@link FAILED}.
 */
export function readStream(fd: Fd): number {
	const count = read(fd, buffer.address, BUFFER_SIZE);
	if (count > 0) {
		return count;
	}

	return count === 0 ? END : failure(WANT_READ);
}

/**
 * Writes to a socket.
 *
 * @param from - an address in the shared buffer, or other bytes.
 * @returns number of bytes, {@link WANT_WRITE} or {@link FAILED}.
 */
export function writeStream(fd: Fd, from: Address | Uint8Array, size: number): number {
	const count = send(fd, from, size, MSG_NOSIGNAL);
	return count >= 0 ? count : failure(WANT_WRITE);
}

function failure(wouldBlock: number): number {
	return isTransient(errno()) ? wouldBlock : FAILED;
}

function isTransient(code: number): boolean {
	return code === EAGAIN || code === EINTR;
}

/** Result of receiving a descriptor. */
export type ReceivedDescriptor =
	| {readonly kind: 'descriptor'; readonly fd: Owned<Fd>}
	| {readonly kind: 'none'; readonly why: string}
	| {readonly kind: 'want-read'};

/**
 * Receives the descriptor that a client passes, together with one byte of data.
 *
 * @returns the descriptor, close-on-exec and non-blocking, owned by the caller. When the message does not
 * carry exactly one descriptor, all of them are closed, and `why` describes the message.
 */
export function receiveDescriptor(from: Fd): ReceivedDescriptor {
	const {result, error, truncated, descriptors} = receiveDescriptors(from);
	const [first, ...others] = descriptors;
	if (first !== undefined && others.length === 0 && !truncated) {
		setNonBlocking(first);
		return {kind: 'descriptor', fd: ownFd(first)};
	}

	for (const fd of descriptors) {
		close(fd);
	}

	if (first !== undefined) {
		return {kind: 'none', why: 'more than one descriptor'};
	}

	if (result < 0) {
		return isTransient(error) ? {kind: 'want-read'} : {kind: 'none', why: 'Connection reset by peer'};
	}

	if (result === 0) {
		return {kind: 'none', why: 'Connection closed by client'};
	}

	/* When the process has no free descriptor, the kernel drops the sent one and sets MSG_CTRUNC. */
	return {kind: 'none', why: truncated ? strerror(errorNumber('EMFILE')) : 'data without a descriptor'};
}

/**
 * Connects to a unix socket.
 *
 * @returns the connection, non-blocking and close-on-exec, owned by the caller; or the reason of the failure.
 */
export function connectUnix(path: string): Owned<Fd> | string {
	const address = unixAddress(path);
	if (address === undefined) {
		return 'File name too long';
	}

	const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return strerror(errno());
	}

	const owned = ownFd(fd as Fd);
	/* Never in progress: it succeeds, or fails at once, with EAGAIN when the backlog of the server is full. */
	if (connect(owned.value, address, address.length) !== 0) {
		const code = errno();
		owned[Symbol.dispose]();
		return strerror(code);
	}

	return owned;
}

/** Result of accepting: a connection, no connection to accept, or an error number. */
export type AcceptResult =
	| {readonly kind: 'connection'; readonly fd: Owned<Fd>}
	| {readonly kind: 'none'}
	| {readonly kind: 'error'; readonly code: number};

/* Errors of accept(2) that do not concern the listening socket. Source: postfix src/util/sane_accept.c. */
const acceptAgain: ReadonlySet<number> = new Set(
	[
		'EAGAIN',
		'ECONNABORTED',
		'ECONNREFUSED',
		'ECONNRESET',
		'EHOSTDOWN',
		'EHOSTUNREACH',
		'EINTR',
		'ENETDOWN',
		'ENETUNREACH',
		'ENOBUFS',
		'ENOTCONN',
		'EPROTO',
	].map(errorNumber),
);

/** Accepts one connection, non-blocking and close-on-exec. */
export function acceptConnection(listener: Fd): AcceptResult {
	const fd = accept4(listener, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		return {kind: 'connection', fd: ownFd(fd as Fd)};
	}

	const code = errno();
	return acceptAgain.has(code) ? {kind: 'none'} : {kind: 'error', code};
}
