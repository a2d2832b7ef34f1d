/*++
/* NAME
/*	credential-watch 3
/* SUMMARY
/*	notices that files have changed which were read before the jail
/* DESCRIPTION
/*	Watches, from before the files are read, the directories that hold
/*	them and those that hold symbolic links on the way to them: a file
/*	can be written in place, replaced by another that is renamed, or be
/*	a link that is made to point elsewhere. What happens there is told
/*	also in the jail.
/*
/*	A certificate and its key are written one after the other, so
/*	changes are told when there were none for a second.
/* DIAGNOSTICS
/*	Warning: a directory cannot be watched. Then changes in it have to
/*	wait for the next reload, or for the end of the process.
/* BUGS
/*	Links that are made while the process runs are not followed to new
/*	directories.
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

/** Time without a change, after which those before it are told. */
const QUIET = 1000 as Milliseconds;
/** Time after which changes are told although they go on, in milliseconds. */
const PATIENCE = 4000;

/** Symbolic links on the way to one file. Source: MAXSYMLINKS, path_resolution(7). */
const LINK_LIMIT = 40;

const MASK = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

/** A watch of files. It reports once at a time, as often as they change. */
export class CredentialWatch implements Disposable {
	#fd: Owned<Fd> | undefined;
	#failed = false;
	/* Names in a directory, and the files that depend on each. */
	readonly #watches = new Map<WatchNumber, Map<string, Set<string>>>();
	readonly #changed = new Set<string>();
	readonly #resources = new DisposableStack();
	#quiet: Deadline | undefined;
	#since: Milliseconds | undefined;

	/**
	 * Begins to watch. To be called before the files are read, as someone who may look at their directories.
	 *
	 * @param files - as they are configured, relative to the working directory. They need not exist.
	 */
	watch(files: readonly string[]): void {
		if (files.length > 0 && this.#open()) {
			for (const file of new Set(files)) {
				this.#add(file);
			}
		}
	}

	/**
	 * Begins to tell, also of what has happened since the watch began.
	 *
	 * @param changed - gets the files that have changed, with the names that they were given by.
	 */
	start(reactor: Reactor, clock: DeadlineClock, changed: (files: readonly string[]) => void): void {
		if (this.#fd === undefined) {
			return;
		}

		this.#quiet = this.#resources.use(
			clock.deadline(() => {
				const files = [...this.#changed];
				this.#changed.clear();
				this.#since = undefined;
				changed(files);
			}),
		);
		const ready = (): void => this.#ready();
		this.#resources.use(
			reactor.watchLevelTriggered(this.#fd.value, {
				ready,
				fault: reason => warning(`changes of certificate files: ${String(reason)}`),
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
			warning(`changes of certificate files will not be noticed: inotify_init1: ${strerror(errno())}`);
			return false;
		}

		this.#fd = this.#resources.use(ownFd(fd as Fd));
		return true;
	}

	#add(file: string): void {
		for (const {directory, name} of watchedEntries(file)) {
			/* A directory that is watched already has the same number again. */
			const watch = inotify_add_watch(this.#fd?.value ?? (-1 as Fd), directory, MASK) as WatchNumber;
			if (watch < 0) {
				warning(`changes of ${file} will not be noticed: ${directory}: ${strerror(errno())}`);
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
			this.#since ??= now();
			if (now() - this.#since < PATIENCE) {
				this.#quiet?.arm(QUIET);
			}
		}
	}
}

/** A name in a directory, on which it depends what a path leads to. */
export interface WatchedEntry {
	readonly directory: string;
	readonly name: string;
}

/** The symbolic links on the way to a file, and the file itself or the first name that is missing. */
export function watchedEntries(file: string): readonly WatchedEntry[] {
	const places: WatchedEntry[] = [];
	let rest = resolve(file).split('/').slice(1);
	let directory = '/';
	for (let links = 0; links < LINK_LIMIT; ) {
		const [name, ...behind] = rest;
		if (name === undefined) {
			return places;
		}

		rest = behind;
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
			places.push({directory, name});
			const target = readlinkSync(path);
			rest = [...target.split('/'), ...rest];
			directory = isAbsolute(target) ? '/' : directory;
		} else if (rest.length === 0 || stat?.isDirectory() !== true) {
			places.push({directory, name});
			return places;
		} else {
			directory = path;
		}
	}

	return places;
}
