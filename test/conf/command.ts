/* Commands of Postfix that a process runs while it starts. */
import {spawn} from 'node:child_process';
import {existsSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {text} from 'node:stream/consumers';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {pause} from '../helpers/pause.ts';

const module = join(import.meta.dirname, '..', '..', 'src', 'conf', 'command.ts');

/** A process that runs a command and prints its result. */
interface Running {
	readonly pid: number;
	readonly output: Promise<string>;
}

/* The command has started when this returns. */
async function running(t: ExecutionContext, command: string): Promise<Running> {
	const directory = mkdtempSync(join(tmpdir(), 'command-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	const started = join(directory, 'started');
	const script = `
		import {commandLines} from ${JSON.stringify(module)};
		const lines = commandLines('/bin/sh', ['-c', '>"$0"; ${command}', ${JSON.stringify(started)}]);
		console.log(await lines.then(String, reason => reason.message));`;
	const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
		stdio: ['ignore', 'pipe', 'inherit'],
	});
	t.teardown(() => child.kill('SIGKILL'));
	const output = text(child.stdout);
	while (!existsSync(started) && child.exitCode === null) {
		await delay(20);
	}

	return {pid: child.pid ?? 0, output};
}

test('a command that does not answer is ended in time', async t => {
	const {output} = await running(t, 'exec sleep 100');
	t.is(await output, '/bin/sh: no answer within 10 seconds\n');
});

test('a pause does not count: the command that goes on meanwhile may answer afterwards', async t => {
	const {pid, output} = await running(t, 'sleep 14; echo answer');
	await pause([pid], 12_000);
	t.is(await output, 'answer\n');
});
