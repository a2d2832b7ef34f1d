/* A command that has started Postfix leaves no process and no file if it is interrupted. */
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
		'--modes',
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
	'while it configures Postfix': 'main.cf',
	'while its Postfix runs': 'master.pid',
} as const;

/* Polls for a value, until the command has ended. */
async function until<Value>(look: () => Value | undefined, runs: () => boolean): Promise<Value> {
	for (;;) {
		const found = look();
		if (found !== undefined) {
			return found;
		}

		if (!runs()) {
			throw new Error('the command has ended');
		}

		await sleep(5);
	}
}

/* The content of a file of the sandbox; undefined if it does not exist or is empty. */
function textOf(directory: string, name: string): string | undefined {
	const found = readdirSync(directory, {recursive: true, encoding: 'utf8'}).find(
		path => path.startsWith('postfix-sandbox-') && path.endsWith(`/${name}`),
	);
	const text = found === undefined ? '' : readFileSync(join(directory, found), 'utf8').trim();
	return text === '' ? undefined : text;
}

for (const [command, args] of Object.entries(commands)) {
	for (const [moment, file] of Object.entries(moments)) {
		test.serial(`${command}, interrupted ${moment}, leaves no process and no file`, async t => {
			/* Daemons run as the mail owner, and need access to the directory. */
			const directory = mkdtempSync(join(tmpdir(), 'tlsproxy-interruption-'));
			chmodSync(directory, 0o755);
			t.teardown(() => rmSync(directory, {recursive: true, force: true}));
			const child = spawn(process.execPath, args, {
				cwd: root,
				env: {...process.env, TMPDIR: directory},
				stdio: ['ignore', 'ignore', 'pipe'],
			});
			const ended = once(child, 'exit');
			let output = '';
			child.stderr.on('data', (data: Buffer) => {
				output += data.toString();
			});
			/* master(8) creates its lock file before it writes the process ID. */
			const content = await until(
				() => textOf(directory, file),
				() => child.exitCode === null,
			);
			const master = file === 'master.pid' ? Number(content) : undefined;
			if (master !== undefined) {
				t.true(processesOf(master).length > 0);
			}

			child.kill('SIGINT');
			/* A second one changes nothing. */
			child.kill('SIGINT');
			t.deepEqual(await ended, [130, null], output);
			t.regex(output, /: interrupted, removing everything\n/);
			t.deepEqual(readdirSync(directory), []);
			t.deepEqual(master === undefined ? [] : processesOf(master), []);
		});
	}
}
