/*
 * Programs of Debian packages without installation: the packages of the machine and the
 * services that it starts at boot do not change.
 */
import {existsSync, globSync} from 'node:fs';
import {mkdir, mkdtemp, rename, rm} from 'node:fs/promises';
import {homedir} from 'node:os';
import {join} from 'node:path';
import {execa} from 'execa';

/** A directory tree that packages were extracted to. */
export interface Extracted {
	/** Path of a program. */
	program(name: string): string;
	/** Path of the first file that matches a pattern relative to the root, in the tree or on the machine. */
	file(pattern: string): string;
	/** Environment variables with which its programs find their libraries. */
	readonly environment: Readonly<Record<string, string>>;
}

/** Extracts packages, with the dependencies that are not installed. The tree is cached in the user's cache. */
export async function extract(...names: readonly string[]): Promise<Extracted> {
	const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'postfix-tlsproxy');
	const {stdout: release} = await execa`sh -c ${'. /etc/os-release; echo $ID-$VERSION_ID'}`;
	const root = join(cache, `${release}-${names.join('-')}`);
	if (!existsSync(root)) {
		await mkdir(cache, {recursive: true});
		const work = await mkdtemp(join(cache, 'work-'));
		await load(work, names);
		/* If two runs do this at once, the first one wins. */
		await rename(join(work, 'root'), root).catch(() => undefined);
		await rm(work, {recursive: true});
	}

	const libraries = globSync(join(root, '{usr/,}lib/*-linux-gnu'));
	return {
		program(name) {
			const [found] = ['usr/sbin', 'usr/bin']
				.map(place => join(root, place, name))
				.filter(path => existsSync(path));
			if (found === undefined) {
				throw new Error(`${names.join(', ')}: no program ${name}`);
			}

			return found;
		},
		file(pattern) {
			const [found] = [root, '/'].flatMap(top => globSync(join(top, pattern)));
			if (found === undefined) {
				throw new Error(`${names.join(', ')}: no file ${pattern}`);
			}

			return found;
		},
		environment: {LD_LIBRARY_PATH: libraries.join(':')},
	};
}

async function load(work: string, names: readonly string[]): Promise<void> {
	const archives = join(work, 'archives');
	await mkdir(join(archives, 'partial'), {recursive: true});
	await mkdir(join(work, 'root'));
	/* Installed packages are downloaded, too. */
	const options = [
		'-q',
		'-y',
		'--reinstall',
		'--no-install-recommends',
		'-o',
		`Dir::Cache::archives=${archives}`,
	];
	const get = async (): Promise<unknown> =>
		await execa('apt-get', [...options, 'install', '--download-only', ...names]);
	try {
		await get();
	} catch {
		/* The package lists may be missing or outdated, and those of an archived suite are expired. */
		const valid = ['-o', 'Acquire::Check-Valid-Until=false', '-o', 'Acquire::Check-Date=false'];
		await execa('apt-get', ['-q', ...valid, 'update']);
		await get();
	}

	for (const archive of globSync(join(archives, '*.deb'))) {
		await execa('dpkg', ['-x', archive, join(work, 'root')]);
	}
}
