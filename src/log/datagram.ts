/*++
/* NAME
/*	datagram 3
/* SUMMARY
/*	connects to a unix-domain datagram socket
/* DESCRIPTION
/*	Log destinations are opened before chroot(2), because their path
/*	names do not exist in the jail.
/*--*/

import type {Fd} from '../base/units.ts';
import {
	AF_UNIX,
	close,
	connect,
	errno,
	SOCK_CLOEXEC,
	SOCK_DGRAM,
	socket,
	strerror,
	unixAddress,
} from '../ffi/libc/libc.ts';

/**
 * Connects to a datagram socket.
 *
 * @param flags - SOCK_… flags in addition to SOCK_CLOEXEC.
 * @returns the connected socket, owned by the caller; or the reason of the failure.
 */
export function connectDatagram(path: string, flags = 0): Fd | string {
	const address = unixAddress(path);
	if (address === undefined) {
		return 'File name too long';
	}

	const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | flags, 0) as Fd;
	if (fd < 0) {
		return strerror(errno());
	}

	if (connect(fd, address, address.length) < 0) {
		const reason = strerror(errno());
		close(fd);
		return reason;
	}

	return fd;
}
