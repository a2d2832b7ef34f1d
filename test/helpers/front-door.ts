/*
 * Where remote clients arrive, and are handed off to tlsproxy(8) in the server role:
 * the part of postscreen(8) that a test needs, with no limits of its own. Which
 * address a client has, the test says.
 */
import {once} from 'node:events';
import {connect, createServer, type Server, type Socket} from 'node:net';
import {connect as connectTls} from 'node:tls';
import type {ExecutionContext} from 'ava';
import type {Fd, Seconds} from '../../src/base/units.ts';
import type {Request} from '../../src/wire/request.ts';
import type {LocalClient} from './client.ts';
import {type Daemon, statusOf} from './daemon.ts';
import {printRequest} from './wire.ts';

/** Parameters with which tlsproxy(8) serves the server role, and any number of clients. */
export function serverRole(key: string, cert: string): Readonly<Record<string, string>> {
	return {
		tlsproxy_tls_security_level: 'may',
		tlsproxy_tls_key_file: key,
		tlsproxy_tls_cert_file: cert,
		tlsproxy_tls_loglevel: '1',
		max_use: '1000000',
	};
}

/** A remote client whose connection was handed off. */
export interface Visitor {
	/** Its end of the connection. */
	readonly remote: Socket;
	/** The hand-off: what the client says in TLS comes out here. */
	readonly local: LocalClient;
	readonly status: number;
}

/** A port for remote clients. It is closed, and they are gone, when the test ends. */
export class FrontDoor {
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
		/* Nobody but tlsproxy(8) may read what they say. */
		this.#server = createServer({pauseOnConnect: true}, socket => {
			this.#arrival(socket.remotePort).resolve(socket);
		});
	}

	/** @param service - whom clients are handed off to. */
	static async open(t: ExecutionContext, daemon: Daemon, service?: string): Promise<FrontDoor> {
		const door = new FrontDoor(t, daemon, service);
		door.#server.listen({host: '127.0.0.1', port: 0, backlog: 2000});
		await once(door.#server, 'listening');
		const address = door.#server.address();
		door.#port = typeof address === 'object' && address !== null ? address.port : 0;
		t.teardown(() => door.#server.close());
		return door;
	}

	/**
	 * Lets a client in.
	 *
	 * @param endpoint - what the request says of it.
	 */
	async visit(endpoint: string, request: Partial<Request> = {}): Promise<Visitor> {
		const [remote, accepted] = await this.#connection();
		const local = await this.#daemon.greeted(this.#t, this.#service);
		await local.send(
			printRequest(
				{
					remoteEndpoint: endpoint,
					role: 'server',
					sendContext: false,
					probeOnly: false,
					handshakeTimeout: 100 as Seconds,
					sessionTimeout: 300 as Seconds,
					serverId: 'smtpd',
					...request,
				},
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

	/* Which of the two ends is told first is open. */
	#arrival(port = 0): PromiseWithResolvers<Socket> {
		const arrival = this.#arrivals.get(port) ?? Promise.withResolvers<Socket>();
		this.#arrivals.set(port, arrival);
		return arrival;
	}
}

/** Does something a number of times, some of them at once. */
export async function many<Result>(
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

/** TLS of a client that plays by the rules: what it says comes out at the hand-off, and the other way round. */
export async function converse(t: ExecutionContext, {remote, local}: Visitor): Promise<void> {
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
