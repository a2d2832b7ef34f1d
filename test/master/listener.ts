/* A process without free descriptors is tested in test/daemon. */
import {once} from 'node:events';
import {mkdtempSync, rmSync} from 'node:fs';
import {connect, type Socket} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {Panic} from '../../src/base/errors.ts';
import {Reactor} from '../../src/event/reactor.ts';
import {close} from '../../src/ffi/libc/libc.ts';
import {Listener} from '../../src/master/listener.ts';
import {namedSocket} from '../helpers/master.ts';
import {collectLog} from '../helpers/openssl.ts';

function listenerFor(t: ExecutionContext, reactor = new Reactor(close)) {
	const directory = mkdtempSync(join(tmpdir(), 'listener-'));
	const socket = namedSocket(t, join(directory, 'socket'));
	const accepted: number[] = [];
	const fullChanges: boolean[] = [];
	const listener = new Listener(reactor, socket.fd, {
		accepted: connection => {
			accepted.push(connection.value);
			connection[Symbol.dispose]();
		},
		hasSessions: () => accepted.length > 0,
		fullChanged: full => fullChanges.push(full),
		fault: reason => t.fail(String(reason)),
	});
	t.teardown(() => {
		listener[Symbol.dispose]();
		reactor[Symbol.dispose]();
		rmSync(directory, {recursive: true});
	});
	const connectClient = async (): Promise<Socket> => {
		const client = connect(join(directory, 'socket'));
		client.on('error', () => undefined);
		await once(client, 'connect');
		return client;
	};
	return {listener, accepted, fullChanges, connectClient};
}

test('Listener accepts every connection', async t => {
	const {accepted, fullChanges, connectClient} = listenerFor(t);
	const clients = await Promise.all(Array.from({length: 10}, connectClient));
	await Promise.all(clients.map(async client => client.destroyed || (await once(client, 'close'))));
	t.is(accepted.length, 10);
	t.deepEqual(fullChanges, []);
});

test('Listener accepts no connection after its disposal, even if a session ends then', async t => {
	const {accepted, listener, connectClient} = listenerFor(t);
	listener[Symbol.dispose]();
	listener.released();
	const client = await connectClient();
	await delay(100);
	t.deepEqual(accepted, []);
	client.destroy();
});

/* A reactor that cannot watch the socket for some times. */
class FullReactor extends Reactor {
	failures: number;

	constructor(failures: number) {
		super(close);
		this.failures = failures;
	}

	override watchDeferred(...args: Parameters<Reactor['watchDeferred']>): Disposable {
		if (this.failures > 0) {
			this.failures--;
			throw new Panic('epoll_ctl: No space left on device');
		}

		return super.watchDeferred(...args);
	}
}

const warning = 'warning: accept connection: epoll_ctl: No space left on device';

test.serial('Listener tries again when the socket cannot be watched, with one warning', async t => {
	const log = collectLog();
	const {accepted, fullChanges, connectClient} = listenerFor(t, new FullReactor(2));
	const client = await connectClient();
	await (client.destroyed || once(client, 'close'));
	t.is(accepted.length, 1);
	t.deepEqual(fullChanges, [true, false]);
	t.deepEqual(log, [warning]);
});

test.serial('Listener tries again when a session ends, and later when that fails', async t => {
	const log = collectLog();
	const reactor = new FullReactor(1);
	const {listener, accepted, fullChanges, connectClient} = listenerFor(t, reactor);
	reactor.failures = 1;
	t.notThrows(() => listener.released());
	t.is(reactor.failures, 0);
	t.deepEqual(fullChanges, [true]);
	t.notThrows(() => listener.released());
	t.deepEqual(fullChanges, [true, false]);
	const client = await connectClient();
	await (client.destroyed || once(client, 'close'));
	t.is(accepted.length, 1);
	t.deepEqual(log, [warning]);
});
