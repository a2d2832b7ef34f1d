/*
 * TLS servers for benchmarks. Each runs in a separate process.
 */
import {type ChildProcess, fork} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';

/** The configuration of a server. */
export interface PeerOptions {
	readonly certFile: string;
	readonly keyFile: string;
	readonly maxVersion?: 'TLSv1.2' | 'TLSv1.3';
}

/** Counts since the start of a server. */
export interface PeerCounts {
	readonly handshakes: number;
	readonly resumptions: number;
	/** Connections that ended before their handshake was complete. */
	readonly failures: number;
}

/** From the owner to the process. */
export type PeerRequest = {readonly name: 'start'; readonly options: PeerOptions} | {readonly name: 'counts'};

/** From the process to its owner. */
export type PeerReply =
	| {readonly name: 'started'; readonly port: number}
	| {readonly name: 'counts'; readonly counts: PeerCounts};

/** A running server. Disposal ends it. */
export class Peer implements Disposable {
	readonly port: number;
	readonly pid: number;
	readonly #child: ChildProcess;

	private constructor(child: ChildProcess, port: number) {
		this.#child = child;
		this.port = port;
		this.pid = child.pid ?? 0;
	}

	static async start(options: PeerOptions): Promise<Peer> {
		const child = fork(join(import.meta.dirname, 'peer-process.ts'), [], {
			execArgv: [],
			stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
		});
		child.send({name: 'start', options} satisfies PeerRequest);
		const [reply] = (await once(child, 'message')) as [PeerReply];
		if (reply.name !== 'started') {
			throw new Error('unexpected reply from the peer');
		}

		return new Peer(child, reply.port);
	}

	async counts(): Promise<PeerCounts> {
		this.#child.send({name: 'counts'} satisfies PeerRequest);
		const [reply] = (await once(this.#child, 'message')) as [PeerReply];
		if (reply.name !== 'counts') {
			throw new Error('unexpected reply from the peer');
		}

		return reply.counts;
	}

	[Symbol.dispose](): void {
		this.#child.kill('SIGKILL');
	}
}
