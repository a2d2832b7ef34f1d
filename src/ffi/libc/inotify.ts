/*++
/* NAME
/*	inotify 3
/* SUMMARY
/*	bindings of inotify(7)
/* DESCRIPTION
/*	The functions of inotify(7), and the layout of its records. A watch
/*	refers to a directory, not to its name: a process continues to
/*	receive events after it has entered the chroot jail and dropped its
/*	privileges.
/* SEE ALSO
/*	inotify(7)
/*--*/

import type {Brand, Fd} from '../../base/units.ts';
import {addon as koffi} from './addon.ts';
import {allocate, read} from './libc.ts';

/** A watch descriptor. */
export type WatchNumber = Brand<number, 'WatchNumber'>;

const libc = koffi.load('libc.so.6');

/* sys/inotify.h */
export const IN_NONBLOCK = 0o4000;
export const IN_CLOEXEC = 0o2000000;
export const IN_CLOSE_WRITE = 0x8;
export const IN_MOVED_TO = 0x80;
export const IN_CREATE = 0x100;
export const IN_DELETE_SELF = 0x400;
export const IN_MOVE_SELF = 0x800;
/** Events were lost. */
export const IN_Q_OVERFLOW = 0x4000;
export const IN_ONLYDIR = 0x1000000;
export const inotify_init1: (flags: number) => number = libc.func('int inotify_init1(int flags)');
export const inotify_add_watch: (fd: Fd, path: string, mask: number) => number = libc.func(
	'int inotify_add_watch(int fd, const char *pathname, uint32_t mask)',
);

/** An event. */
export interface DirectoryEvent {
	readonly watch: WatchNumber;
	/** IN_ bits. */
	readonly mask: number;
	/** File name in the directory; empty if the event is about the directory. */
	readonly name: string;
}

/* Size of struct inotify_event without the name; offsets of the mask and of the length of the name. */
const HEADER_SIZE = 16;
const MASK = 4;
const LENGTH = 12;

const BUFFER_SIZE = 4096;
const buffer = allocate(BUFFER_SIZE);

/** Reads pending events; empty without an event and on failure. */
export function readEvents(fd: Fd): readonly DirectoryEvent[] {
	const size = read(fd, buffer.address, BUFFER_SIZE);
	const events: DirectoryEvent[] = [];
	for (let at = 0; at + HEADER_SIZE <= size; ) {
		const length = buffer.view.getUint32(at + LENGTH, true);
		const name = Buffer.from(buffer.bytes.subarray(at + HEADER_SIZE, at + HEADER_SIZE + length));
		const end = name.indexOf(0);
		events.push({
			watch: buffer.view.getInt32(at, true) as WatchNumber,
			mask: buffer.view.getUint32(at + MASK, true),
			name: name.toString('utf8', 0, end < 0 ? length : end),
		});
		at += HEADER_SIZE + length;
	}

	return events;
}
