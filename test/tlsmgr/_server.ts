/* Scripted replacements for tlsmgr(8), and clients for them. ava ignores this file because of its name. */
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

/** Stops the clock of the program; the result advances it. So no time limit expires because the machine is busy. */
export function movableClock(t: ExecutionContext): (milliseconds: number) => void {
	const real = performance.now.bind(performance);
	/* An integer, so that sums are exact. */
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
export function tlsmgrClient(
	t: ExecutionContext,
	path: string,
	{release = '3.7.11', idle = 5000} = {},
): TlsmgrClient {
	const {greeting} = releaseFeatures(release);
	const tlsmgr = new TlsmgrClient(reactor, clock, {path, greeting, idle: idle as Milliseconds});
	t.teardown(() => tlsmgr[Symbol.dispose]());
	return tlsmgr;
}

/** The result of a request, as a promise. setImmediate() runs microtasks, which the reactor does not. */
export async function result<Value>(request: (done: (value: Value) => void) => void): Promise<Value> {
	return await new Promise(resolve => {
		request(value => setImmediate(resolve, value));
	});
}

/** Looks up a session, as text. */
export async function lookup(tlsmgr: TlsmgrClient, id: string): Promise<string | undefined> {
	const session = await result<Uint8Array | undefined>(done => tlsmgr.lookup('smtp', id, done));
	return session === undefined ? undefined : String(session);
}

/** The greeting of tlsmgr(8). */
export const greeting = printList([['protocol', 'tlsmgr_protocol']]);
/** The reply to a lookup that finds the session `stored`. */
export const found = printList([
	['status', '0'],
	['session', Buffer.from('stored').toString('base64')],
]);

/** A server that runs a function for each connection. Returns the pathname of its socket. */
export async function scriptedServer(
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

/** Sends a greeting, and the same reply to each request, after a delay in milliseconds. */
export function replying(bytes: Uint8Array, delay = 0): (socket: Socket) => void {
	return socket => {
		socket.write(greeting);
		socket.on('data', () => setTimeout(() => socket.write(bytes), delay));
	};
}
