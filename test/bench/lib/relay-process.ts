/*
 * The process of a Relay. It forwards data in both directions after half a round trip.
 * It connects to the server one and a half round trips after the client has connected,
 * which is when the last packet of the TCP handshake would arrive.
 */
import {connect, createServer, type Socket} from 'node:net';
import type {RelayRequest} from './relay.ts';

function forward(from: Socket, to: Socket, delay: number): void {
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
			forward(client, upstream, roundTrip / 2);
			forward(upstream, client, roundTrip / 2);
		}, roundTrip * 1.5);
	});
	server.listen(from, '127.0.0.1', () => process.send?.('listening'));
});
process.on('disconnect', () => process.exit(0));
