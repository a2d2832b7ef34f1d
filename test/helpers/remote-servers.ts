/*
 * Remote servers, regular ones and others. They are closed when the test ends.
 */
import {once} from 'node:events';
import {connect, createServer, type Server, type Socket} from 'node:net';
import {createServer as createTlsServer, type TLSSocket, type TlsOptions} from 'node:tls';
import type {ExecutionContext} from 'ava';
import {CertificateStore} from './openssl.ts';

/** Starts a TCP server that runs a function for each connection. Returns its port. */
export async function tcpPeer(t: ExecutionContext, run: (socket: Socket) => void): Promise<number> {
	return await listen(
		t,
		createServer({allowHalfOpen: true}, socket => {
			socket.on('error', () => undefined);
			run(socket);
		}),
	);
}

/** Starts a TLS server that runs a function with each connection after its handshake. Returns its port. */
export async function tlsPeer(
	t: ExecutionContext,
	options: TlsOptions,
	run: (socket: TLSSocket) => void,
): Promise<number> {
	const server = createTlsServer({allowHalfOpen: true, ...options}, socket => {
		socket.on('error', () => undefined);
		run(socket);
	});
	server.on('tlsClientError', () => undefined);
	return await listen(t, server);
}

/** A TCP relay whose connections a test can disturb. */
export interface Relay {
	readonly port: number;
	/** The sockets of the last connection. */
	readonly ends: {client?: Socket; server?: Socket};
}

/**
 * Starts a relay to a port.
 *
 * @param received - is called with the data of clients.
 */
export async function relay(
	t: ExecutionContext,
	port: number,
	received: (bytes: Buffer) => void = () => undefined,
): Promise<Relay> {
	const ends: Relay['ends'] = {};
	const listening = await tcpPeer(t, client => {
		const server = connect({port, host: '127.0.0.1', allowHalfOpen: true});
		server.on('error', () => client.destroy());
		client.on('data', received);
		client.pipe(server).pipe(client);
		client.once('close', () => server.destroy());
		t.teardown(() => server.destroy());
		ends.client = client;
		ends.server = server;
	});
	return {port: listening, ends};
}

let files: {readonly key: string; readonly cert: string} | undefined;

/** Key and certificate of a server whose name does not matter. */
export function peerFiles(): {readonly key: string; readonly cert: string} {
	if (files === undefined) {
		using store = new CertificateStore();
		store.make('peer', {});
		files = {key: store.read('peer.key'), cert: store.read('peer.cert')};
	}

	return files;
}

/** Starts a TLS server that echoes all data. Returns its port. */
export async function echoPeer(t: ExecutionContext, options: TlsOptions = {}): Promise<number> {
	return await tlsPeer(t, {...peerFiles(), ...options}, socket => socket.pipe(socket));
}

async function listen(t: ExecutionContext, server: Server): Promise<number> {
	const sockets = new Set<Socket>();
	server.on('connection', (socket: Socket) => {
		sockets.add(socket);
		socket.once('close', () => sockets.delete(socket));
	});
	t.teardown(() => {
		server.close();
		for (const socket of sockets) {
			socket.destroy();
		}
	});
	server.listen(0, '127.0.0.1');
	await once(server, 'listening');
	const address = server.address();
	if (address === null || typeof address === 'string') {
		throw new Error('no port');
	}

	return address.port;
}
