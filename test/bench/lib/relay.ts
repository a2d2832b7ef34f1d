/*
 * A path to a server that takes time: the kernel has none.
 */
import {fork} from 'node:child_process';
import {once} from 'node:events';
import {join} from 'node:path';

/** Where to, and how far that is. */
export interface RelayOptions {
	readonly port: number;
	/** Milliseconds. */
	readonly roundTrip: number;
}

/** A running relay, a process of its own. Disposal ends it. */
export interface Relay extends Disposable {
	readonly port: number;
}

export async function startRelay(options: RelayOptions): Promise<Relay> {
	const child = fork(join(import.meta.dirname, 'relay-process.ts'), [], {
		execArgv: [],
		stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
	});
	child.send(options);
	const [port] = (await once(child, 'message')) as [number];
	return {
		port,
		[Symbol.dispose]() {
			child.kill('SIGKILL');
		},
	};
}
