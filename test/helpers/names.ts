/*
 * Hand-offs with names of servers, one after the other to one process: the name that
 * the server is asked for, whether its certificate matches, and what is logged.
 */
import type {Socket} from 'node:net';
import {createSecureContext, TLSSocket} from 'node:tls';
import type {ExecutionContext} from 'ava';
import type {ClientStart} from '../../src/wire/client.ts';
import {parseClientHello} from './client-hello.ts';
import type {Daemon} from './daemon.ts';
import type {Issuer} from './issuer.ts';
import {tcpPeer} from './peer.ts';

/** What a request says, and what its server presents. */
export interface NamedCase {
	/** Name in the certificate of the server. */
	readonly certificate: string;
	readonly start: Partial<ClientStart>;
}

/** What can be seen of a case. */
export interface NamedOutcome {
	readonly status: number;
	/** Extension 0 of the hello, hexadecimal; undefined without a hello, or without the extension. */
	readonly serverName: string | undefined;
	readonly helloSent: boolean;
	readonly peerStatus: number | undefined;
	/** What is logged up to the report. */
	readonly lines: readonly string[];
}

/** A name as it is on the wire: a character per byte. */
export function wireName(text: string): string {
	return Buffer.from(text).toString('latin1');
}

/**
 * Puts cases to one process of a daemon.
 *
 * @param authorities - file with the authority, as it is in main.cf.
 */
export async function putNames(
	t: ExecutionContext,
	daemon: Daemon,
	issuer: Issuer,
	authorities: string,
	cases: readonly NamedCase[],
): Promise<readonly NamedOutcome[]> {
	const server = await NamedServer.start(t, issuer);
	const before = (await daemon.lines()).length;
	const outcomes: Array<Omit<NamedOutcome, 'lines'>> = [];
	for (const item of cases) {
		outcomes.push(await putName(t, daemon, server, authorities, item));
	}

	const lines = await linesOfAll(daemon, before, cases.length, server.port);
	return outcomes.map((outcome, index) => ({...outcome, lines: lines[index] ?? []}));
}

/** Puts one case to a daemon, without a look at its log. */
export async function putName(
	t: ExecutionContext,
	daemon: Daemon,
	server: NamedServer,
	authorities: string,
	item: NamedCase,
): Promise<Omit<NamedOutcome, 'lines'>> {
	server.expect(item.certificate);
	const {client, status, context} = await daemon.transfer(t, server.port, {
		init: {CAfile: authorities, verifydepth: 9},
		start: {tls_level: SECURE, cipher_grade: 'medium', cipher_exclusions: 'aNULL', ...item.start},
	});
	client.socket.end();
	await client.rest();
	client[Symbol.dispose]();
	const name = parseClientHello(server.hello)?.extensions.find(text => text.startsWith('0 '));
	return {
		status,
		serverName: name?.slice('0 '.length),
		helloSent: server.hello.length > 0,
		peerStatus: context?.peer_status,
	};
}

/** A server that presents the certificate of another name each time. */
export class NamedServer {
	readonly port: number;
	/** What the last client has sent first. */
	hello: Buffer = Buffer.alloc(0);
	#certificate = '';

	private constructor(port: number) {
		this.port = port;
	}

	static async start(t: ExecutionContext, issuer: Issuer): Promise<NamedServer> {
		const port = await tcpPeer(t, client => {
			const certificate = server.#certificate;
			firstRecord(client, record => {
				server.hello = record;
				client.unshift(record);
				const secured = new TLSSocket(client, {
					isServer: true,
					secureContext: createSecureContext({key: issuer.key, cert: issuer.certificateFor(certificate)}),
				});
				secured.on('error', () => client.destroy());
				secured.resume();
			});
		});
		const server = new NamedServer(port);
		return server;
	}

	/** Has the next client see the certificate of a name. */
	expect(certificate: string): void {
		this.#certificate = certificate;
		this.hello = Buffer.alloc(0);
	}
}

const SECURE = 8;

/* Hands on what a client has sent, once there is a record, or the connection has ended. */
function firstRecord(client: Socket, run: (record: Buffer<ArrayBuffer>) => void): void {
	let received = Buffer.alloc(0);
	const collect = (bytes: Buffer): void => {
		received = Buffer.concat([received, bytes]);
		if (received.length >= 5 && received.length >= 5 + received.readUInt16BE(3)) {
			client.off('data', collect);
			client.pause();
			run(received);
		}
	};
	client.on('data', collect);
	client.on('end', () => client.end());
}

/* Sessions come one after the other; only the end of one may be logged after the beginning of the next. */
async function linesOfAll(
	daemon: Daemon,
	before: number,
	count: number,
	port: number,
): Promise<ReadonlyArray<readonly string[]>> {
	let lines: readonly string[] = [];
	const ends = (line: string): boolean => line.startsWith('DISCONNECT ');
	await daemon.sandbox.waitFor(async () => {
		lines = (await daemon.lines()).slice(before);
		return lines.filter(ends).length >= count;
	});
	const sessions: string[][] = [];
	for (const line of lines.filter(text => !ends(text))) {
		if (line.startsWith('CONNECT ')) {
			sessions.push([]);
		} else {
			sessions.at(-1)?.push(line.replaceAll(`:${port}`, ':PORT'));
		}
	}

	return sessions;
}
