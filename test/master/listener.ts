/* What happens when there is no room is in test/daemon. */
import {once} from 'node:events';
import {mkdtempSync, rmSync} from 'node:fs';
import {connect, type Socket} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {Reactor} from '../../src/event/reactor.ts';
import {close} from '../../src/ffi/libc/libc.ts';
import {Listener} from '../../src/master/listener.ts';
import {namedSocket} from '../helpers/master.ts';

function listenerFor(t: ExecutionContext) {
	const directory = mkdtempSync(join(tmpdir(), 'listener-'));
	const reactor = new Reactor(close);
	const socket = namedSocket(t, join(directory, 'socket'));
	const accepted: number[] = [];
	const listener = new Listener(reactor, socket.fd, {
		accepted: connection => {
			accepted.push(connection.value);
			connection[Symbol.dispose]();
		},
		hasSessions: () => accepted.length > 0,
		filled: () => t.fail('full'),
		fault: reason => t.fail(String(reason)),
	});
	t.teardown(() => {
		listener[Symbol.dispose]();
		reactor[Symbol.dispose]();
		rmSync(directory, {recursive: true});
	});
	const visit = async (): Promise<Socket> => {
		const client = connect(join(directory, 'socket'));
		client.on('error', () => undefined);
		await once(client, 'connect');
		return client;
	};
	return {listener, accepted, visit};
}

test('Listener accepts who connects, all of them', async t => {
	const {accepted, visit} = listenerFor(t);
	const clients = await Promise.all(Array.from({length: 10}, visit));
	await Promise.all(clients.map(async client => client.destroyed || (await once(client, 'close'))));
	t.is(accepted.length, 10);
});

test('Listener accepts nobody when it is disposed, whatever ends then', async t => {
	const {accepted, listener, visit} = listenerFor(t);
	listener[Symbol.dispose]();
	listener.released();
	const client = await visit();
	await delay(100);
	t.deepEqual(accepted, []);
	client.destroy();
});
