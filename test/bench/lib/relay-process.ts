/*
 * The process of a Relay: what comes on one side leaves on the other half a round
 * trip later. A connection takes a round trip to be established, as TCP does: the
 * kernel of this host needs none.
 */
import {connect, createServer, type Socket} from 'node:net';
import type {RelayOptions} from './relay.ts';

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

process.on('message', ({port, roundTrip}: RelayOptions) => {
	const server = createServer({allowHalfOpen: true, noDelay: true}, client => {
		setTimeout(() => {
			const upstream = connect({port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true});
			carry(client, upstream, roundTrip / 2);
			carry(upstream, client, roundTrip / 2);
		}, roundTrip);
	});
	server.listen(0, '127.0.0.1', () => {
		const address = server.address();
		process.send?.(typeof address === 'object' && address !== null ? address.port : 0);
	});
});
process.on('disconnect', () => process.exit(0));
