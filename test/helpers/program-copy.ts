/* A copy of the built program that a test can damage, registered in the master.cf of a sandbox. */
import {execFileSync} from 'node:child_process';
import {readFileSync, realpathSync, rmSync, writeFileSync} from 'node:fs';
import {dirname, join, relative} from 'node:path';
import {parametersOf} from '../../postfix/lib/instance.ts';
import type {Sandbox} from '../../postfix/lib/sandbox.ts';

const built = join(dirname(dirname(import.meta.dirname)), 'dist');

/** A complete program in the directory of a sandbox. */
export class ProgramCopy {
	readonly directory: string;

	private constructor(directory: string) {
		this.directory = directory;
	}

	/**
	 * Copies the program, and replaces the service tlsproxy. The sandbox is reloaded if it is running.
	 *
	 * @param serviceArguments - arguments after the options.
	 */
	static async register(sandbox: Sandbox, ...serviceArguments: readonly string[]): Promise<ProgramCopy> {
		const copy = new ProgramCopy(join(sandbox.directory, 'copy'));
		/* Hard links, if the file system is the same: most of the program is the runtime. */
		execFileSync('/bin/sh', [
			'-c',
			'cp -al "$0" "$1" 2>/dev/null || cp -a "$0/." "$1"',
			built,
			copy.directory,
		]);
		const {daemon_directory: daemons} = parametersOf(sandbox.configDirectory, ['daemon_directory']);
		const command = relative(realpathSync(daemons), join(copy.directory, 'tlsproxy'));
		const file = join(sandbox.configDirectory, 'master.cf');
		const service = ['tlsproxy unix - - n - 1', command, '-o max_use=1000', ...serviceArguments].join(' ');
		const others = readFileSync(file, 'utf8').replace(/^tlsproxy\s.*\n(?:\s.*\n)*/m, '');
		writeFileSync(file, `${others}${service}\n`);
		return copy;
	}

	/** Replaces a file; other links to it are not affected. */
	write(name: string, content: Uint8Array | string, mode = 0o755): void {
		this.remove(name);
		writeFileSync(join(this.directory, name), content, {mode});
	}

	read(name: string): Buffer {
		return readFileSync(join(this.directory, name));
	}

	remove(name: string): void {
		rmSync(join(this.directory, name), {force: true});
	}

	/** Restores a file. */
	repair(name: string): void {
		this.remove(name);
		execFileSync('cp', ['-a', join(built, name), join(this.directory, name)]);
	}
}
