/*
 * A sandbox and a sink that fit together: smtp(8) of the one delivers to the
 * other through tlsproxy(8).
 */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {type Certificates, makeCertificates} from '../../postfix/lib/certificates.ts';
import {inject, type Outgoing} from '../../postfix/lib/inject.ts';
import {Sandbox, type SandboxOptions} from '../../postfix/lib/sandbox.ts';
import {Sink} from '../../postfix/lib/sink.ts';
import type {SinkOptions} from '../../postfix/lib/sink-messages.ts';

/** Name of the sink, in its certificate too. */
export const SINK_NAME = 'sink.example';

/** A running pair. Disposal stops and removes both. */
export class Pair implements AsyncDisposable {
	readonly sandbox: Sandbox;
	readonly sink: Sink;
	/** CA certificate and the like of the sink. */
	readonly certificates: Certificates;

	private constructor(sandbox: Sandbox, sink: Sink, certificates: Pair['certificates']) {
		this.sandbox = sandbox;
		this.sink = sink;
		this.certificates = certificates;
	}

	/** Starts both, with level encrypt and connection reuse for all mail. */
	static async start(options: SandboxOptions = {}, sinkOptions: Partial<SinkOptions> = {}): Promise<Pair> {
		await using stack = new AsyncDisposableStack();
		const sandbox = stack.use(await Sandbox.create(options));
		const directory = join(sandbox.directory, 'sink');
		mkdirSync(directory, {mode: 0o755});
		const certificates = await makeCertificates(directory, SINK_NAME);
		const sink = stack.use(await Sink.start({hostName: SINK_NAME, tls: certificates, ...sinkOptions}));
		const usual: Readonly<Record<string, string>> = {
			relayhost: `[127.0.0.1]:${sink.port}`,
			smtp_tls_security_level: 'encrypt',
			smtp_tls_connection_reuse: 'yes',
			smtp_tls_loglevel: '1',
			/* Without brackets and port: that is what smtp(8) looks up. */
			smtp_connection_cache_destinations: '127.0.0.1, localhost',
			smtp_connection_cache_time_limit: '10s',
		};
		for (const [name, value] of Object.entries(usual)) {
			if (options.main?.[name] === undefined) {
				await sandbox.postconf(name, value);
			}
		}

		await sandbox.start();
		stack.move();
		return new Pair(sandbox, sink, certificates);
	}

	/** Submits messages and waits until as many have arrived. */
	async deliver(outgoing: readonly Outgoing[], streams: number, limit = 120_000): Promise<boolean> {
		await inject(this.sandbox.submissionPort, outgoing, streams);
		return await this.arrived(outgoing.length, limit);
	}

	/** Waits until that many messages have arrived and nothing is queued. */
	async arrived(count: number, limit = 120_000): Promise<boolean> {
		return await this.sandbox.waitFor(async () => {
			const {encryptedMessages, clearMessages} = await this.sink.counts();
			return encryptedMessages + clearMessages >= count && (await this.sandbox.queue()).length === 0;
		}, limit);
	}

	/** Log lines of tlsproxy, without time, host, tag and process id. */
	async proxyLines(): Promise<readonly string[]> {
		const lines = await this.sandbox.logLines(/postfix\/tlsproxy\[/);
		return lines.map(line => line.replace(/^.*? postfix\/tlsproxy\[\d+\]: /, ''));
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.sink.stop();
		await this.sandbox.stop();
	}
}

/** Messages that can be told apart. */
export function messages(
	count: number,
	to: (index: number) => string = index => `u${index}@reuse.example`,
): Outgoing[] {
	return Array.from({length: count}, (_, index) => ({
		from: 'sender@sandbox.example',
		to: to(index),
		text: `Subject: message ${index}\n\nbody ${index}\n`,
	}));
}
