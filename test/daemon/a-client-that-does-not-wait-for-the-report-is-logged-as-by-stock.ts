/*
 * smtp(8) waits ten seconds for the report about a handshake. Whoever has left by then
 * cannot be told, and the log says so; whoever has only said that he sends nothing
 * more gets it.
 */
import {connect} from 'node:net';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {Daemon, type Which} from '../helpers/daemon.ts';
import {connectTo} from '../helpers/openssl.ts';
import {echoPeer, tcpPeer} from '../helpers/peer.ts';

/** A server that answers after a while. */
async function slowPeer(t: ExecutionContext): Promise<number> {
	const port = await echoPeer(t);
	return await tcpPeer(t, socket => {
		setTimeout(() => {
			const onward = connect({port, host: '127.0.0.1', allowHalfOpen: true});
			onward.on('error', () => undefined);
			socket.pipe(onward).pipe(socket);
		}, 2000);
	});
}

const leave = {destroy: 'has closed', end: 'sends nothing more'} as const;

/** The lines about a client that leaves, in one way or the other, before the handshake is through. */
async function linesAbout(t: ExecutionContext, which: Which, how: keyof typeof leave) {
	await using daemon = await Daemon.start(which);
	const port = await slowPeer(t);
	const endpoint = `[127.0.0.1]:${port}`;
	const client = await daemon.greeted(t);
	const fd = connectTo(t, port);
	for (const message of daemon.messages(endpoint)) {
		await client.send(message);
	}

	await client.list();
	client.pass(fd.value);
	fd[Symbol.dispose]();
	await delay(200);
	client.socket[how]();
	return (await daemon.linesOf({endpoint, linesBefore: 0})).map(line => line.replace(/ with cipher .*/, ''));
}

for (const how of ['destroy', 'end'] as const) {
	test(`a client that ${leave[how]} before its report: the lines of stock`, async t => {
		const stock = await linesAbout(t, 'stock', how);
		t.is(stock.includes('warning: cannot send TLS context: Broken pipe'), how === 'destroy');
		t.deepEqual(await linesAbout(t, 'ours', how), stock);
	});
}
