/*++
/* NAME
/*	sink 3
/* SUMMARY
/*	an SMTP server that accepts and counts all mail
/* DESCRIPTION
/*	A Sink starts a process that runs sink-process(1), and exchanges
/*	messages with it. The server listens on 127.0.0.1.
/* DIAGNOSTICS
/*	Error: the server cannot be started, or its process has ended.
/*--*/

import {type ChildProcess, fork} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';
import type {SinkCounts, SinkOptions, SinkReply, SinkReport, SinkRequest} from './sink-messages.ts';

/** The script of the process. It is in the command line, which identifies the process. */
export const SINK_PROGRAM: string = join(import.meta.dirname, 'sink-process.ts');

/** A running SMTP sink. It owns the process; disposal ends it. */
export class Sink implements AsyncDisposable {
	/** TCP port on 127.0.0.1. */
	readonly port: number;
	readonly pid: number;
	readonly #child: ChildProcess;
	readonly #pending = new Map<number, PromiseWithResolvers<SinkCounts | SinkReport | undefined>>();
	#serial = 0;

	private constructor(child: ChildProcess, port: number) {
		this.#child = child;
		this.port = port;
		this.pid = child.pid ?? 0;
		child.on('message', (message: SinkReply) => {
			if (message.name === 'done') {
				this.#pending.get(message.serial)?.resolve(message.result);
				this.#pending.delete(message.serial);
			}
		});
		child.on('exit', () => {
			for (const request of this.#pending.values()) {
				request.reject(new Error('the process of the sink has ended'));
			}

			this.#pending.clear();
		});
	}

	/** Starts a sink. Resolves when it accepts connections. */
	static async start(options: Partial<SinkOptions> = {}): Promise<Sink> {
		/* In a new process group, so that the terminal sends SIGINT to this process only. */
		const child = fork(SINK_PROGRAM, [], {
			execArgv: [],
			detached: true,
			stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
		});
		try {
			const settled: Promise<unknown[]> = Promise.race([
				once(child, 'message'),
				once(child, 'exit').then(([status]) => {
					throw new Error(`the process of the sink ended with status ${String(status)}`);
				}),
			]);
			child.send({
				name: 'start',
				options: {hostName: 'sink.example', port: 0, auth: [], delay: 0, ...options},
			} satisfies SinkRequest);
			const [reply] = (await settled) as [SinkReply];
			if (reply.name !== 'started') {
				throw new Error(`the sink does not listen: ${reply.name === 'failed' ? reply.reason : reply.name}`);
			}

			return new Sink(child, reply.port);
		} catch (reason) {
			child.kill('SIGKILL');
			throw reason;
		}
	}

	/** The counts, without the lists. */
	async counts(): Promise<SinkCounts> {
		return (await this.#request('counts')) as SinkCounts;
	}

	/** The counts, all connections and all messages. */
	async report(): Promise<SinkReport> {
		return (await this.#request('report')) as SinkReport;
	}

	/** Resets the counts and lists. */
	async reset(): Promise<void> {
		await this.#request('reset');
	}

	/** Lets the process continue after the end of this process. The caller must then end it by its process ID. */
	async detach(): Promise<void> {
		await this.#request('detach');
		this.#child.disconnect();
		this.#child.unref();
	}

	/** Ends the process. */
	async stop(): Promise<void> {
		if (this.#child.exitCode === null && this.#child.signalCode === null) {
			const exit = once(this.#child, 'exit');
			this.#child.kill('SIGKILL');
			await exit;
		}
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.stop();
	}

	async #request(
		name: 'counts' | 'report' | 'reset' | 'detach',
	): Promise<SinkCounts | SinkReport | undefined> {
		if (!this.#child.connected) {
			throw new Error('the process of the sink has ended');
		}

		const serial = ++this.#serial;
		const reply = Promise.withResolvers<SinkCounts | SinkReport | undefined>();
		this.#pending.set(serial, reply);
		/* If the process has ended and this process was not notified yet, send() fails. */
		this.#child.send({name, serial} satisfies SinkRequest, error => {
			if (error !== null) {
				this.#pending.delete(serial);
				reply.reject(error);
			}
		});
		return await reply.promise;
	}
}
