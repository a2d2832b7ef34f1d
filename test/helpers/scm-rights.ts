/*
 * The sending side of SCM_RIGHTS: a message of one zero byte with descriptors, as the
 * clients of tlsproxy(8) send it. Source: unix_send_fd(), postfix src/util/unix_send_fd.c.
 */
import koffi from 'koffi';
import type {Fd} from '../../src/base/units.ts';
import {type Address, allocate, MSG_NOSIGNAL, SCM_RIGHTS, SOL_SOCKET} from '../../src/ffi/libc/libc.ts';

const sendmsg: (fd: Fd, message: Address, flags: number) => number = koffi
	.load('libc.so.6')
	.func('long sendmsg(int fd, const void *msg, int flags)');

/* Sizes of struct cmsghdr, struct iovec and struct msghdr. */
const CMSG_HEADER_SIZE = 16;
const IOVEC_SIZE = 16;
const MSGHDR_SIZE = 56;

const zeroByte = allocate(1);
const iovec = allocate(IOVEC_SIZE);
iovec.view.setBigUint64(0, zeroByte.address, true);
iovec.view.setBigUint64(8, 1n, true);
const control = allocate(128);
const message = allocate(MSGHDR_SIZE);

/** Sends one zero byte with up to 28 descriptors, which the caller continues to own. Result of sendmsg(2). */
export function sendDescriptors(socket: Fd, descriptors: readonly Fd[]): number {
	const length = CMSG_HEADER_SIZE + 4 * descriptors.length;
	control.view.setBigUint64(0, BigInt(length), true);
	control.view.setInt32(8, SOL_SOCKET, true);
	control.view.setInt32(12, SCM_RIGHTS, true);
	for (const [index, fd] of descriptors.entries()) {
		control.view.setInt32(CMSG_HEADER_SIZE + 4 * index, fd, true);
	}

	/* No name; one iovec; the control data, padded to 8 bytes; no flags. */
	const controlSize = descriptors.length === 0 ? 0 : Math.ceil(length / 8) * 8;
	const header = [0n, 0n, iovec.address, 1n, control.address, BigInt(controlSize), 0n];
	for (const [index, word] of header.entries()) {
		message.view.setBigUint64(8 * index, word, true);
	}

	return sendmsg(socket, message.address, MSG_NOSIGNAL);
}
