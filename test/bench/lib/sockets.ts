/*
 * Non-blocking sockets on the loopback interface. They are not in src/: the program
 * neither binds nor connects to a port.
 */
import koffi from 'koffi';
import {Owned} from '../../../src/base/owned.ts';
import type {Fd} from '../../../src/base/units.ts';
import {
	allocate,
	close,
	connect,
	SOCK_CLOEXEC,
	SOCK_NONBLOCK,
	SOCK_STREAM,
	setNonBlocking,
	socket,
} from '../../../src/ffi/libc/libc.ts';
import {bind, listen} from '../../helpers/descriptors.ts';

const libc = koffi.load('libc.so.6');
const getsockname: (fd: Fd, address: bigint, size: bigint) => number = libc.func(
	'int getsockname(int fd, void *addr, void *addrlen)',
);

const AF_INET = 2;
const ADDRESS_SIZE = 16;
const BACKLOG = 4096;
const scratch = allocate(64);

/* A sockaddr_in. The array is larger than 64 bytes because V8 can move smaller ones. */
function loopback(port: number): Uint8Array {
	const address = new Uint8Array(128);
	const view = new DataView(address.buffer);
	view.setUint16(0, AF_INET, true);
	view.setUint16(2, port);
	address.set([127, 0, 0, 1], 4);
	return address;
}

/** A listening socket on a free port. */
export function listenOnLoopback(): {readonly listener: Owned<Fd>; readonly port: number} {
	const listener = new Owned(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) as Fd, close);
	scratch.view.setUint32(32, ADDRESS_SIZE, true);
	const sizeAt = scratch.address + 32n;
	if (
		bind(listener.value, loopback(0), ADDRESS_SIZE) !== 0 ||
		listen(listener.value, BACKLOG) !== 0 ||
		getsockname(listener.value, scratch.address, sizeAt) !== 0
	) {
		throw new Error('cannot listen on 127.0.0.1');
	}

	return {listener, port: scratch.view.getUint16(2)};
}

/** Connects to a port of this host. The call blocks, but on loopback it returns at once. */
export function connectToLoopback(port: number): Owned<Fd> {
	const fd = new Owned(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) as Fd, close);
	if (connect(fd.value, loopback(port), ADDRESS_SIZE) !== 0) {
		fd[Symbol.dispose]();
		throw new Error(`cannot connect to port ${port}`);
	}

	setNonBlocking(fd.value);
	return fd;
}
