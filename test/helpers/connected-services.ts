/* Two tlsproxy(8) services with a TCP connection between them: one in the client role, one in the server role. */
import {once} from 'node:events';
import {createServer, type Socket} from 'node:net';
import type {ExecutionContext} from 'ava';
import type {HandshakeReport} from '../../src/wire/handshake-report.ts';
import {serverRequest} from './client.ts';
import {type ClientRoleCase, comparableLines, type LogLines, optionsOf} from './client-role-cases.ts';
import type {Daemon} from './daemon.ts';
import type {CertificateStore} from './openssl.ts';
import {handOffRemote} from './server-role-cases.ts';

/** Observations on one side of the connection. */
export interface ConnectionSide extends Pick<LogLines, 'lines'> {
	readonly report: HandshakeReport | undefined;
	/** Data that the local client has received. */
	readonly data: string;
}

/** Connects two services. Returns the observations on both sides. */
export async function connectServices(
	t: ExecutionContext,
	client: Daemon,
	server: Daemon,
	lab: CertificateStore,
	item: Omit<ClientRoleCase, 'server'> & {
		readonly service: string;
		readonly settings?: Readonly<Record<string, string>>;
	},
): Promise<{readonly client: ConnectionSide; readonly server: ConnectionSide}> {
	const known = {client: (await client.lines()).length, server: (await server.lines()).length};
	const listener = createServer({pauseOnConnect: true}).listen(0, '127.0.0.1');
	t.teardown(() => listener.close());
	await once(listener, 'listening');
	const {port} = listener.address() as {readonly port: number};
	const accepting = once(listener, 'connection') as Promise<[Socket]>;
	const local = await server.greeted(t, item.service);
	const calling = client.handOff(t, port, optionsOf(client, {...item, server: 'none'}, lab));
	const [remote] = await accepting;
	const endpoint = `[127.0.0.1]:${remote.remotePort}`;
	const served = await handOffRemote(
		server,
		local,
		remote,
		{...serverRequest, remoteEndpoint: endpoint},
		{parameters: item.settings},
	);
	const called = await calling;
	/* When the answer arrives, the handshake is complete on both sides. */
	let [question, answer] = ['', ''];
	if (called.report !== undefined && served.report !== undefined) {
		await called.client.send('hello\n');
		question = String(await local.bytes(6));
		await local.send('220 hello\n');
		answer = String(await called.client.bytes(10));
	}

	called.client.socket.end();
	await Promise.all([called.client.rest(), local.rest()]);
	return {
		client: {
			report: called.report,
			data: answer,
			lines: await linesOf(client, known.client, called.endpoint, lab),
		},
		server: {
			report: served.report && {...served.report, namaddr: served.report.namaddr.replace(endpoint, PEER)},
			data: question,
			lines: await linesOf(server, known.server, endpoint, lab),
		},
	};
}

const PEER = '[PEER]';

async function linesOf(daemon: Daemon, known: number, endpoint: string, lab: CertificateStore) {
	const lines = await daemon.linesUpTo(`DISCONNECT ${endpoint}`, known);
	/* Lines about the start of a process, or about a shared SSL_CTX, do not belong to the session. */
	const first = lines.findIndex(line => line.startsWith('CONNECT '));
	return comparableLines(
		lines
			.slice(first)
			.filter(line => !line.startsWith('initializing the '))
			.map(line =>
				line
					.replaceAll(endpoint, PEER)
					.replaceAll(`${lab.directory}/`, '')
					.replaceAll(/&\d&[\dA-F]{64}\b/g, '&KEY')
					.replaceAll(/\b[\dA-F]{64}&s=/g, 'ID&s=')
					.replaceAll(/key expiration: \d+/g, 'key expiration: TIME'),
			),
	).lines;
}
