/*
 * Who sends the mail: an instance of Postfix that does TLS in one way. It has a
 * transport for each number of streams, and a domain for each receiver, so that
 * nothing has to be configured again between two measurements.
 */
import {truncateSync} from 'node:fs';
import {writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {execa} from 'execa';
import {inject} from '../../../postfix/lib/inject.ts';
import {commandEnvironment} from '../../../postfix/lib/instance.ts';
import {Sandbox, STORED_FOR} from '../../../postfix/lib/sandbox.ts';
import {messages} from '../../helpers/sender-and-sink.ts';

/** How TLS is done. */
export const ways = ['no reuse', 'stock', 'ours'] as const;
export type Way = (typeof ways)[number];

/** How a sender is set up. */
export interface Setup {
	readonly way: Way;
	/** Whether TLS sessions are kept with tlsmgr(8), and resumed. */
	readonly handshakes: 'full' | 'resumed';
	/** Further parameters. */
	readonly main?: Readonly<Record<string, string>> | undefined;
}

/** A receiver, as a sender knows it. */
export interface Destination {
	readonly domain: string;
	readonly port: number;
	/** Deliveries at a time. */
	readonly streams: number;
}

/** A running sender. Disposal ends it. */
export class Sender implements AsyncDisposable {
	readonly sandbox: Sandbox;
	#lastUse = 0;

	private constructor(sandbox: Sandbox) {
		this.sandbox = sandbox;
	}

	/** Whatever is not said here is as it is in Postfix: also when its processes end, and when connections are stored. */
	static async start({way, handshakes, main}: Setup, destinations: readonly Destination[]): Promise<Sender> {
		const streams = [...new Set(destinations.map(destination => destination.streams))];
		await using stack = new AsyncDisposableStack();
		const sandbox = stack.use(
			await Sandbox.create({
				tlsproxy: way === 'ours' ? 'ours' : way === 'stock' ? 'stock' : 'none',
				services: streams.map(count => `smtp${count} unix - - n - - smtp`),
				main: {
					smtp_tls_connection_reuse: way === 'no reuse' ? 'no' : 'yes',
					smtp_tls_security_level: 'encrypt',
					smtp_tls_loglevel: '1',
					/* Mail waits until it is released. */
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

	/** Puts messages into the queue, where they wait. */
	async load({domain}: Destination, count: number): Promise<void> {
		await inject(
			this.sandbox.submissionPort,
			messages(count, index => `u${index}@held.${domain}`),
			10,
		);
	}

	/** Submits messages, so many per second, which are delivered as they come. */
	async submit({domain}: Destination, count: number, pace: number): Promise<void> {
		for (const message of messages(count, index => `u${index}@${domain}`)) {
			await inject(this.sandbox.submissionPort, [message], 1);
			await sleep(1000 / pace);
		}
	}

	/** Notes that there may be connections that are stored. */
	used(): void {
		this.#lastUse = performance.now();
	}

	/** Waits until scache(8) has closed what it has, if that is what it has from Postfix as it comes. */
	async untilNothingIsStored(): Promise<void> {
		await sleep(Math.max(0, this.#lastUse + STORED_FOR - performance.now()));
	}

	/** A run is told from the log of that run; what daemons have still to say of the one before is waited for. */
	async forgetLog(): Promise<void> {
		await sleep(100);
		truncateSync(this.sandbox.logFile);
	}

	/** Lets go all that waits. */
	async release(): Promise<void> {
		await this.#postsuper('-H');
		await this.sandbox.flush();
	}

	/** Removes what was not delivered. */
	async clear(): Promise<void> {
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
