/*++
/* NAME
/*	scm-rights 3
/* SUMMARY
/*	one byte and one descriptor in a message
/* DESCRIPTION
/*	msghdr, iovec and control data of a message that carries one byte
/*	and some descriptors, laid out once in a page of C memory.
/*	The program is single-threaded: one page serves all.
/*
/*	There is room for twelve descriptors although one is expected. A
/*	sender that passes more must be told apart from an honest one,
/*	and what the kernel has installed must be closed; of more than
/*	twelve it says that it has installed no others.
/* SEE ALSO
/*	cmsg(3), postfix src/util/unix_recv_fd.c
/*--*/

import type {Fd} from '../../base/units.ts';
import {
	allocate,
	MSG_CMSG_CLOEXEC,
	MSG_CTRUNC,
	MSG_NOSIGNAL,
	recvmsg,
	SCM_RIGHTS,
	SOL_SOCKET,
	sendmsg,
} from './libc.ts';

/* Offsets in the page. Source: bits/socket.h of the GNU C library, 64 bits. */
const IOVEC = 64;
const BYTE = 96;
const CONTROL = 128;
const CONTROL_SIZE = 64;
const CMSG_HEADER = 16;
const MSG_CONTROLLEN = 40;
const MSG_FLAGS = 48;

const page = allocate(256);
const {address, view, bytes} = page;
view.setBigUint64(16, address + BigInt(IOVEC), true);
view.setBigUint64(24, 1n, true);
view.setBigUint64(32, address + BigInt(CONTROL), true);
view.setBigUint64(IOVEC, address + BigInt(BYTE), true);
view.setBigUint64(IOVEC + 8, 1n, true);

/** What a message brought. The descriptors are the caller's to close. */
export interface Received {
	/** Result of recvmsg(2): 1, 0 at end-of-file, -1 with errno(3). */
	readonly result: number;
	/** More descriptors were sent than there was room for; the kernel has dropped those. */
	readonly truncated: boolean;
	readonly descriptors: readonly Fd[];
}

/** Receives one byte with its descriptors, close-on-exec. Source: unix_recv_fd(), postfix src/util/unix_recv_fd.c. */
export function receiveDescriptors(socket: Fd): Received {
	view.setBigUint64(MSG_CONTROLLEN, BigInt(CONTROL_SIZE), true);
	view.setInt32(MSG_FLAGS, 0, true);
	const result = recvmsg(socket, address, MSG_CMSG_CLOEXEC);
	if (result < 0) {
		return {result, truncated: false, descriptors: []};
	}

	const descriptors: Fd[] = [];
	const length = Number(view.getBigUint64(MSG_CONTROLLEN, true));
	if (length >= CMSG_HEADER && carriesDescriptors()) {
		const end = Math.min(Number(view.getBigUint64(CONTROL, true)), length);
		for (let at = CMSG_HEADER; at + 4 <= end; at += 4) {
			descriptors.push(view.getInt32(CONTROL + at, true) as Fd);
		}
	}

	return {result, truncated: (view.getInt32(MSG_FLAGS, true) & MSG_CTRUNC) !== 0, descriptors};
}

/** Sends one zero byte with descriptors, as the clients of tlsproxy(8) do. Result of sendmsg(2). */
export function sendDescriptors(socket: Fd, descriptors: readonly Fd[]): number {
	bytes[BYTE] = 0;
	const length = CMSG_HEADER + 4 * descriptors.length;
	view.setBigUint64(MSG_CONTROLLEN, BigInt(descriptors.length === 0 ? 0 : Math.ceil(length / 8) * 8), true);
	view.setBigUint64(CONTROL, BigInt(length), true);
	view.setInt32(CONTROL + 8, SOL_SOCKET, true);
	view.setInt32(CONTROL + 12, SCM_RIGHTS, true);
	for (const [index, fd] of descriptors.entries()) {
		view.setInt32(CONTROL + CMSG_HEADER + 4 * index, fd, true);
	}

	view.setInt32(MSG_FLAGS, 0, true);
	return sendmsg(socket, address, MSG_NOSIGNAL);
}

function carriesDescriptors(): boolean {
	return view.getInt32(CONTROL + 8, true) === SOL_SOCKET && view.getInt32(CONTROL + 12, true) === SCM_RIGHTS;
}
