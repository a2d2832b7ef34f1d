/*++
/* NAME
/*	instance 3
/* SUMMARY
/*	operations on a Postfix instance
/* DESCRIPTION
/*	Functions that the commands share: they read the parameters of an
/*	instance with postconf(1), find the instances of this machine,
/*	reload an instance, check that a path is safe to be run as root,
/*	and replace a configuration file atomically.
/* DIAGNOSTICS
/*	UsageError: the instance or Postfix does not exist, a command of
/*	Postfix failed, or another process changed a file.
/* SECURITY
/*	master(8) runs the program as root. A user who can write to the
/*	program, or to a directory above it, can become root. A sticky
/*	directory is safe: only the owner of an entry can replace it.
/*--*/

import {type SpawnSyncReturns, spawnSync} from 'node:child_process';
import {
	closeSync,
	existsSync,
	fchmodSync,
	fchownSync,
	fsyncSync,
	lstatSync,
	openSync,
	readFileSync,
	realpathSync,
	renameSync,
	rmSync,
	type Stats,
	statSync,
	writeFileSync,
} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {splitList, trimSpace} from '../../src/base/text.ts';
import {valuesIn} from '../../src/conf/postconf-output.ts';
import {compareReleases, type Release} from '../../src/conf/release.ts';
import {UsageError} from './usage-error.ts';

/** The search path. The PATH of a user may lack the directories of administration commands. */
const PATH = [process.env['PATH'], '/usr/local/sbin', '/usr/sbin', '/sbin'].filter(Boolean).join(':');

/** Environment of Postfix commands. It contains no variable that selects another instance, such as MAIL_CONFIG. */
export const commandEnvironment: Readonly<NodeJS.ProcessEnv> = {
	PATH,
	LC_ALL: 'C',
	HOME: '/',
};

/**
 * Checks a configuration directory.
 *
 * @param directory - as the user wrote it.
 * @returns its absolute path, without symbolic links.
 * @throws {UsageError} if it is not a configuration directory.
 */
export function configurationDirectory(directory: string): string {
	const stat = statSync(directory, {throwIfNoEntry: false});
	if (stat === undefined || !stat.isDirectory()) {
		throw new UsageError(`${directory}: no such directory`);
	}

	for (const file of ['main.cf', 'master.cf']) {
		if (!existsSync(join(directory, file))) {
			throw new UsageError(
				`${join(directory, file)}: no such file: is ${directory} a Postfix configuration directory?`,
			);
		}
	}

	return realpathSync(directory);
}

/**
 * Runs a command with `commandEnvironment`. The output is decoded as UTF-8.
 *
 * @returns its status and output. Does not throw if the command fails or does not exist.
 */
export function run(command: string, args: readonly string[]): SpawnSyncReturns<string> {
	return spawnSync(command, args, {
		encoding: 'utf8',
		env: {...commandEnvironment},
		maxBuffer: 64 * 1024 * 1024,
	});
}

/**
 * Parameters of an instance, expanded. A parameter that the release does not have is empty.
 *
 * @throws {UsageError} if postconf(1) is missing or fails.
 */
export function parametersOf<Name extends string>(
	directory: string,
	names: readonly Name[],
): Readonly<Record<Name, string>> {
	const values = valuesIn(runPostconf(directory, ['-x', ...names]).output.split('\n'));
	return Object.fromEntries(names.map(name => [name, trimSpace(values.get(name) ?? '')])) as Record<
		Name,
		string
	>;
}

/**
 * Runs postconf(1) on an instance.
 *
 * @returns its standard output, and its warnings.
 * @throws {UsageError} if it is missing or fails.
 */
export function runPostconf(
	directory: string,
	args: readonly string[],
): {readonly output: string; readonly warnings: string} {
	const {error, status, stdout, stderr} = run('postconf', ['-c', directory, ...args]);
	if (error !== undefined) {
		throw new UsageError(`cannot run postconf(1): is Postfix installed? (${error.message})`);
	}

	if (status !== 0) {
		throw new UsageError(`postconf(1) failed: ${stderr.trim()}`);
	}

	return {output: stdout, warnings: stderr};
}

/**
 * The configuration directories of all instances of this machine: the default one, then those that its
 * main.cf names.
 *
 * A Postfix package that was removed can leave its configuration: then only the default directory is known.
 */
export function allInstances(): readonly string[] {
	const first = defaultDirectory();
	const named = ['multi_instance_directories', 'alternate_config_directories'] as const;
	const others = ((): readonly string[] => {
		try {
			return Object.values(parametersOf(first, named)).flatMap(value => splitList(value));
		} catch (reason) {
			if (reason instanceof UsageError) {
				return [];
			}

			throw reason;
		}
	})();
	return [...new Set([first, ...others])].filter(
		directory => directory !== '' && existsSync(join(directory, 'master.cf')),
	);
}

function defaultDirectory(): string {
	const {status, stdout} = run('postconf', ['-dh', 'config_directory']);
	return status === 0 ? stdout.trim() : '/etc/postfix';
}

/**
 * Reloads an instance if it is running.
 *
 * @returns whether it is running.
 * @throws {UsageError} if the reload fails.
 */
export function reloadIfRunning(directory: string): boolean {
	if (run('postfix', ['-c', directory, 'status']).status !== 0) {
		return false;
	}

	const {status, stderr} = run('postfix', ['-c', directory, 'reload']);
	if (status !== 0) {
		throw new UsageError(`postfix -c ${directory} reload: ${stderr.trim()}`);
	}

	return true;
}

/**
 * The release of the installed Postfix. An instance cannot override it.
 *
 * @throws {UsageError} if postconf(1) is missing or fails.
 */
export function mailVersion(): string {
	const {error, status, stdout, stderr} = run('postconf', ['-dh', 'mail_version']);
	if (status !== 0) {
		throw new UsageError(
			`cannot run postconf(1): is Postfix installed? (${error?.message ?? stderr.trim()})`,
		);
	}

	return stdout.trim();
}

/**
 * The major and minor number of a release.
 *
 * @param release - as in the parameter `mail_version`.
 */
export function minorRelease(release: string): Release {
	const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(release) ?? [];
	return `${Number(major)}.${Number(minor)}`;
}

/**
 * Checks that a release has a tlsproxy(8) with a client role.
 *
 * @param release - as in the parameter `mail_version`.
 * @throws {UsageError} if it does not.
 */
export function checkRelease(release: string): void {
	if (compareReleases(minorRelease(release), '3.4') < 0) {
		throw new UsageError(`Postfix ${release} cannot reuse TLS connections: this needs Postfix 3.4 or later`);
	}
}

/**
 * The reason why a path must not be run as root.
 *
 * @param path - without symbolic links.
 * @returns the first reason; undefined if the path is safe.
 */
export function unsafeReason(path: string): string | undefined {
	for (let component = path; ; component = dirname(component)) {
		const stat = lstatSync(component);
		if (stat.uid !== 0) {
			return `${component} is not owned by root`;
		}

		const sticky = stat.isDirectory() && (stat.mode & 0o1000) !== 0;
		if (!stat.isSymbolicLink() && !sticky && isWritableByOthers(stat)) {
			return `${component} is writable by users other than root`;
		}

		if (component === dirname(component)) {
			return undefined;
		}
	}
}

/** Whether the mode of a file permits users other than root to write to it. Does not examine the owner. */
export function isWritableByOthers({mode, gid}: Stats): boolean {
	return (mode & 0o002) !== 0 || ((mode & 0o020) !== 0 && gid !== 0);
}

/**
 * Replaces the content of a file atomically. If the path is a symbolic link, its target is replaced. Owner and
 * mode are kept.
 *
 * @param expected - the content that the file must still have, one character per byte.
 * @param content - likewise.
 * @throws {UsageError} if another process has changed the file.
 */
export function replaceFile(path: string, expected: string, content: string): void {
	const target = realpathSync(path);
	const stat = statSync(target);
	const temporary = join(dirname(target), `.${basename(target)}.tlsproxy-${process.pid}`);
	const fd = openSync(temporary, 'wx', 0o600);
	try {
		try {
			writeFileSync(fd, content, 'latin1');
			fchownSync(fd, stat.uid, stat.gid);
			fchmodSync(fd, stat.mode & 0o7777);
			fsyncSync(fd);
		} finally {
			closeSync(fd);
		}

		if (readFileSync(target, 'latin1') !== expected) {
			throw new UsageError(`${path} was changed by another process at the same time: try again`);
		}

		renameSync(temporary, target);
	} finally {
		rmSync(temporary, {force: true});
	}

	const directory = openSync(dirname(target), 'r');
	try {
		fsyncSync(directory);
	} finally {
		closeSync(directory);
	}
}
