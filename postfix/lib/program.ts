/*++
/* NAME
/*	program 3
/* SUMMARY
/*	find, check and copy the built program
/* DESCRIPTION
/*	The program is a directory that postfix/build creates. It runs in
/*	the directory where it was built, or in a copy. A copy replaces an
/*	earlier copy as a whole; processes that run the earlier copy keep
/*	their open files.
/* DIAGNOSTICS
/*	UsageError: the program is not built, users other than root can
/*	write to it, or the target directory contains other files.
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
import {isWritableByOthers, unsafeReason} from './instance.ts';
import {UsageError} from './usage-error.ts';

/** Files of every release of the program. They identify a copy. */
const IDENTIFYING_FILES = ['tlsproxy', 'lib/main.js', 'lib/node', 'lib/package.json'] as const;

/** Files that a built program must contain. */
const REQUIRED_FILES = [
	...IDENTIFYING_FILES,
	'lib/launch.js',
	'lib/launch.pl',
	'lib/offer',
	'lib/program.js',
	'lib/supervisor.pl',
] as const;

/**
 * The program that a command belongs to: the copy that contains the command, or the program that postfix/build
 * created in the project.
 *
 * @param home - top directory of the project, or of a copy of the program.
 * @returns the directory of the program, without symbolic links.
 * @throws {UsageError} if the program is incomplete.
 */
export function builtProgram(home: string): string {
	const directory = existsSync(join(home, 'lib', 'main.js')) ? home : join(home, 'dist');
	const missing = REQUIRED_FILES.find(file => !existsSync(join(directory, file)));
	if (missing !== undefined) {
		throw new UsageError(
			`the program is not built: ${join(directory, missing)} is missing: run "npm ci && npm run build" in ${home} first`,
		);
	}

	return realpathSync(directory);
}

/**
 * Checks every file that master(8) runs or loads as root.
 *
 * @param directory - the directory of the program, without symbolic links.
 * @throws {UsageError} if users other than root can change one.
 */
export function checkSafe(directory: string): void {
	const reason =
		unsafeReason(directory) ??
		filesIn(directory)
			.map(file => unsafeFile(join(directory, file)))
			.find(Boolean);
	if (reason !== undefined) {
		throw new UsageError(
			`${reason}, and master(8) would run it as root: use "-p DIRECTORY" to install a copy in a safe directory, such as /usr/local/libexec/postfix-tlsproxy`,
		);
	}
}

/**
 * Checks the directory for a copy of the program.
 *
 * @param directory - as the user wrote it; need not exist.
 * @returns its path, without symbolic links.
 * @throws {UsageError} if the directory cannot be used.
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

	/* The directory will be replaced as a whole: an existing one, such as /usr/local, must not be lost. */
	if (existsSync(target)) {
		if (!lstatSync(target).isDirectory()) {
			throw new UsageError(`${target} is not a directory`);
		}

		const names = readdirSync(target);
		const isCopy =
			IDENTIFYING_FILES.every(file => existsSync(join(target, file))) &&
			names.every(name => /^(tlsproxy|lib)$/.test(name));
		if (names.length > 0 && !isCopy) {
			throw new UsageError(`${target} contains other files: choose a directory for this program alone`);
		}
	}

	return target;
}

/**
 * Copies the program. Root owns the copy, and only root can write to it.
 *
 * @returns false if an identical copy exists already.
 */
export function copyProgram(source: string, target: string): boolean {
	if (source === target || sameFiles(source, target)) {
		return false;
	}

	const previousMask = process.umask(0o022);
	const suffix = `tlsproxy-${process.pid}`;
	const temporary = join(dirname(target), `.${basename(target)}.new-${suffix}`);
	const previous = join(dirname(target), `.${basename(target)}.old-${suffix}`);
	try {
		mkdirSync(dirname(target), {recursive: true});
		mkdirSync(temporary);
		for (const file of filesIn(source)) {
			const [from, to] = [join(source, file), join(temporary, file)];
			const stat = lstatSync(from);
			if (stat.isDirectory()) {
				mkdirSync(to);
			} else {
				copyFileSync(from, to, constants.COPYFILE_FICLONE);
				/* copyFile() as root keeps the owner of the original. */
				chownSync(to, 0, 0);
				chmodSync(to, modeOf(stat.mode));
			}
		}

		const replaces = existsSync(target);
		if (replaces) {
			renameSync(target, previous);
		}

		renameSync(temporary, target);
	} finally {
		rmSync(temporary, {recursive: true, force: true});
		rmSync(previous, {recursive: true, force: true});
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

/* The directories above have been checked already. */
function unsafeFile(path: string): string | undefined {
	const stat = lstatSync(path);
	if (stat.isSymbolicLink()) {
		return `${path} is a symbolic link`;
	}

	if (stat.uid !== 0) {
		return `${path} is not owned by root`;
	}

	return isWritableByOthers(stat) ? `${path} is writable by users other than root` : undefined;
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
