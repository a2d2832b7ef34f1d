/*
 * The receiver of mail: a sink, with a relay in front of it if data are delayed.
 */
import type {Certificates} from '../../../postfix/lib/certificates.ts';
import {freePort} from '../../../postfix/lib/sandbox.ts';
import {Sink} from '../../../postfix/lib/sink.ts';
import type {TlsVersion} from '../../../postfix/lib/sink-messages.ts';
import {SINK_NAME} from '../../helpers/sender-and-sink.ts';
import {cpuSeconds} from './process.ts';
import {startRelay} from './relay.ts';

/** The configuration of a receiver. */
export interface ReceiverOptions {
	readonly tls: TlsVersion;
	/** Round-trip time in milliseconds. Zero: no relay. */
	readonly roundTrip: number;
	/** Number of concurrent connections that the receiver accepts. */
	readonly maxConnections?: number | undefined;
}

/** A running receiver. Disposal ends it. */
export class Receiver implements AsyncDisposable {
	readonly sink: Sink;
	/** The port to which clients connect. */
	readonly port: number;
	readonly #relay: number | undefined;
	readonly #stack: AsyncDisposableStack;

	private constructor(sink: Sink, port: number, relay: number | undefined, stack: AsyncDisposableStack) {
		this.sink = sink;
		this.port = port;
		this.#relay = relay;
		this.#stack = stack;
	}

	/**
	 * @param certificates - of the host SINK_NAME.
	 * @param port - the port to which clients connect.
	 */
	static async start(
		certificates: Certificates,
		{tls, roundTrip, maxConnections}: ReceiverOptions,
		port: number,
	): Promise<Receiver> {
		await using stack = new AsyncDisposableStack();
		const sinkPort = roundTrip === 0 ? port : await freePort();
		const sink = stack.use(
			await Sink.start({
				hostName: SINK_NAME,
				tls: certificates,
				minVersion: tls,
				maxVersion: tls,
				port: sinkPort,
				...(maxConnections === undefined ? {} : {maxConnections}),
			}),
		);
		const relay =
			roundTrip === 0 ? undefined : stack.use(await startRelay({from: port, to: sinkPort, roundTrip}));
		return new Receiver(sink, port, relay?.pid, stack.move());
	}

	/** CPU seconds since the start. */
	cpu(): {readonly sink: number; readonly relay: number} {
		return {
			sink: cpuSeconds(this.sink.pid),
			relay: this.#relay === undefined ? 0 : cpuSeconds(this.#relay),
		};
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.#stack.disposeAsync();
	}
}
