/*
 * The command uninstall, as a function of text: the real script, on an instance
 * that is never started.
 */
import {spawnSync} from 'node:child_process';
import {join} from 'node:path';
import {instance} from './instance.ts';

const uninstall = join(import.meta.dirname, '..', '..', 'postfix', 'uninstall');

/** The result of the command. */
export interface Removal {
	readonly status: number | null;
	readonly stdout: string;
	/** Without the name of the temporary directory. */
	readonly stderr: string;
	/** master.cf after it. */
	readonly text: string;
}

/**
 * Runs uninstall.
 *
 * @param text - master.cf.
 * @param args - after the name of the instance.
 * @param main - what main.cf has in addition.
 */
export function uninstalled(text: string, args: readonly string[] = [], main = ''): Removal {
	using it = instance(text, main);
	const {status, stdout, stderr} = spawnSync(uninstall, ['-c', it.directory, ...args], {
		encoding: 'latin1',
		cwd: '/',
	});
	const plain = (output: string) => output.replaceAll(it.directory, 'DIR');
	return {status, stdout: plain(stdout), stderr: plain(stderr), text: it.read()};
}
