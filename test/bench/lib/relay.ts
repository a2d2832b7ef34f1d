/*
 * A relay that delays data on the way to a server. The loopback interface of this
 * kernel has no delay.
 */
import {fork} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';

/** The ports and the delay of a relay. */
export interface RelayRequest {
	readonly from: number;
	readonly to: number;
	/** Milliseconds. */
	readonly roundTrip: number;
}

/** A running relay, in a separate process. Disposal ends it. */
export interface Relay extends Disposable {
	readonly pid: number;
}

export async function startRelay(request: RelayRequest): Promise<Relay> {
	const child = fork(join(import.meta.dirname, 'relay-process.ts'), [], {
		execArgv: [],
		stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
	});
	child.send(request);
	await once(child, 'message');
	return {
		pid: child.pid ?? 0,
		[Symbol.dispose]() {
			child.kill('SIGKILL');
		},
	};
}
