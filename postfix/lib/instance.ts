/*++
/* NAME
/*	instance 3
/* SUMMARY
/*	a Postfix instance, as its configuration directory describes it
/* DESCRIPTION
/*	What installation needs to know of an instance: parameters, through
/*	postconf(1); whether a path is safe to be run as root; and how to
/*	replace a configuration file so that nobody ever sees half of it.
/* DIAGNOSTICS
/*	Refusal: no such instance, no Postfix, an unsafe path.
/* SECURITY
/*	master(8) runs the program as root. Whoever can write to it, or to
/*	a directory above it, is root. A sticky directory is safe: there,
/*	only the owner of an entry can replace it.
/*--*/

import {spawnSync} from 'node:child_process';
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
	statSync,
	writeFileSync,
} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {UsageError} from './master-cf.ts';

/** Where administration commands are, for a PATH that does not say. */
const PATH = [process.env['PATH'], '/usr/local/sbin', '/usr/sbin', '/sbin'].filter(Boolean).join(':');

/** Environment for commands of an instance: nothing that points to another one. */
export const commandEnvironment: Readonly<NodeJS.ProcessEnv> = {
	PATH,
	LC_ALL: 'C',
	HOME: '/',
};

/**
 * @param directory - what the user calls the configuration directory.
 * @returns its absolute path.
 * @throws {UsageError} when it is none.
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
 * Parameters of an instance, expanded.
 *
 * @throws {UsageError} when postconf(1) is missing or fails.
 */
export function parametersOf<Name extends string>(
	directory: string,
	names: readonly Name[],
): Readonly<Record<Name, string>> {
	const stdout = runPostconf(directory, ['-x', ...names]).output;
	const lines = new Map(
		stdout.split('\n').map(line => {
			const [name = '', ...value] = line.split('=');
			return [name.trim(), value.join('=').trim()] as const;
		}),
	);
	return Object.fromEntries(names.map(name => [name, lines.get(name) ?? ''])) as Record<Name, string>;
}

/**
 * Runs postconf(1) on an instance.
 *
 * @returns what it prints, and what it warns of.
 * @throws {UsageError} when it is missing or fails.
 */
export function runPostconf(
	directory: string,
	args: readonly string[],
): {readonly output: string; readonly warnings: string} {
	const run = spawnSync('postconf', ['-c', directory, ...args], {
		encoding: 'utf8',
		env: {...commandEnvironment},
		maxBuffer: 64 * 1024 * 1024,
	});
	if (run.error !== undefined) {
		throw new UsageError(`cannot run postconf(1): is Postfix installed? (${run.error.message})`);
	}

	if (run.status !== 0) {
		throw new UsageError(`postconf(1) failed: ${run.stderr.trim()}`);
	}

	return {output: run.stdout, warnings: run.stderr};
}

/**
 * The configuration directories of all instances that this machine's own one knows of, itself first.
 *
 * A Postfix that was removed leaves its configuration behind: then there is still that.
 */
export function allInstances(): readonly string[] {
	const first = builtInDirectory();
	const named = ['multi_instance_directories', 'alternate_config_directories'] as const;
	const others = ((): readonly string[] => {
		try {
			return Object.values(parametersOf(first, named)).flatMap(value => value.split(/[\s,]+/));
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

function builtInDirectory(): string {
	const {status, stdout} = spawnSync('postconf', ['-dh', 'config_directory'], {
		encoding: 'utf8',
		env: {...commandEnvironment},
	});
	return status === 0 ? stdout.trim() : '/etc/postfix';
}

/**
 * Has a running instance read its configuration.
 *
 * @returns whether it is running.
 * @throws {UsageError} when it does not do so.
 */
export function reloadIfRunning(directory: string): boolean {
	const postfix = (command: string) =>
		spawnSync('postfix', ['-c', directory, command], {encoding: 'utf8', env: {...commandEnvironment}});
	if (postfix('status').status !== 0) {
		return false;
	}

	const {status, stderr} = postfix('reload');
	if (status !== 0) {
		throw new UsageError(`postfix -c ${directory} reload: ${stderr.trim()}`);
	}

	return true;
}

/**
 * The release of the installed Postfix, whatever an instance says of itself.
 *
 * @throws {UsageError} when postconf(1) is missing or fails.
 */
export function mailVersion(): string {
	const run = spawnSync('postconf', ['-dh', 'mail_version'], {
		encoding: 'utf8',
		env: {...commandEnvironment},
	});
	if (run.status !== 0) {
		throw new UsageError(
			`cannot run postconf(1): is Postfix installed? (${run.error?.message ?? run.stderr.trim()})`,
		);
	}

	return run.stdout.trim();
}

/**
 * @param release - as in the parameter `mail_version`.
 * @throws {UsageError} when that release has no tlsproxy(8) with a client role.
 */
export function checkRelease(release: string): void {
	const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(release) ?? [];
	if (Number(major) < 3 || (Number(major) === 3 && Number(minor) < 4)) {
		throw new UsageError(`Postfix ${release} cannot reuse TLS connections: this needs Postfix 3.4 or later`);
	}
}

/**
 * Why a path must not be run as root.
 *
 * @param path - without symbolic links.
 * @returns the first reason, or nothing.
 */
export function unsafeReason(path: string): string | undefined {
	for (let component = path; ; component = dirname(component)) {
		const stat = lstatSync(component);
		if (stat.uid !== 0) {
			return `${component} is not owned by root`;
		}

		const sticky = stat.isDirectory() && (stat.mode & 0o1000) !== 0;
		const byGroup = (stat.mode & 0o020) !== 0 && stat.gid !== 0;
		if (!stat.isSymbolicLink() && !sticky && (byGroup || (stat.mode & 0o002) !== 0)) {
			return `${component} is writable for others than root`;
		}

		if (component === dirname(component)) {
			return undefined;
		}
	}
}

/**
 * Replaces the content of a file in one step; of the target, where it is a symbolic link.
 *
 * @param expected - content that the file must still have.
 * @throws {UsageError} when somebody else has changed it meanwhile.
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
			throw new UsageError(`${path} was changed by somebody else at the same time: try again`);
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
