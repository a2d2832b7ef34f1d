/*
 * A minimal master(8): what a daemon gets from the real one, and what that hears
 * of it. It starts a process when a test says so and never otherwise, and it does
 * not wait for anybody.
 *
 * The instance around it is that of a Daemon: postlogd(8) and tlsmgr(8) are there,
 * and hand-offs go to a service that the instance itself knows nothing of.
 */
import {type ChildProcess, spawn} from 'node:child_process';
import {readdirSync, readFileSync, readlinkSync} from 'node:fs';
import type {Socket} from 'node:net';
import {dirname, join} from 'node:path';
import type {ExecutionContext} from 'ava';
import koffi from 'koffi';
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
import {type Daemon, linesUpTo, type Which} from './daemon.ts';
import {Held, referenceOf, socketPair} from './descriptors.ts';

/* The program itself only ever connects. */
const libc = koffi.load('libc.so.6');
const bind: (fd: Fd, address: Uint8Array, size: number) => number = libc.func(
	'int bind(int fd, const void *addr, unsigned int addrlen)',
);
const listen: (fd: Fd, backlog: number) => number = libc.func('int listen(int fd, int backlog)');

/** A socket with a name, non-blocking; a stream socket listens. Node.js would accept, or has no such type. */
export function namedSocket(t: ExecutionContext, path: string, type = SOCK_STREAM): Held {
	const held = new Held(t, socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) as Fd);
	const address = unixAddress(path) ?? new Uint8Array();
	if (bind(held.fd, address, address.length) !== 0 || (type === SOCK_STREAM && listen(held.fd, 100) !== 0)) {
		throw new Error(`${path}: ${strerror(errno())}`);
	}

	return held;
}

/** What a process says on the status channel. */
export interface StatusReport {
	readonly pid: number;
	readonly generation: number;
	readonly state: 'taken' | 'available' | number;
}

/** Bytes of a report. Source: postfix src/master/master_proto.h. */
const REPORT_SIZE = 12;
const states = ['taken', 'available'] as const;

/*
 * Far from those of the instance, which begin with 1, and with an octal digit
 * that differs from its decimal one.
 */
let generations = 0o7012;
let services = 0;

/** Sets what Node.js resets, and does not show up any more. */
const BECOME = 'trap "" PIPE; umask 077; exec "$@"';

/** What starts a program on a host that lacks or denies something: see deny.ts. */
export function denying(what: string): readonly string[] {
	return [process.execPath, join(import.meta.dirname, 'deny.ts'), what];
}

/** A service: a socket that is listened on, whatever becomes of the processes that serve it. */
export class Service {
	readonly name = `served${++services}`;
	readonly daemon: Daemon;
	readonly listener: Held;
	readonly #t: ExecutionContext;
	readonly #flow: readonly [Held, Held];
	readonly #program: string;
	readonly #wrapper: readonly string[];

	/**
	 * @param daemon - the instance; which program that one has does not matter.
	 * @param wrapper - what starts the program.
	 */
	constructor(t: ExecutionContext, daemon: Daemon, which: Which, wrapper: readonly string[] = []) {
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

	/** Starts a process. It is gone, with all that it has started, when the test ends. */
	start(...options: readonly string[]): Started {
		return this.startWith({}, ...options);
	}

	/** The same, with more in its environment than master(8) lets through. */
	startWith(environment: Readonly<Record<string, string>>, ...options: readonly string[]): Started {
		const generation = generations++;
		/* All that these processes log, and nobody else, is under this name. */
		const tag = `postfix-${generation}`;
		const {configDirectory, queueDirectory} = this.daemon.sandbox;
		const own = `-z -n ${this.name} -t unix -u -o syslog_name=${tag}`.split(' ');
		const [flowRead, flowWrite] = this.#flow;
		const child = spawn(
			'/bin/sh',
			['-c', BECOME, 'sh', ...this.#wrapper, this.#program, ...own, ...options],
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
		const started = new Started(this.daemon, child, generation, tag);
		this.#t.teardown(() => started.kill());
		return started;
	}

	/** Whether a process could still accept. */
	isListenedOnBy(pid: number): boolean {
		return openFiles(pid).includes(referenceOf(this.listener.fd));
	}

	/** Connects, and waits until a process greets. */
	async greeted(t: ExecutionContext): Promise<LocalClient> {
		return await this.daemon.greeted(t, this.name);
	}

	/** Hands off a connection to a server that sends back what it gets. */
	async session(t: ExecutionContext, port: number): Promise<LocalClient> {
		const {client, report} = await this.daemon.handOff(t, port, {}, this.name);
		t.truthy(report, 'no session');
		return client;
	}
}

/** A process that master(8) has started, and what came of it. */
export class Started {
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

	/** The process that master(8) knows. */
	get pid(): number {
		return this.#child.pid ?? 0;
	}

	/** The processes that serve: one; none before it has come that far, or when it has ended. */
	workers(): readonly number[] {
		return this.#family(
			([program = '', ...rest]) =>
				program.endsWith('/tlsproxy') || rest.some(word => word.endsWith('/lib/main.js')),
		);
	}

	/** The process that serves. */
	get worker(): number {
		const [worker, ...others] = this.workers();
		if (worker === undefined || others.length > 0) {
			throw new Error(`${1 + others.length} processes, or none`);
		}

		return worker;
	}

	/** Whether the process that master(8) knows has not ended. */
	get lives(): boolean {
		return this.#child.exitCode === null && this.#child.signalCode === null;
	}

	/** Waits for the end of the process that master(8) knows: its status, or the signal. */
	async end(milliseconds?: number): Promise<number | string | null> {
		if (!(await this.#daemon.sandbox.waitFor(() => !this.lives, milliseconds))) {
			throw new Error(`process ${this.pid} goes on: ${(await this.lines()).join('\n')}`);
		}

		return this.#child.exitCode ?? this.#child.signalCode;
	}

	/** Whether all that this process has started has ended, in time. */
	async gone(milliseconds?: number): Promise<boolean> {
		return await this.#daemon.sandbox.waitFor(() => this.#family().length === 0, milliseconds);
	}

	/** Has the process read the end of the status channel, as at a reload. */
	closeStatus(): void {
		this.#status.destroy();
	}

	/** What it has logged, without time, host and process id. */
	async lines(): Promise<readonly string[]> {
		const head = `${this.#tag}/tlsproxy`;
		return (await this.#daemon.sandbox.logLines())
			.filter(line => line.includes(` ${head}[`))
			.map(line => line.replace(/^.*? \S+\[\d+\]: /, ''));
	}

	/** The same, as soon as there is a wanted one: lines come later than what they are about. */
	async linesUpTo(wanted: string | RegExp): Promise<readonly string[]> {
		return await linesUpTo(this.#daemon.sandbox, wanted, async () => await this.lines());
	}

	/** Ends whatever is left. */
	kill(): void {
		this.#status.destroy();
		for (const pid of this.#family()) {
			try {
				process.kill(pid, 'SIGKILL');
			} catch {
				/* It was faster. */
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

	/* Supervisors, workers and forks have nothing in common but their environment. */
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
					/* It has ended while we looked. */
					return false;
				}
			});
	}
}

/** What the descriptors of a process refer to. */
export function openFiles(pid: number): readonly string[] {
	return readdirSync(`/proc/${pid}/fd`).flatMap(fd => {
		try {
			return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
		} catch {
			/* It was closed while we looked. */
			return [];
		}
	});
}

/** Whether a message comes back. */
export async function speaks(client: LocalClient, message = 'still there?'): Promise<boolean> {
	await client.send(message);
	return String(await client.bytes(message.length)) === message;
}

/** Ends a session, and waits until the daemon has too. */
export async function finish(client: LocalClient): Promise<void> {
	client.socket.end();
	await client.rest();
}
