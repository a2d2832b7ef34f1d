/*
 * Programs of Debian packages, without installing them: the machine that tests run
 * on keeps what it has, and starts nothing at its next boot that it did not before.
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
	/** Path of a file: the first that a pattern, relative to the root, finds, here or on this machine. */
	file(pattern: string): string;
	/** What its programs need to find their libraries. */
	readonly environment: Readonly<Record<string, string>>;
}

/**
 * Extracts packages, with all that they need and the machine does not have. The result stays in the user's
 * cache, so that the next run need not load it again.
 */
export async function extract(...names: readonly string[]): Promise<Extracted> {
	const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'postfix-tlsproxy');
	const {stdout: release} = await execa`sh -c ${'. /etc/os-release; echo $ID-$VERSION_ID'}`;
	const root = join(cache, `${release}-${names.join('-')}`);
	if (!existsSync(root)) {
		await mkdir(cache, {recursive: true});
		const work = await mkdtemp(join(cache, 'work-'));
		await load(work, names);
		/* Two runs at once: whoever is first. */
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
	/* What is installed already is loaded, too. */
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
		/* The lists of packages may be missing, or too old to be useful; those of an archive that has ended expire. */
		const valid = ['-o', 'Acquire::Check-Valid-Until=false', '-o', 'Acquire::Check-Date=false'];
		await execa('apt-get', ['-q', ...valid, 'update']);
		await get();
	}

	for (const archive of globSync(join(archives, '*.deb'))) {
		await execa('dpkg', ['-x', archive, join(work, 'root')]);
	}
}
