/*++
/* NAME
/*	credential-watch 3
/* SUMMARY
/*	reports changes of the credential files
/* DESCRIPTION
/*	Watches the directories that contain the files, and the directories
/*	that contain symbolic links on their paths: a file may be written in
/*	place, replaced with rename(2), or be reached through a link that is
/*	changed. The watch starts before the files are read, and continues
/*	inside the chroot jail.
/*
/*	A certificate and its key are written one after the other, so
/*	changes are reported after one second without another change.
/* DIAGNOSTICS
/*	Warning: a directory cannot be watched. Changes in it take effect at
/*	the next reload, or in the next process.
/* BUGS
/*	A link that is created while the process runs is not followed into
/*	a directory that is not watched yet.
/* SEE ALSO
/*	inotify(7)
/*--*/

import {lstatSync, readlinkSync} from 'node:fs';
import {dirname, isAbsolute, join, resolve} from 'node:path';
import type {Owned} from '../base/owned.ts';
import type {Fd, Milliseconds} from '../base/units.ts';
import {type Deadline, type DeadlineClock, now} from '../event/deadline.ts';
import type {Reactor} from '../event/reactor.ts';
import {ownFd} from '../event/stream.ts';
import {
	IN_CLOEXEC,
	IN_CLOSE_WRITE,
	IN_CREATE,
	IN_DELETE_SELF,
	IN_MOVE_SELF,
	IN_MOVED_TO,
	IN_NONBLOCK,
	IN_ONLYDIR,
	IN_Q_OVERFLOW,
	inotify_add_watch,
	inotify_init1,
	readEvents,
	type WatchNumber,
} from '../ffi/libc/inotify.ts';
import {errno, strerror} from '../ffi/libc/libc.ts';
import {warning} from '../log/log.ts';

/** Time without a change after which the earlier changes are reported. */
const QUIET_TIME = 1000 as Milliseconds;
/** Time since the first change after which further changes do not delay the report, in milliseconds. */
const DELAY_LIMIT = 4000;

/** Maximal number of symbolic links on one path. Source: MAXSYMLINKS, path_resolution(7). */
const LINK_LIMIT = 40;

const MASK = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

/** Watches files. Changes in quick succession are reported together. */
export class CredentialWatch implements Disposable {
	#fd: Owned<Fd> | undefined;
	#failed = false;
	/* For each watched directory: the names in it, and the configured files that depend on each name. */
	readonly #watches = new Map<WatchNumber, Map<string, Set<string>>>();
	readonly #changed = new Set<string>();
	readonly #resources = new DisposableStack();
	#reportDeadline: Deadline | undefined;
	#firstChange: Milliseconds | undefined;

	/**
	 * Starts watching. Call it before the files are read, with the privilege to read their directories.
	 *
	 * @param files - configured names, relative to the working directory. The files need not exist.
	 */
	watch(files: readonly string[]): void {
		if (files.length > 0 && this.#open()) {
			for (const file of new Set(files)) {
				this.#add(file);
			}
		}
	}

	/**
	 * Starts reporting. Changes since {@link watch} are included.
	 *
	 * @param reactor - borrowed.
	 * @param clock - borrowed.
	 * @param changed - receives the names of the changed files, as they were passed to {@link watch}.
	 */
	start(reactor: Reactor, clock: DeadlineClock, changed: (files: readonly string[]) => void): void {
		if (this.#fd === undefined) {
			return;
		}

		this.#reportDeadline = this.#resources.use(
			clock.deadline(() => {
				const files = [...this.#changed];
				this.#changed.clear();
				this.#firstChange = undefined;
				changed(files);
			}),
		);
		const ready = (): void => this.#ready();
		this.#resources.use(
			reactor.watchLevelTriggered(this.#fd.value, {
				ready,
				fault: reason => warning(`watch certificate files: ${String(reason)}`),
			}),
		);
	}

	[Symbol.dispose](): void {
		this.#resources.dispose();
	}

	#open(): boolean {
		if (this.#fd !== undefined || this.#failed) {
			return !this.#failed;
		}

		const fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		if (fd < 0) {
			this.#failed = true;
			warning(`certificate files are not watched: inotify_init1: ${strerror(errno())}`);
			return false;
		}

		this.#fd = this.#resources.use(ownFd(fd as Fd));
		return true;
	}

	#add(file: string): void {
		for (const {directory, name} of watchedEntries(file)) {
			/* A directory that is watched already gets the same number. */
			const watch = inotify_add_watch(this.#fd?.value ?? (-1 as Fd), directory, MASK) as WatchNumber;
			if (watch < 0) {
				warning(`changes of ${file} are not detected: ${directory}: ${strerror(errno())}`);
				continue;
			}

			const names = this.#watches.get(watch) ?? new Map<string, Set<string>>();
			this.#watches.set(watch, names);
			names.set(name, (names.get(name) ?? new Set()).add(file));
		}
	}

	#ready(): void {
		for (const {watch, mask, name} of this.#fd === undefined ? [] : readEvents(this.#fd.value)) {
			const all = (mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF)) !== 0;
			const directories = (mask & IN_Q_OVERFLOW) === 0 ? [watch] : [...this.#watches.keys()];
			for (const directory of directories) {
				const names = this.#watches.get(directory);
				const files = all ? [...(names?.values() ?? [])] : [names?.get(name) ?? new Set<string>()];
				for (const file of files.flatMap(set => [...set])) {
					this.#changed.add(file);
				}
			}
		}

		if (this.#changed.size > 0) {
			this.#firstChange ??= now();
			if (now() - this.#firstChange < DELAY_LIMIT) {
				this.#reportDeadline?.arm(QUIET_TIME);
			}
		}
	}
}

/** A directory entry that a path depends on. */
export interface WatchedEntry {
	readonly directory: string;
	readonly name: string;
}

/** The symbolic links on the path of a file, and the file itself or the first name that does not exist. */
export function watchedEntries(file: string): readonly WatchedEntry[] {
	const entries: WatchedEntry[] = [];
	let rest = resolve(file).split('/').slice(1);
	let directory = '/';
	for (let links = 0; links < LINK_LIMIT; ) {
		const [name, ...following] = rest;
		if (name === undefined) {
			return entries;
		}

		rest = following;
		if (name === '' || name === '.') {
			continue;
		}

		if (name === '..') {
			directory = dirname(directory);
			continue;
		}

		const path = join(directory, name);
		const stat = lstatSync(path, {throwIfNoEntry: false});
		if (stat?.isSymbolicLink() === true) {
			links++;
			entries.push({directory, name});
			const target = readlinkSync(path);
			rest = [...target.split('/'), ...rest];
			directory = isAbsolute(target) ? '/' : directory;
		} else if (rest.length === 0 || stat?.isDirectory() !== true) {
			entries.push({directory, name});
			return entries;
		} else {
			directory = path;
		}
	}

	return entries;
}
