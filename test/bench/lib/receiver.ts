/*
 * Who receives the mail: a sink, and the way to it.
 */
import type {Certificates} from '../../../postfix/lib/certificates.ts';
import {freePort} from '../../../postfix/lib/sandbox.ts';
import {Sink} from '../../../postfix/lib/sink.ts';
import type {TlsVersion} from '../../../postfix/lib/sink-messages.ts';
import {SINK_NAME} from '../../helpers/sender-and-sink.ts';
import {cpuSeconds} from './process.ts';
import {startRelay} from './relay.ts';

/** What kind of receiver. */
export interface Reception {
	readonly tls: TlsVersion;
	/** Milliseconds; without any, there is no relay either. */
	readonly roundTrip: number;
	/** Connections that it accepts at a time. */
	readonly maxConnections?: number | undefined;
}

/** A running receiver. Disposal ends it. */
export class Receiver implements AsyncDisposable {
	readonly sink: Sink;
	/** Where clients connect to. */
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
	 * @param port - where clients are to connect to.
	 */
	static async start(
		certificates: Certificates,
		{tls, roundTrip, maxConnections}: Reception,
		port: number,
	): Promise<Receiver> {
		await using stack = new AsyncDisposableStack();
		const own = roundTrip === 0 ? port : await freePort();
		const sink = stack.use(
			await Sink.start({
				hostName: SINK_NAME,
				tls: certificates,
				minVersion: tls,
				maxVersion: tls,
				port: own,
				...(maxConnections === undefined ? {} : {maxConnections}),
			}),
		);
		const relay = roundTrip === 0 ? undefined : stack.use(await startRelay({from: port, to: own, roundTrip}));
		return new Receiver(sink, port, relay?.pid, stack.move());
	}

	/** CPU seconds that it has used so far. */
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
