/*
 * A minimal master(8): it provides a daemon with the same descriptors and environment, and
 * collects its status reports. It starts a process only at the request of a test.
 *
 * The surrounding instance is that of a Daemon, with postlogd(8) and tlsmgr(8). Hand-offs go
 * to a service that is not in its master.cf.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {readdirSync, readFileSync, readlinkSync} from 'node:fs';
import type {Socket} from 'node:net';
import {dirname, join} from 'node:path';
import type {ExecutionContext} from 'ava';
import {parametersOf} from '../../postfix/lib/instance.ts';
import {commandLine} from '../../postfix/lib/processes.ts';
import type {Fd} from '../../src/base/units.ts';
import {
	AF_UNIX,
	errno,
	SOCK_CLOEXEC,
	SOCK_NONBLOCK,
	SOCK_STREAM,
	socket,
	strerror,
	unixAddress,
} from '../../src/ffi/libc/libc.ts';
import type {LocalClient} from './client.ts';
import {type Daemon, linesUpTo, type Program} from './daemon.ts';
import {bind, Held, listen, referenceOf, socketPair} from './descriptors.ts';

/** A bound, non-blocking socket; a stream socket listens. Node.js would accept connections, and has no other types. */
export function namedSocket(t: ExecutionContext, path: string, type = SOCK_STREAM): Held {
	const held = new Held(t, socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) as Fd);
	const address = unixAddress(path) ?? new Uint8Array();
	if (bind(held.fd, address, address.length) !== 0 || (type === SOCK_STREAM && listen(held.fd, 100) !== 0)) {
		throw new Error(`${path}: ${strerror(errno())}`);
	}

	return held;
}

/** A report on the status channel. */
export interface StatusReport {
	readonly pid: number;
	readonly generation: number;
	readonly state: 'taken' | 'available' | number;
}

/** Size of a report in bytes. Source: postfix src/master/master_proto.h. */
const REPORT_SIZE = 12;
const states = ['taken', 'available'] as const;

/* The instance counts from 1. In octal, as in GENERATION, the number differs from decimal. */
let generations = 0o7012;
let services = 0;

/** Restores signal handling and umask, which Node.js changes, and is replaced by the program. */
const EXEC = 'trap "" PIPE; umask 077; exec "$@"';

/** The wrapper that runs a program with a restriction: see deny.ts. */
export function denying(what: string): readonly string[] {
	return [process.execPath, join(import.meta.dirname, 'deny.ts'), what];
}

/** A wrapper that prepares a mount namespace with a shell command. The working directory is that of the program. */
export function mounting(command: string): readonly string[] {
	return ['unshare', '--mount', '/bin/sh', '-c', `${command} && exec "$@"`, 'sh'];
}

/** The wrapper that runs a program on a host without Perl. */
export const withoutPerl: readonly string[] = mounting('mount --bind /dev/null /usr/bin/perl');

/** A service: its listening socket remains open when its processes end. */
export class Service {
	readonly name = `served${++services}`;
	readonly daemon: Daemon;
	readonly listener: Held;
	readonly #t: ExecutionContext;
	readonly #flow: readonly [Held, Held];
	readonly #program: string;
	readonly #wrapper: readonly string[];

	/**
	 * @param daemon - the instance, with either program.
	 * @param wrapper - runs the program.
	 */
	constructor(t: ExecutionContext, daemon: Daemon, which: Program, wrapper: readonly string[] = []) {
		const {configDirectory, queueDirectory} = daemon.sandbox;
		this.#t = t;
		this.#wrapper = wrapper;
		this.daemon = daemon;
		this.listener = namedSocket(t, join(queueDirectory, 'private', this.name));
		this.#flow = socketPair(t);
		this.#program =
			which === 'ours'
				? join(dirname(dirname(import.meta.dirname)), 'dist', 'tlsproxy')
				: join(parametersOf(configDirectory, ['daemon_directory']).daemon_directory, 'tlsproxy');
	}

	/** Starts a process. It is killed at the end of the test, with its children. */
	start(...options: readonly string[]): StartedProcess {
		return this.startWith({}, ...options);
	}

	/** The same, with additional environment variables, which master(8) would remove. */
	startWith(environment: Readonly<Record<string, string>>, ...options: readonly string[]): StartedProcess {
		const generation = generations++;
		/* Only these processes log with this name. */
		const tag = `postfix-${generation}`;
		const {configDirectory, queueDirectory} = this.daemon.sandbox;
		const standard = `-z -n ${this.name} -t unix -u -o syslog_name=${tag}`.split(' ');
		const [flowRead, flowWrite] = this.#flow;
		const child = spawn(
			'/bin/sh',
			['-c', EXEC, 'sh', ...this.#wrapper, this.#program, ...standard, ...options],
			{
				cwd: queueDirectory,
				env: {
					...environment,
					GENERATION: generation.toString(8),
					LANG: 'C',
					MAIL_CONFIG: configDirectory,
					MAIL_LOGTAG: tag,
					POSTLOG_SERVICE: join(queueDirectory, 'public', 'postlog'),
					POSTLOG_HOSTNAME: 'sandbox.example',
				},
				stdio: ['ignore', 'ignore', 'ignore', flowRead.fd, flowWrite.fd, 'pipe', this.listener.fd],
			},
		);
		const started = new StartedProcess(this.daemon, child, generation, tag);
		this.#t.teardown(() => started.kill());
		return started;
	}

	/** Whether a process still has the listening socket. */
	isListenedOnBy(pid: number): boolean {
		return openFiles(pid).includes(referenceOf(this.listener.fd));
	}

	/** Connects, and waits for the greeting. */
	async greeted(t: ExecutionContext): Promise<LocalClient> {
		return await this.daemon.greeted(t, this.name);
	}

	/** Makes a session with an echo server. */
	async session(t: ExecutionContext, port: number): Promise<LocalClient> {
		const {client, report} = await this.daemon.handOff(t, port, {}, this.name);
		t.truthy(report, 'no session');
		return client;
	}
}

/** A process that was started, its children, reports and log lines. */
export class StartedProcess {
	readonly generation: number;
	/** All complete reports so far. */
	readonly reports: StatusReport[] = [];
	readonly #daemon: Daemon;
	readonly #child: ChildProcess;
	readonly #status: Socket;
	readonly #tag: string;
	#received = Buffer.alloc(0);

	constructor(daemon: Daemon, child: ChildProcess, generation: number, tag: string) {
		this.#daemon = daemon;
		this.#child = child;
		this.generation = generation;
		this.#tag = tag;
		/* The declaration ends with descriptor 4. */
		this.#status = (child.stdio as readonly unknown[])[5] as Socket;
		this.#status.on('error', () => undefined);
		this.#status.on('data', (bytes: Buffer) => this.#collect(bytes));
	}

	/** The process that was started: the supervisor, or stock. */
	get pid(): number {
		return this.#child.pid ?? 0;
	}

	/** The workers: none before the start is complete, or after the end. */
	workers(): readonly number[] {
		return this.#family(
			([program = '', ...rest]) =>
				/(?:^|\/)tlsproxy$/.test(program) || rest.some(arg => arg.endsWith('/lib/main.js')),
		);
	}

	/** The worker. @throws unless there is exactly one. */
	get worker(): number {
		const [worker, ...others] = this.workers();
		if (worker === undefined || others.length > 0) {
			throw new Error(`${worker === undefined ? 0 : 1 + others.length} workers`);
		}

		return worker;
	}

	/** Whether the started process is running. */
	get lives(): boolean {
		return this.#child.exitCode === null && this.#child.signalCode === null;
	}

	/** Waits for the end of the started process. Returns its status, or the signal. */
	async end(milliseconds?: number): Promise<number | string | null> {
		if (!(await this.#daemon.sandbox.waitFor(() => !this.lives, milliseconds))) {
			throw new Error(`process ${this.pid} is still running: ${(await this.lines()).join('\n')}`);
		}

		return this.#child.exitCode ?? this.#child.signalCode;
	}

	/** Waits until the process and its children have ended; false on timeout. */
	async gone(milliseconds?: number): Promise<boolean> {
		return await this.#daemon.sandbox.waitFor(() => this.#family().length === 0, milliseconds);
	}

	/** Closes the status channel, as at a reload. */
	closeStatus(): void {
		this.#status.destroy();
	}

	/** Its log lines, without time, host and process ID. */
	async lines(): Promise<readonly string[]> {
		const head = `${this.#tag}/tlsproxy`;
		return (await this.#daemon.sandbox.logLines())
			.filter(line => line.includes(` ${head}[`))
			.map(line => line.replace(/^.*? \S+\[\d+\]: /, ''));
	}

	/** Waits for a log line: lines are logged after the event. */
	async linesUpTo(wanted: string | RegExp): Promise<readonly string[]> {
		return await linesUpTo(this.#daemon.sandbox, wanted, async () => await this.lines());
	}

	/** Kills all remaining processes. */
	kill(): void {
		this.#status.destroy();
		for (const pid of this.#family()) {
			try {
				process.kill(pid, 'SIGKILL');
			} catch {
				/* It has ended already. */
			}
		}
	}

	#collect(bytes: Buffer): void {
		this.#received = Buffer.concat([this.#received, bytes]);
		for (; this.#received.length >= REPORT_SIZE; this.#received = this.#received.subarray(REPORT_SIZE)) {
			const state = this.#received.readInt32LE(8);
			this.reports.push({
				pid: this.#received.readInt32LE(0),
				generation: this.#received.readUInt32LE(4),
				state: states[state] ?? state,
			});
		}
	}

	/* Supervisors, workers and forked processes have only their environment in common. */
	#family(wanted: (args: readonly string[]) => boolean = () => true): readonly number[] {
		const marks = [
			`GENERATION=${this.generation.toString(8)}`,
			`MAIL_CONFIG=${this.#daemon.sandbox.configDirectory}`,
		];
		return readdirSync('/proc')
			.filter(name => /^\d+$/.test(name))
			.map(Number)
			.filter(pid => {
				try {
					const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
					return marks.every(mark => environment.includes(mark)) && wanted(commandLine(pid));
				} catch {
					/* It has ended in the meantime. */
					return false;
				}
			});
	}
}

/** The files of the open descriptors of a process. */
export function openFiles(pid: number): readonly string[] {
	return readdirSync(`/proc/${pid}/fd`).flatMap(fd => {
		try {
			return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
		} catch {
			/* It was closed in the meantime. */
			return [];
		}
	});
}

/** Sends a message. Returns whether it is echoed. */
export async function echoes(client: LocalClient, message = 'still there?'): Promise<boolean> {
	await client.send(message);
	return String(await client.bytes(message.length)) === message;
}

/** Ends a session, and waits until the daemon has closed it. */
export async function endSession(client: LocalClient): Promise<void> {
	client.socket.end();
	await client.rest();
}
