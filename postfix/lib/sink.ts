/*++
/* NAME
/*	sink 3
/* SUMMARY
/*	an SMTP server that accepts all mail and counts
/* DESCRIPTION
/*	A Sink is the owner's side of a process that sink-process.ts
/*	describes. It listens on loopback.
/* DIAGNOSTICS
/*	Error: the server could not be started, or its process has gone.
/*--*/

import {type ChildProcess, fork} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';
import type {SinkCounts, SinkOptions, SinkReply, SinkReport, SinkRequest} from './sink-messages.ts';

/** File that the process runs; with it, a process can be told from another one of the same number. */
export const SINK_PROGRAM: string = join(import.meta.dirname, 'sink-process.ts');

/** A running SMTP sink. Disposal ends it. */
export class Sink implements AsyncDisposable {
	/** TCP port on 127.0.0.1. */
	readonly port: number;
	readonly pid: number;
	readonly #child: ChildProcess;
	readonly #waiting = new Map<number, PromiseWithResolvers<SinkCounts | SinkReport | undefined>>();
	#serial = 0;

	private constructor(child: ChildProcess, port: number) {
		this.#child = child;
		this.port = port;
		this.pid = child.pid ?? 0;
		child.on('message', (message: SinkReply) => {
			if (message.name === 'done') {
				this.#waiting.get(message.serial)?.resolve(message.result);
				this.#waiting.delete(message.serial);
			}
		});
		child.on('exit', () => {
			for (const waiter of this.#waiting.values()) {
				waiter.reject(new Error('the process of the sink has gone'));
			}

			this.#waiting.clear();
		});
	}

	/** Starts a sink; it accepts connections when this is done. */
	static async start(options: Partial<SinkOptions> = {}): Promise<Sink> {
		/* A process group of its own: what a terminal sends to ours is for us to act on. */
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

	/** The numbers alone; cheap. */
	async counts(): Promise<SinkCounts> {
		return (await this.#ask('counts')) as SinkCounts;
	}

	/** The numbers, every connection and every message. */
	async report(): Promise<SinkReport> {
		return (await this.#ask('report')) as SinkReport;
	}

	/** Forgets all that was seen. */
	async reset(): Promise<void> {
		await this.#ask('reset');
	}

	/** Lets the process live on when this one ends. It must be ended by its number then. */
	async detach(): Promise<void> {
		await this.#ask('detach');
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

	async #ask(name: 'counts' | 'report' | 'reset' | 'detach'): Promise<SinkCounts | SinkReport | undefined> {
		if (!this.#child.connected) {
			throw new Error('the process of the sink has gone');
		}

		const serial = ++this.#serial;
		const answer = Promise.withResolvers<SinkCounts | SinkReport | undefined>();
		this.#waiting.set(serial, answer);
		/* Between its end and our learning of it, it is the call that fails. */
		this.#child.send({name, serial} satisfies SinkRequest, error => {
			if (error !== null) {
				this.#waiting.delete(serial);
				answer.reject(error);
			}
		});
		return await answer.promise;
	}
}
