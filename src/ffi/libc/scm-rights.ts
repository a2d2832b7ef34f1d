/*++
/* NAME
/*	scm-rights 3
/* SUMMARY
/*	receive descriptors from a stream socket
/* DESCRIPTION
/*	Receives messages that consist of one byte and file descriptors.
/*	The struct msghdr, struct iovec and control data are laid out once
/*	in C memory, and used for all calls: there is only one thread.
/*
/*	The control data has space for twelve descriptors, although one is
/*	expected. A client that passes more than one must be detected, and
/*	all descriptors that the kernel has installed must be closed. If
/*	more than twelve are sent, the kernel drops the others and sets
/*	MSG_CTRUNC.
/* SEE ALSO
/*	cmsg(3), postfix src/util/unix_recv_fd.c
/*--*/

import type {Fd} from '../../base/units.ts';
import {allocate, errno, MSG_CMSG_CLOEXEC, MSG_CTRUNC, recvmsg, SCM_RIGHTS, SOL_SOCKET} from './libc.ts';

/* Offsets in this memory. Source: bits/socket.h of the GNU C library, 64 bits. */
const IOVEC = 64;
const BYTE = 96;
const CONTROL = 128;
const CONTROL_SIZE = 64;
const CMSG_HEADER = 16;
const MSG_CONTROLLEN = 40;
const MSG_FLAGS = 48;

const {address, view} = allocate(256);
view.setBigUint64(16, address + BigInt(IOVEC), true);
view.setBigUint64(24, 1n, true);
view.setBigUint64(32, address + BigInt(CONTROL), true);
view.setBigUint64(IOVEC, address + BigInt(BYTE), true);
view.setBigUint64(IOVEC + 8, 1n, true);

/** A received message. */
export interface Received {
	/** Result of recvmsg(2): 1, 0 at end-of-file, -1 with `error`. */
	readonly result: number;
	/** The value of errno(3) after a failure; otherwise 0. */
	readonly error: number;
	/** More descriptors were sent than fit; the kernel has dropped the others. */
	readonly truncated: boolean;
	/** Owned by the caller, who must close them; close-on-exec. */
	readonly descriptors: readonly Fd[];
}

/** Receives one byte with its descriptors. Source: unix_recv_fd(), postfix src/util/unix_recv_fd.c. */
export function receiveDescriptors(socket: Fd): Received {
	view.setBigUint64(MSG_CONTROLLEN, BigInt(CONTROL_SIZE), true);
	view.setInt32(MSG_FLAGS, 0, true);
	const result = recvmsg(socket, address, MSG_CMSG_CLOEXEC);
	if (result < 0) {
		/* At once: the garbage collector, which any allocation may start, makes system calls, too. */
		const error = errno();
		return {result, error, truncated: false, descriptors: []};
	}

	const descriptors: Fd[] = [];
	const length = Number(view.getBigUint64(MSG_CONTROLLEN, true));
	if (length >= CMSG_HEADER && isScmRights()) {
		const end = Math.min(Number(view.getBigUint64(CONTROL, true)), length);
		for (let at = CMSG_HEADER; at + 4 <= end; at += 4) {
			descriptors.push(view.getInt32(CONTROL + at, true) as Fd);
		}
	}

	return {result, error: 0, truncated: (view.getInt32(MSG_FLAGS, true) & MSG_CTRUNC) !== 0, descriptors};
}

function isScmRights(): boolean {
	return view.getInt32(CONTROL + 8, true) === SOL_SOCKET && view.getInt32(CONTROL + 12, true) === SCM_RIGHTS;
}
