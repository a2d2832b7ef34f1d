/*
 * Remote clients that are handed off to tlsproxy(8) in the server role, as by postscreen(8)
 * without its limits. The test chooses the address of each client.
 */
import {once} from 'node:events';
import {connect, createServer, type Server, type Socket} from 'node:net';
import {connect as connectTls} from 'node:tls';
import type {ExecutionContext} from 'ava';
import type {Fd} from '../../src/base/units.ts';
import type {Request} from '../../src/wire/request.ts';
import type {LocalClient} from './client.ts';
import {serverRequest} from './client.ts';
import {type Daemon, statusOf} from './daemon.ts';
import {printRequest} from './wire.ts';

/** Parameters that enable the server role, for any number of clients. */
export function serverRoleParameters(key: string, cert: string): Readonly<Record<string, string>> {
	return {
		tlsproxy_tls_security_level: 'may',
		tlsproxy_tls_key_file: key,
		tlsproxy_tls_cert_file: cert,
		tlsproxy_tls_loglevel: '1',
		max_use: '1000000',
	};
}

/** A remote client whose connection was handed off. */
export interface RemoteClient {
	/** The client's end of the connection. */
	readonly remote: Socket;
	/** The local client: it receives the decrypted data of the remote client. */
	readonly local: LocalClient;
	readonly status: number;
}

/** A port for remote clients. It is closed at the end of the test, with their connections. */
export class RemoteListener {
	readonly #daemon: Daemon;
	readonly #service: string | undefined;
	readonly #t: ExecutionContext;
	readonly #server: Server;
	readonly #arrivals = new Map<number, PromiseWithResolvers<Socket>>();
	#port = 0;

	private constructor(t: ExecutionContext, daemon: Daemon, service: string | undefined) {
		this.#t = t;
		this.#daemon = daemon;
		this.#service = service;
		/* Only tlsproxy(8) may read their data. */
		this.#server = createServer({pauseOnConnect: true}, socket => {
			this.#arrival(socket.remotePort).resolve(socket);
		});
	}

	/** @param service - receives the clients. */
	static async open(t: ExecutionContext, daemon: Daemon, service?: string): Promise<RemoteListener> {
		const listener = new RemoteListener(t, daemon, service);
		listener.#server.listen({host: '127.0.0.1', port: 0, backlog: 2000});
		await once(listener.#server, 'listening');
		const address = listener.#server.address();
		listener.#port = typeof address === 'object' && address !== null ? address.port : 0;
		t.teardown(() => listener.#server.close());
		return listener;
	}

	/**
	 * Connects a client and hands it off.
	 *
	 * @param endpoint - the client address in the request.
	 */
	async visit(endpoint: string, request: Partial<Request> = {}): Promise<RemoteClient> {
		const [remote, accepted] = await this.#connection();
		const local = await this.#daemon.greeted(this.#t, this.#service);
		await local.send(
			printRequest(
				{...serverRequest, remoteEndpoint: endpoint, sendContext: false, ...request},
				this.#daemon.features,
			),
		);
		const status = statusOf(await local.list());
		if (status === 1) {
			local.pass((accepted as unknown as {_handle: {fd: Fd}})._handle.fd);
		}

		accepted.destroy();
		return {remote, local, status};
	}

	async #connection(): Promise<readonly [remote: Socket, accepted: Socket]> {
		const remote = connect({host: '127.0.0.1', port: this.#port, allowHalfOpen: true});
		remote.on('error', () => undefined);
		this.#t.teardown(() => remote.destroy());
		await once(remote, 'connect');
		const accepted = await this.#arrival(remote.localPort).promise;
		this.#arrivals.delete(remote.localPort ?? 0);
		return [remote, accepted];
	}

	/* Either end may be notified first. */
	#arrival(port = 0): PromiseWithResolvers<Socket> {
		const arrival = this.#arrivals.get(port) ?? Promise.withResolvers<Socket>();
		this.#arrivals.set(port, arrival);
		return arrival;
	}
}

/** Runs a function a number of times, up to 16 of them at once. */
export async function runConcurrently<Result>(
	count: number,
	run: (index: number) => Promise<Result>,
): Promise<readonly Result[]> {
	const results: Result[] = [];
	let next = 0;
	await Promise.all(
		Array.from({length: 16}, async () => {
			while (next < count) {
				const index = next++;
				results[index] = await run(index);
			}
		}),
	);
	return results;
}

/** Runs a complete TLS session with data in both directions. */
export async function completeSession(t: ExecutionContext, {remote, local}: RemoteClient): Promise<void> {
	const tls = connectTls({socket: remote, rejectUnauthorized: false});
	tls.on('error', () => undefined);
	tls.write('EHLO client.example');
	t.is(String(await local.bytes(19)), 'EHLO client.example');
	const answer = once(tls, 'data') as Promise<[Buffer]>;
	await local.send('250 ok');
	t.is(String((await answer)[0]), '250 ok');
	tls.end();
	t.is(String(await local.rest()), '');
	local[Symbol.dispose]();
	remote.destroy();
}
