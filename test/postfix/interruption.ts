/*
 * Who interrupts a command that has started Postfix finds nothing of it afterwards:
 * no process, no file.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import test from 'ava';
import {processesOf} from '../../postfix/lib/processes.ts';

const root = join(import.meta.dirname, '..', '..');
const commands: Readonly<Record<string, readonly string[]>> = {
	quickstart: ['postfix/lib/quickstart.ts'],
	compare: [
		'test/bench/compare.ts',
		'--ways',
		'ours',
		'--streams',
		'1',
		'--round-trips',
		'20',
		'--rounds',
		'1',
	],
	bench: ['test/bench/run.ts', '--short', 'handshake'],
};
const moments = {
	'while its Postfix is made': 'main.cf',
	'while its Postfix runs': 'master.pid',
} as const;

/* Asks until there is an answer. A command that has ended will not give one. */
async function until<Value>(look: () => Value | undefined, going: () => boolean): Promise<Value> {
	for (;;) {
		const found = look();
		if (found !== undefined) {
			return found;
		}

		if (!going()) {
			throw new Error('it has ended before that');
		}

		await sleep(5);
	}
}

function sandboxFile(directory: string, name: string): string | undefined {
	return readdirSync(directory, {recursive: true, encoding: 'utf8'}).find(
		path => path.startsWith('postfix-sandbox-') && path.endsWith(`/${name}`),
	);
}

for (const [command, words] of Object.entries(commands)) {
	for (const [moment, file] of Object.entries(moments)) {
		test.serial(`${command}, interrupted ${moment}, leaves nothing behind`, async t => {
			/* Daemons run as the mail owner, and have to get there. */
			const directory = mkdtempSync(join(tmpdir(), 'tlsproxy-interruption-'));
			chmodSync(directory, 0o755);
			t.teardown(() => rmSync(directory, {recursive: true, force: true}));
			const child = spawn(process.execPath, words, {
				cwd: root,
				env: {...process.env, TMPDIR: directory},
				stdio: ['ignore', 'ignore', 'pipe'],
			});
			const ended = once(child, 'exit');
			let said = '';
			child.stderr.on('data', (data: Buffer) => {
				said += data.toString();
			});
			const found = await until(
				() => sandboxFile(directory, file),
				() => child.exitCode === null,
			);
			const master =
				file === 'master.pid' ? Number(readFileSync(join(directory, found), 'utf8').trim()) : undefined;
			if (master !== undefined) {
				t.true(processesOf(master).length > 0);
			}

			child.kill('SIGINT');
			/* A second one changes nothing. */
			child.kill('SIGINT');
			t.deepEqual(await ended, [130, null], said);
			t.regex(said, /: interrupted, removing everything\n/);
			t.deepEqual(readdirSync(directory), []);
			t.deepEqual(master === undefined ? [] : processesOf(master), []);
		});
	}
}
