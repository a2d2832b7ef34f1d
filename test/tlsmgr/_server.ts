/* Servers in place of tlsmgr(8), and clients of them. ava takes this for no test because of its name. */
import {once} from 'node:events';
import {mkdtempSync, rmSync} from 'node:fs';
import {createServer, type Socket} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import type {Milliseconds} from '../../src/base/units.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {DeadlineClock} from '../../src/event/deadline.ts';
import {Reactor} from '../../src/event/reactor.ts';
import {close as closeDescriptor} from '../../src/ffi/libc/libc.ts';
import {TlsmgrClient} from '../../src/tlsmgr/tlsmgr-client.ts';
import {printList} from '../../src/wire/attribute-list.ts';

const reactor = new Reactor(closeDescriptor);
const clock = new DeadlineClock();
test.after.always(() => reactor[Symbol.dispose]());

/** Has the clock of the program go forward by hand, and by nothing else: no limit passes because the machine is busy. */
export function movableClock(t: ExecutionContext): (milliseconds: number) => void {
	const real = performance.now.bind(performance);
	/* A whole number: sums are exact then. */
	let time = Math.ceil(performance.now());
	performance.now = () => time;
	t.teardown(() => {
		performance.now = real;
	});
	return milliseconds => {
		time += milliseconds;
	};
}

/** A client that is disposed when the test ends. */
export function managerAt(
	t: ExecutionContext,
	path: string,
	{release = '3.7.11', idle = 5000} = {},
): TlsmgrClient {
	const {greeting} = releaseFeatures(release);
	const tlsmgr = new TlsmgrClient(reactor, clock, {path, greeting, idle: idle as Milliseconds});
	t.teardown(() => tlsmgr[Symbol.dispose]());
	return tlsmgr;
}

/** The answer, as soon as Node.js has its turn: it does not know that the reactor was called. */
export async function answer<Value>(ask: (done: (value: Value) => void) => void): Promise<Value> {
	return await new Promise(resolve => {
		ask(value => setImmediate(resolve, value));
	});
}

/** The session of a name, as text. */
export async function lookup(tlsmgr: TlsmgrClient, id: string): Promise<string | undefined> {
	const session = await answer<Uint8Array | undefined>(done => tlsmgr.lookup('smtp', id, done));
	return session === undefined ? undefined : String(session);
}

/** What tlsmgr(8) says first. */
export const greeting = printList([['protocol', 'tlsmgr_protocol']]);
/** The reply to a lookup that finds `kept`. */
export const found = printList([
	['status', '0'],
	['session', Buffer.from('kept').toString('base64')],
]);

/** A server that does something of its own with each connection. Returns its path. */
export async function scripted(
	t: ExecutionContext,
	run: (socket: Socket, index: number) => void,
): Promise<string> {
	const directory = mkdtempSync(join(tmpdir(), 'tlsmgr-'));
	const sockets = new Set<Socket>();
	const server = createServer(socket => {
		sockets.add(socket);
		socket.on('error', () => undefined);
		run(socket, sockets.size - 1);
	}).listen(join(directory, 'socket'));
	t.teardown(() => {
		server.close();
		for (const socket of sockets) {
			socket.destroy();
		}

		rmSync(directory, {recursive: true});
	});
	await once(server, 'listening');
	return join(directory, 'socket');
}

/** What answers each request with the same bytes, after a while. */
export function answering(bytes: Uint8Array, delay = 0): (socket: Socket) => void {
	return socket => {
		socket.write(greeting);
		socket.on('data', () => setTimeout(() => socket.write(bytes), delay));
	};
}
