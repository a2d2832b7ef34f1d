/*
 * smtp(8) waits ten seconds for the handshake report. If it has disconnected by then, the
 * report cannot be sent, and a warning is logged. If it has only shut down its sending
 * side, it still gets the report.
 */
import {once} from 'node:events';
import {connect} from 'node:net';
import test, {type ExecutionContext} from 'ava';
import {Daemon, type Program} from '../helpers/daemon.ts';
import {connectTo} from '../helpers/openssl.ts';
import {echoPeer, tcpPeer} from '../helpers/remote-servers.ts';

/** A server that answers a ClientHello only after {@link DelayedPeer.resume} was called. */
interface DelayedPeer {
	readonly port: number;
	/** Resolves when the ClientHello has arrived. */
	readonly hello: Promise<void>;
	readonly resume: () => void;
}

async function delayedPeer(t: ExecutionContext): Promise<DelayedPeer> {
	const target = await echoPeer(t);
	const hello = Promise.withResolvers<void>();
	const resumed = Promise.withResolvers<void>();
	const port = await tcpPeer(t, socket => {
		const forward = async (): Promise<void> => {
			await resumed.promise;
			const onward = connect({port: target, host: '127.0.0.1', allowHalfOpen: true});
			onward.on('error', () => undefined);
			socket.pipe(onward).pipe(socket);
		};
		socket.once('readable', () => {
			hello.resolve();
			void forward();
		});
	});
	return {port, hello: hello.promise, resume: () => resumed.resolve()};
}

const ways = {
	destroy: {title: 'has closed its connection', event: 'close'},
	end: {title: 'has shut down its sending side', event: 'finish'},
} as const;

/** The lines about a client that closes its connection, in one way or the other, during the handshake. */
async function linesAbout(t: ExecutionContext, which: Program, how: keyof typeof ways) {
	await using daemon = await Daemon.start(which);
	const {port, hello, resume} = await delayedPeer(t);
	const endpoint = `[127.0.0.1]:${port}`;
	const client = await daemon.greeted(t);
	const fd = connectTo(t, port);
	for (const message of daemon.messages(endpoint)) {
		await client.send(message);
	}

	await client.list();
	client.pass(fd.value);
	fd[Symbol.dispose]();
	await hello;
	const closed = once(client.socket, ways[how].event);
	client.socket[how]();
	await closed;
	resume();
	return (await daemon.linesOf({endpoint, linesBefore: 0})).map(line => line.replace(/ with cipher .*/, ''));
}

for (const how of ['destroy', 'end'] as const) {
	test(`a client that ${ways[how].title} before its report: the log has the lines of stock`, async t => {
		const stock = await linesAbout(t, 'stock', how);
		t.is(stock.includes('warning: cannot send TLS context: Broken pipe'), how === 'destroy');
		t.deepEqual(await linesAbout(t, 'ours', how), stock);
	});
}
