/*
 * Runs the command uninstall on an instance that is never started, as a function of the
 * text of master.cf.
 */
import {spawnSync} from 'node:child_process';
import {join} from 'node:path';
import {instance} from './instance.ts';

const uninstall = join(import.meta.dirname, '..', '..', 'postfix', 'uninstall');

/** The result of the command. */
export interface Removal {
	readonly status: number | null;
	readonly stdout: string;
	/** With the temporary directory replaced by DIR, as in stdout. */
	readonly stderr: string;
	/** The text of master.cf after the command. */
	readonly text: string;
}

/**
 * Runs uninstall.
 *
 * @param text - the text of master.cf.
 * @param args - arguments after the configuration directory.
 * @param main - additional lines of main.cf.
 */
export function runUninstall(text: string, args: readonly string[] = [], main = ''): Removal {
	using subject = instance(text, main);
	const {status, stdout, stderr} = spawnSync(uninstall, ['-c', subject.directory, ...args], {
		encoding: 'latin1',
		cwd: '/',
	});
	const plain = (output: string) => output.replaceAll(subject.directory, 'DIR');
	return {status, stdout: plain(stdout), stderr: plain(stderr), text: subject.read()};
}
