import {mkdtempSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import type {Fd} from '../../../src/base/units.ts';
import {
	IN_CLOEXEC,
	IN_CLOSE_WRITE,
	IN_CREATE,
	IN_DELETE_SELF,
	IN_MOVED_TO,
	IN_NONBLOCK,
	IN_ONLYDIR,
	inotify_add_watch,
	inotify_init1,
	readEvents,
} from '../../../src/ffi/libc/inotify.ts';
import {close, errno, errorNumber} from '../../../src/ffi/libc/libc.ts';

test('readEvents returns the pending events with their watch, mask and name', t => {
	const directory = mkdtempSync(join(tmpdir(), 'inotify-'));
	const other = mkdtempSync(join(tmpdir(), 'inotify-'));
	const fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC) as Fd;
	t.teardown(() => {
		close(fd);
		rmSync(directory, {recursive: true, force: true});
		rmSync(other, {recursive: true, force: true});
	});
	const mask = IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR;
	const watch = inotify_add_watch(fd, directory, mask);
	const otherWatch = inotify_add_watch(fd, other, mask);
	t.deepEqual(readEvents(fd), []);

	writeFileSync(join(directory, 'first'), '');
	/* Names of 15 and 16 bytes: the kernel pads names with NUL to a multiple of 16 bytes. */
	renameSync(join(directory, 'first'), join(other, 'x'.repeat(15)));
	renameSync(join(other, 'x'.repeat(15)), join(directory, 'ü'.repeat(8)));
	const IN_IGNORED = 0x8000;
	rmSync(other, {recursive: true});
	t.deepEqual(
		readEvents(fd).map(event => [Number(event.watch), event.mask, event.name]),
		[
			[watch, IN_CREATE, 'first'],
			[watch, IN_CLOSE_WRITE, 'first'],
			[otherWatch, IN_MOVED_TO, 'x'.repeat(15)],
			[watch, IN_MOVED_TO, 'ü'.repeat(8)],
			[otherWatch, IN_DELETE_SELF, ''],
			[otherWatch, IN_IGNORED, ''],
		],
	);
	t.deepEqual(readEvents(fd), []);
});

test('inotify_add_watch rejects a file if IN_ONLYDIR is set', t => {
	const fd = inotify_init1(IN_CLOEXEC) as Fd;
	t.is(inotify_add_watch(fd, import.meta.filename, IN_CREATE | IN_ONLYDIR), -1);
	t.is(errno(), errorNumber('ENOTDIR'));
	close(fd);
});
