/*++
/* NAME
/*	inotify 3
/* SUMMARY
/*	what happens in directories
/* DESCRIPTION
/*	Bindings of inotify(7), and the layout of its records. A watch is
/*	of the directory as it was when it was added: what happens there is
/*	told to a process that may not look any more.
/* SEE ALSO
/*	inotify(7)
/*--*/

import type {Brand, Fd} from '../../base/units.ts';
import {addon as koffi} from './addon.ts';
import {allocate, read} from './libc.ts';

/** Number of a watch. */
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

/** One thing that has happened. */
export interface DirectoryEvent {
	readonly watch: WatchNumber;
	readonly mask: number;
	/** Of what, in the directory; empty when it is the directory itself. */
	readonly name: string;
}

/** Bytes of struct inotify_event without the name. */
const HEAD = 16;
/** Where in it are mask and length of the name. */
const MASK = 4;
const LENGTH = 12;

const SIZE = 4096;
const records = allocate(SIZE);

/** Reads what has happened; empty when nothing has. */
export function readEvents(fd: Fd): readonly DirectoryEvent[] {
	const size = read(fd, records.address, SIZE);
	const events: DirectoryEvent[] = [];
	for (let at = 0; at + HEAD <= size; ) {
		const length = records.view.getUint32(at + LENGTH, true);
		const name = Buffer.from(records.bytes.subarray(at + HEAD, at + HEAD + length));
		const end = name.indexOf(0);
		events.push({
			watch: records.view.getInt32(at, true) as WatchNumber,
			mask: records.view.getUint32(at + MASK, true),
			name: name.toString('utf8', 0, end < 0 ? length : end),
		});
		at += HEAD + length;
	}

	return events;
}
