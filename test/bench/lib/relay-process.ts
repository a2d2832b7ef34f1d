/*
 * The process of a Relay: what comes on one side leaves on the other half a round
 * trip later. The server sees a connection one and a half round trips after it was
 * asked for, when the last of TCP's three packets would come: the kernel of this host
 * has no way.
 */
import {connect, createServer, type Socket} from 'node:net';
import type {RelayRequest} from './relay.ts';

function carry(from: Socket, to: Socket, delay: number): void {
	from.on('data', (bytes: Buffer) => {
		setTimeout(() => to.write(bytes), delay);
	});
	from.on('end', () => {
		setTimeout(() => to.end(), delay);
	});
	from.on('error', () => to.destroy());
	from.on('close', () => {
		setTimeout(() => to.destroy(), delay + 100);
	});
}

process.on('message', ({from, to, roundTrip}: RelayRequest) => {
	const server = createServer({allowHalfOpen: true, noDelay: true}, client => {
		setTimeout(() => {
			const upstream = connect({port: to, host: '127.0.0.1', allowHalfOpen: true, noDelay: true});
			carry(client, upstream, roundTrip / 2);
			carry(upstream, client, roundTrip / 2);
		}, roundTrip * 1.5);
	});
	server.listen(from, '127.0.0.1', () => process.send?.('listening'));
});
process.on('disconnect', () => process.exit(0));
