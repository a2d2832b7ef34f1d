/*++
/* NAME
/*	program 3
/* SUMMARY
/*	the built program: where it is, and how it gets elsewhere
/* DESCRIPTION
/*	The program is a directory, made by postfix/build. It can be run
/*	where it was built, or be copied to a directory of its own. A copy
/*	replaces an earlier copy as a whole; processes that run the earlier
/*	one keep their files.
/* DIAGNOSTICS
/*	Refusal: not built, an unsafe place, a directory of somebody else.
/*--*/

import {
	chmodSync,
	chownSync,
	constants,
	copyFileSync,
	existsSync,
	lstatSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	realpathSync,
	renameSync,
	rmSync,
} from 'node:fs';
import {basename, dirname, join, relative, resolve} from 'node:path';
import {unsafeReason} from './instance.ts';
import {UsageError} from './master-cf.ts';

/** What every release of the program has had. */
const MARKS = ['tlsproxy', 'lib/main.js', 'lib/node', 'lib/package.json'] as const;

/** What a built program consists of, at least. */
const PARTS = [...MARKS, 'lib/launch.js', 'lib/launch.pl', 'lib/offer', 'lib/program.js'] as const;

/**
 * The program that a command belongs to: the one that it came with, or the one that postfix/build made.
 *
 * @param home - top directory of the project, or of a copy of the program.
 * @returns its directory, without symbolic links.
 * @throws {UsageError} when it is not complete.
 */
export function builtProgram(home: string): string {
	const directory = existsSync(join(home, 'lib', 'main.js')) ? home : join(home, 'dist');
	const missing = PARTS.find(part => !existsSync(join(directory, part)));
	if (missing !== undefined) {
		throw new UsageError(
			`the program is not built: ${join(directory, missing)} is missing: run "npm ci && npm run build" in ${home} first`,
		);
	}

	return realpathSync(directory);
}

/**
 * Checks all that master(8) will run or load as root.
 *
 * @param directory - of the program, without symbolic links.
 * @throws {UsageError} when somebody else could change it.
 */
export function checkSafe(directory: string): void {
	const reason =
		unsafeReason(directory) ??
		filesIn(directory)
			.map(file => unsafeFile(join(directory, file)))
			.find(Boolean);
	if (reason !== undefined) {
		throw new UsageError(
			`${reason}, and master(8) would run it as root: use "-p DIRECTORY" to have a copy in a safe place, like /usr/local/libexec/postfix-tlsproxy`,
		);
	}
}

/**
 * Where a copy will be.
 *
 * @param directory - what the user asked for; need not exist.
 * @returns its path, without symbolic links.
 * @throws {UsageError} when it cannot be used.
 */
export function copyTarget(directory: string): string {
	let parent = resolve(directory);
	while (!existsSync(parent)) {
		parent = dirname(parent);
	}

	const target = join(realpathSync(parent), relative(parent, resolve(directory)));
	const reason = unsafeReason(realpathSync(parent));
	if (reason !== undefined) {
		throw new UsageError(
			`${reason}, and master(8) would run programs there as root: choose another directory`,
		);
	}

	/* The directory is going to be replaced as a whole. It must not be /usr/local. */
	if (existsSync(target)) {
		if (!lstatSync(target).isDirectory()) {
			throw new UsageError(`${target} is not a directory`);
		}

		const names = readdirSync(target);
		const isCopy =
			MARKS.every(part => existsSync(join(target, part))) &&
			names.every(name => /^(tlsproxy|lib)$/.test(name));
		if (names.length > 0 && !isCopy) {
			throw new UsageError(`${target} has other files in it: choose a directory for this program alone`);
		}
	}

	return target;
}

/**
 * Copies a program. All of the copy belongs to root, and only root can write to it.
 *
 * @returns whether there was anything to do.
 */
export function copyProgram(source: string, target: string): boolean {
	if (source === target || sameFiles(source, target)) {
		return false;
	}

	const previousMask = process.umask(0o022);
	const suffix = `tlsproxy-${process.pid}`;
	const fresh = join(dirname(target), `.${basename(target)}.new-${suffix}`);
	const old = join(dirname(target), `.${basename(target)}.old-${suffix}`);
	try {
		mkdirSync(dirname(target), {recursive: true});
		mkdirSync(fresh);
		for (const file of filesIn(source)) {
			const [from, to] = [join(source, file), join(fresh, file)];
			const stat = lstatSync(from);
			if (stat.isDirectory()) {
				mkdirSync(to);
			} else {
				copyFileSync(from, to, constants.COPYFILE_FICLONE);
				/* A copy as root gets the owner of the original. */
				chownSync(to, 0, 0);
				chmodSync(to, modeOf(stat.mode));
			}
		}

		const replaces = existsSync(target);
		if (replaces) {
			renameSync(target, old);
		}

		renameSync(fresh, target);
	} finally {
		rmSync(fresh, {recursive: true, force: true});
		rmSync(old, {recursive: true, force: true});
		process.umask(previousMask);
	}

	return true;
}

function modeOf(mode: number): number {
	return (mode & 0o100) === 0 ? 0o644 : 0o755;
}

function filesIn(directory: string): readonly string[] {
	return readdirSync(directory, {recursive: true, encoding: 'utf8'}).toSorted();
}

/* Directories above were looked at already: only the file itself, and no way around it. */
function unsafeFile(path: string): string | undefined {
	const stat = lstatSync(path);
	if (stat.isSymbolicLink()) {
		return `${path} is a symbolic link`;
	}

	if (stat.uid !== 0) {
		return `${path} is not owned by root`;
	}

	return (stat.mode & 0o002) !== 0 || ((stat.mode & 0o020) !== 0 && stat.gid !== 0)
		? `${path} is writable for others than root`
		: undefined;
}

function sameFiles(source: string, target: string): boolean {
	if (!existsSync(target)) {
		return false;
	}

	const files = filesIn(source);
	if (files.join('\0') !== filesIn(target).join('\0')) {
		return false;
	}

	return files.every(file => {
		const [from, to] = [lstatSync(join(source, file)), lstatSync(join(target, file))];
		if (from.isDirectory()) {
			return to.isDirectory() && to.uid === 0 && (to.mode & 0o022) === 0;
		}

		return (
			to.isFile() &&
			to.uid === 0 &&
			(to.mode & 0o7777) === modeOf(from.mode) &&
			to.size === from.size &&
			readFileSync(join(target, file)).equals(readFileSync(join(source, file)))
		);
	});
}
