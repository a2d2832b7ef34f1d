/*
 * A Postfix instance that sends mail in one mode of TLS. It has a transport for each
 * number of streams and a domain for each receiver, so that no configuration changes
 * between two measurements.
 */
import {truncateSync} from 'node:fs';
import {writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {execa} from 'execa';
import {inject} from '../../../postfix/lib/inject.ts';
import {commandEnvironment} from '../../../postfix/lib/instance.ts';
import {Sandbox, STORAGE_TIME} from '../../../postfix/lib/sandbox.ts';
import {messages} from '../../helpers/sender-and-sink.ts';

/** Modes of TLS: without connection reuse, or with reuse by stock tlsproxy(8) or this program. */
export const modes = ['no reuse', 'stock', 'ours'] as const;
export type Mode = (typeof modes)[number];

/** The configuration of a sender. */
export interface SenderOptions {
	readonly mode: Mode;
	/** Whether tlsmgr(8) stores TLS sessions, which are then resumed. */
	readonly handshakes: 'full' | 'resumed';
	/** Further parameters. */
	readonly main?: Readonly<Record<string, string>> | undefined;
}

/** A destination of mail in the configuration of a sender. */
export interface Destination {
	readonly domain: string;
	readonly port: number;
	/** Concurrent deliveries. */
	readonly streams: number;
}

/** A running sender. Disposal ends it. */
export class Sender implements AsyncDisposable {
	readonly sandbox: Sandbox;
	#lastUse = 0;

	private constructor(sandbox: Sandbox) {
		this.sandbox = sandbox;
	}

	/** All other parameters have their defaults, including those that limit processes and stored connections. */
	static async start(
		{mode, handshakes, main}: SenderOptions,
		destinations: readonly Destination[],
	): Promise<Sender> {
		const streams = [...new Set(destinations.map(destination => destination.streams))];
		await using stack = new AsyncDisposableStack();
		const sandbox = stack.use(
			await Sandbox.create({
				tlsproxy: mode === 'ours' ? 'ours' : mode === 'stock' ? 'stock' : 'none',
				services: streams.map(count => `smtp${count} unix - - n - - smtp`),
				main: {
					smtp_tls_connection_reuse: mode === 'no reuse' ? 'no' : 'yes',
					smtp_tls_security_level: 'encrypt',
					smtp_tls_loglevel: '1',
					/* Mail for these recipients waits in the hold queue until release() is called. */
					smtpd_recipient_restrictions: 'check_recipient_access texthash:$config_directory/held',
					transport_maps: 'texthash:$config_directory/transport',
					...Object.fromEntries(
						streams.flatMap(count => [
							[`smtp${count}_destination_concurrency_limit`, String(count)],
							[`smtp${count}_initial_destination_concurrency`, String(count)],
						]),
					),
					...(handshakes === 'resumed'
						? {smtp_tls_session_cache_database: 'btree:$data_directory/smtp_scache'}
						: {}),
					...main,
				},
			}),
		);
		const lines = destinations.map(
			({domain, port, streams: count}) => `${domain} smtp${count}:[127.0.0.1]:${port}\n`,
		);
		const held = destinations.map(({domain}) => `held.${domain} HOLD\n`);
		await writeFile(join(sandbox.configDirectory, 'held'), held.join(''));
		await writeFile(
			join(sandbox.configDirectory, 'transport'),
			[...lines, ...lines.map(line => `held.${line}`)].join(''),
		);
		await sandbox.start();
		stack.move();
		return new Sender(sandbox);
	}

	/** Adds messages to the hold queue. */
	async enqueue({domain}: Destination, count: number): Promise<void> {
		await inject(
			this.sandbox.submissionPort,
			messages(count, index => `u${index}@held.${domain}`),
			10,
		);
	}

	/** Submits messages at a rate per second. They are delivered immediately. */
	async submit({domain}: Destination, count: number, pace: number): Promise<void> {
		for (const message of messages(count, index => `u${index}@${domain}`)) {
			await inject(this.sandbox.submissionPort, [message], 1);
			await sleep(1000 / pace);
		}
	}

	/** Records that scache(8) may store connections from now on. */
	noteConnectionUse(): void {
		this.#lastUse = performance.now();
	}

	/** Waits until scache(8) has closed all connections, which takes as long as its default time limit. */
	async waitUntilNoConnectionIsStored(): Promise<void> {
		await sleep(Math.max(0, this.#lastUse + STORAGE_TIME - performance.now()));
	}

	/** Empties the log for the next delivery, after daemons have logged the end of the previous one. */
	async truncateLog(): Promise<void> {
		await sleep(100);
		truncateSync(this.sandbox.logFile);
	}

	/** Releases all messages from the hold queue, and starts their delivery. */
	async release(): Promise<void> {
		await this.#postsuper('-H');
		await this.sandbox.flush();
	}

	/** Deletes messages that were not delivered. */
	async deleteDeferred(): Promise<void> {
		await this.#postsuper('-d');
	}

	async #postsuper(option: string): Promise<void> {
		await execa('postsuper', ['-c', this.sandbox.configDirectory, option, 'ALL'], {
			env: {...commandEnvironment},
			extendEnv: false,
			stdin: 'ignore',
		});
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.sandbox.stop();
	}
}
