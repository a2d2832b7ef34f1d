/*
 * A path to a server that takes time: the kernel has none.
 */
import {fork} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';

/** From where, where to, and how far that is. */
export interface RelayRequest {
	readonly from: number;
	readonly to: number;
	/** Milliseconds. */
	readonly roundTrip: number;
}

/** A running relay, a process of its own. Disposal ends it. */
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
