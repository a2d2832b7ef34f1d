/*++
/* NAME
/*	quickstart 1
/* SUMMARY
/*	compare delivery with and without connection reuse
/* SYNOPSIS
/*	quickstart [--keep] [--stock]
/*	quickstart --stop directory
/* DESCRIPTION
/*	Starts a private Postfix whose smtp(8) uses this tlsproxy(8) at
/*	level "encrypt", and a mail server, both on loopback. Postfix
/*	delivers 200 messages in 20 parallel streams, first with
/*	smtp_tls_connection_reuse, then without. The command prints a table
/*	of the results, and removes everything that it started, even if it
/*	is interrupted.
/* .IP \fB--keep\fR
/*	Leave Postfix and the server running, and print how to examine
/*	them.
/* .IP \fB--stock\fR
/*	Use the tlsproxy(8) that comes with Postfix, for comparison.
/* .IP "\fB--stop \fIdirectory\fR"
/*	Stop and remove the processes and files of an earlier --keep.
/* DIAGNOSTICS
/*	Exit status 0: all messages were delivered over TLS.
/*--*/

import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join, resolve} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {parseArgs} from 'node:util';
import {makeCertificates} from './certificates.ts';
import {checkUsage, requireRoot, runCommand} from './command-line.ts';
import {inject, type Outgoing} from './inject.ts';
import {removeOnSignal} from './interruption.ts';
import {commandLine} from './processes.ts';
import {Sandbox, STORAGE_TIME} from './sandbox.ts';
import {SINK_PROGRAM, Sink} from './sink.ts';

const MESSAGES = 200;
const STREAMS = 20;
const HOST = 'sink.example';

/** The measurement ends if no message arrives for this time, in milliseconds. */
const STALL_TIMEOUT = 30_000;

const USAGE = 'usage: quickstart [--keep] [--stock]\n       quickstart --stop directory';

interface Measurement {
	readonly delivered: number;
	readonly encrypted: number;
	readonly connections: number;
	/** Messages per second, from the first submission to the last arrival. */
	readonly rate: number;
}

await runCommand('quickstart', async () => {
	const {keep, stock, stop, help} = options();
	if (help) {
		console.log(USAGE);
		return;
	}

	requireRoot('it starts a private Postfix, and master(8) starts daemons that run as another user');
	if (stop !== undefined) {
		await stopSandbox(resolve(stop));
		return;
	}

	await demonstrate(keep, stock);
});

function options(): {
	readonly keep: boolean;
	readonly stock: boolean;
	readonly help: boolean;
	readonly stop: string | undefined;
} {
	return checkUsage(USAGE, () => {
		const {values} = parseArgs({
			options: {
				keep: {type: 'boolean', default: false},
				stock: {type: 'boolean', default: false},
				help: {type: 'boolean', default: false},
				stop: {type: 'string'},
			},
		});
		return {keep: values.keep, stock: values.stock, help: values.help, stop: values.stop};
	});
}

async function demonstrate(keep: boolean, stock: boolean): Promise<void> {
	await using stack = new AsyncDisposableStack();
	const interrupted = removeOnSignal('quickstart', () => stack.disposeAsync());
	try {
		await compare(stack, keep, stock);
	} catch (reason) {
		await interrupted();
		throw reason;
	}
}

async function compare(stack: AsyncDisposableStack, keep: boolean, stock: boolean): Promise<void> {
	const sandbox = await acquire(stack, () =>
		Sandbox.create({tlsproxy: stock ? 'stock' : 'ours', chroot: 'y'}),
	);
	console.log(`quickstart: private Postfix in ${sandbox.directory}`);
	const certificates = join(sandbox.directory, 'sink');
	mkdirSync(certificates, {mode: 0o700});
	const tls = await makeCertificates(certificates, HOST);
	const sink = await acquire(stack, () => Sink.start({hostName: HOST, tls}));
	await configure(sandbox, sink.port);
	await sandbox.start();

	const reused = await measure(sandbox, sink, 'with connection reuse   ');
	await sandbox.postconf('smtp_tls_connection_reuse', 'no');
	await sandbox.reload();
	/* Otherwise the first of these messages could use stored connections of the previous measurement. */
	await sleep(STORAGE_TIME);
	await sink.reset();
	const single = await measure(sandbox, sink, 'without connection reuse');

	console.log(table(stock, reused, single));
	const failed = [reused, single].some(
		({encrypted, delivered}) => encrypted !== MESSAGES || delivered !== MESSAGES,
	);
	if (keep) {
		await sandbox.postconf('smtp_tls_connection_reuse', 'yes');
		await sandbox.reload();
		writeFileSync(join(sandbox.directory, 'sink', 'pid'), String(sink.pid));
		await sink.detach();
		stack.move();
		console.log(instructions(sandbox));
	} else if (failed) {
		console.error(await failureSummary(sandbox));
	}

	if (failed) {
		throw new Error('not all messages were delivered encrypted');
	}
}

/* An object that is still being created during the removal is removed as soon as it exists. */
async function acquire<T extends AsyncDisposable>(
	stack: AsyncDisposableStack,
	make: () => Promise<T>,
): Promise<T> {
	if (stack.disposed) {
		throw new Error('interrupted');
	}

	const making = make();
	stack.defer(async () => {
		const made = await making.catch(() => undefined);
		await made?.[Symbol.asyncDispose]();
	});
	const made = await making;
	if (stack.disposed) {
		throw new Error('interrupted');
	}

	return made;
}

/*
 * A connection is stored after each delivery, and at most STREAMS deliveries run at the same time. The number
 * of connections is therefore about STREAMS; a few more are possible.
 */
async function configure(sandbox: Sandbox, port: number): Promise<void> {
	const nextHop = `[127.0.0.1]:${port}`;
	const parameters: Readonly<Record<string, string>> = {
		relayhost: nextHop,
		smtp_tls_security_level: 'encrypt',
		smtp_tls_connection_reuse: 'yes',
		smtp_tls_loglevel: '1',
		/* smtp(8) looks for the host without brackets and port. */
		smtp_connection_cache_destinations: '127.0.0.1',
		smtp_destination_concurrency_limit: String(STREAMS),
	};
	for (const [name, value] of Object.entries(parameters)) {
		await sandbox.postconf(name, value);
	}
}

async function measure(sandbox: Sandbox, sink: Sink, label: string): Promise<Measurement> {
	const progress = progressLine(label);
	const started = Date.now();
	let submitted = 0;
	const submission = inject(sandbox.submissionPort, messages(), STREAMS, () => {
		submitted++;
	});
	/* Awaited below. Until then, a failure must not be an unhandled rejection. */
	submission.catch(() => undefined);

	let delivered = 0;
	let lastChange = Date.now();
	await sandbox.waitFor(async () => {
		const counts = await sink.counts();
		const now = counts.encryptedMessages + counts.clearMessages;
		if (now !== delivered) {
			delivered = now;
			lastChange = Date.now();
		}

		progress(`${submitted} submitted, ${delivered} delivered, ${counts.handshakes} TLS connections`);
		return delivered >= MESSAGES || Date.now() - lastChange > STALL_TIMEOUT;
	}, Infinity);
	await submission;
	progress(undefined);

	/* Recipients are counted, so that a message that arrives twice does not hide a lost one. */
	const report = await sink.report();
	const arrived = report.messages.toSorted((a, b) => a.arrived - b.arrived).at(-1)?.arrived ?? Infinity;
	return {
		delivered: new Set(report.messages.flatMap(({to}) => to)).size,
		encrypted:
			new Set(report.messages.filter(({encrypted}) => encrypted).flatMap(({to}) => to)).size -
			report.clearMessages,
		connections: report.handshakes,
		rate: delivered / ((arrived - started) / 1000),
	};
}

function* messages(): Generator<Outgoing> {
	for (let number = 1; number <= MESSAGES; number++) {
		yield {
			from: 'sender@sandbox.example',
			to: `recipient${number}@${HOST}`,
			text: `From: sender@sandbox.example\nTo: recipient${number}@${HOST}\nSubject: message ${number}\n\n${'All work and no play. '.repeat(3)}\n`,
		};
	}
}

/* On a terminal, one line that is updated; otherwise one line per quarter of the messages. */
function progressLine(label: string): (text: string | undefined) => void {
	let last = '';
	let quarter = -1;
	return text => {
		if (text === undefined) {
			process.stdout.write(process.stdout.isTTY ? `\r${last}\n` : `${last}\n`);
			return;
		}

		last = `${label}: ${text}`;
		if (process.stdout.isTTY) {
			process.stdout.write(`\r${last}\u001b[K`);
			return;
		}

		const delivered = Number(/(\d+) delivered/.exec(text)?.[1] ?? 0);
		const reached = Math.floor((delivered * 4) / MESSAGES);
		if (reached > quarter && reached < 4) {
			quarter = reached;
			console.log(last);
		}
	};
}

function table(stock: boolean, reused: Measurement, single: Measurement): string {
	const rows: ReadonlyArray<readonly [string, (measurement: Measurement) => string]> = [
		['messages delivered', ({delivered}) => `${delivered} of ${MESSAGES}`],
		['of these, encrypted', ({encrypted}) => String(encrypted)],
		['TLS connections made', ({connections}) => String(connections)],
		['handshakes saved', ({delivered, connections}) => String(Math.max(0, delivered - connections))],
		['messages per second', ({rate}) => rate.toFixed(1)],
	];
	return [
		'',
		line(stock ? 'stock tlsproxy(8)' : 'this tlsproxy(8)', 'with reuse', 'without reuse'),
		'-'.repeat(62),
		...rows.map(([name, value]) => line(name, value(reused), value(single))),
		'',
	].join('\n');
}

function line(name: string, left: string, right: string): string {
	return `${name.padEnd(30)}${left.padStart(14)}${right.padStart(18)}`;
}

function instructions(sandbox: Sandbox): string {
	const {directory, configDirectory, logFile, submissionPort} = sandbox;
	return [
		`The sandbox keeps running in ${directory}. To examine it:`,
		`  tail -f ${logFile}`,
		`  postconf -c ${configDirectory} -n`,
		`  postqueue -c ${configDirectory} -p`,
		`  submit mail by SMTP on 127.0.0.1, port ${submissionPort}`,
		'To stop and remove it:',
		`  ${join(import.meta.dirname, '..', 'quickstart')} --stop ${directory}`,
	].join('\n');
}

async function failureSummary(sandbox: Sandbox): Promise<string> {
	const lines = await sandbox.logLines(/warning:|fatal:|panic:|status=(deferred|bounced)/);
	return [
		`quickstart: ${(await sandbox.queue()).length} messages still queued; from the log:`,
		...lines.slice(-20),
	].join('\n');
}

async function stopSandbox(directory: string): Promise<void> {
	const sandbox = Sandbox.attach(directory);
	try {
		const pid = Number(readFileSync(join(directory, 'sink', 'pid'), 'utf8'));
		if (commandLine(pid).includes(SINK_PROGRAM)) {
			process.kill(pid, 'SIGKILL');
		}
	} catch (reason) {
		/* The server has ended, or was never started. */
		if (!['ENOENT', 'ESRCH'].includes((reason as NodeJS.ErrnoException).code ?? '')) {
			throw reason;
		}
	}

	await sandbox.stop();
	console.log(`quickstart: stopped and removed ${directory}`);
}
