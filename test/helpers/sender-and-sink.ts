/* A sandbox whose smtp(8) delivers to a sink through tlsproxy(8). */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {type Certificates, makeCertificates} from '../../postfix/lib/certificates.ts';
import {inject, type Outgoing} from '../../postfix/lib/inject.ts';
import {Sandbox, type SandboxOptions} from '../../postfix/lib/sandbox.ts';
import {Sink} from '../../postfix/lib/sink.ts';
import type {SinkOptions} from '../../postfix/lib/sink-messages.ts';
import {programLines} from './daemon.ts';

/** Host name of the sink, also in its certificate. */
export const SINK_NAME = 'sink.example';

/** A running sandbox and its sink. Disposal stops and removes both. */
export class SenderAndSink implements AsyncDisposable {
	readonly sandbox: Sandbox;
	readonly sink: Sink;
	/** Certificate and CA certificate of the sink. */
	readonly certificates: Certificates;

	private constructor(sandbox: Sandbox, sink: Sink, certificates: SenderAndSink['certificates']) {
		this.sandbox = sandbox;
		this.sink = sink;
		this.certificates = certificates;
	}

	/** Starts both. All mail is sent at level encrypt, over reused connections. */
	static async start(
		options: SandboxOptions = {},
		sinkOptions: Partial<SinkOptions> = {},
	): Promise<SenderAndSink> {
		await using stack = new AsyncDisposableStack();
		const sandbox = stack.use(await Sandbox.create(options));
		const directory = join(sandbox.directory, 'sink');
		mkdirSync(directory, {mode: 0o755});
		const certificates = await makeCertificates(directory, SINK_NAME);
		const sink = stack.use(await Sink.start({hostName: SINK_NAME, tls: certificates, ...sinkOptions}));
		const defaults: Readonly<Record<string, string>> = {
			relayhost: `[127.0.0.1]:${sink.port}`,
			smtp_tls_security_level: 'encrypt',
			smtp_tls_connection_reuse: 'yes',
			smtp_tls_loglevel: '1',
			/* smtp(8) looks up the destination without brackets and port. */
			smtp_connection_cache_destinations: '127.0.0.1, localhost',
			smtp_connection_cache_time_limit: '10s',
		};
		for (const [name, value] of Object.entries(defaults)) {
			if (options.main?.[name] === undefined) {
				await sandbox.postconf(name, value);
			}
		}

		await sandbox.start();
		stack.move();
		return new SenderAndSink(sandbox, sink, certificates);
	}

	/** Submits messages and waits until all of them have arrived. */
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

	/** The log lines of tlsproxy(8), without time, host and process ID. */
	async proxyLines(): Promise<readonly string[]> {
		return await programLines(this.sandbox, 'tlsproxy');
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.sink.stop();
		await this.sandbox.stop();
	}
}

/** Submits messages. Waits until smtp(8) has logged the result of each, and returns the results, without times. */
export async function deliveryResults(
	sandbox: Sandbox,
	outgoing: readonly Outgoing[],
): Promise<readonly string[]> {
	await inject(sandbox.submissionPort, outgoing, 2);
	const result = /postfix\/smtp\[\d+\]: \w+: to=<u@(\S+)>.* (dsn=.*)$/;
	if (!(await sandbox.waitFor(async () => (await sandbox.logLines(result)).length === outgoing.length))) {
		throw new Error(await sandbox.log());
	}

	return (await sandbox.logLines(result)).map(line => result.exec(line)?.slice(1).join(' ') ?? '');
}

/** Different messages. */
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
