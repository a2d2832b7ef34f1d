/*
 * Two tlsproxy(8) that meet: one as a client, the other as a server, with a TCP
 * connection between them, and both stories of it.
 */
import {once} from 'node:events';
import {createServer, type Socket} from 'node:net';
import type {ExecutionContext} from 'ava';
import type {Seconds} from '../../src/base/units.ts';
import type {HandshakeReport} from '../../src/wire/handshake-report.ts';
import type {Daemon} from './daemon.ts';
import {type Case, comparable, type Lines, optionsOf} from './differential.ts';
import type {CertificateStore} from './openssl.ts';
import {handOver} from './server-differential.ts';

/** One side of a meeting. */
export interface Story extends Pick<Lines, 'lines'> {
	readonly report: HandshakeReport | undefined;
	/** What has arrived. */
	readonly data: string;
}

/** Has two services meet; what each of them has to say. */
export async function meet(
	t: ExecutionContext,
	client: Daemon,
	server: Daemon,
	lab: CertificateStore,
	item: Omit<Case, 'server'> & {
		readonly service: string;
		readonly settings?: Readonly<Record<string, string>>;
	},
): Promise<{readonly client: Story; readonly server: Story}> {
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
	const served = await handOver(
		server,
		local,
		remote,
		{
			remoteEndpoint: endpoint,
			role: 'server',
			sendContext: true,
			probeOnly: false,
			handshakeTimeout: 10 as Seconds,
			sessionTimeout: 30 as Seconds,
			serverId: 'smtpd',
		},
		{own: item.settings},
	);
	const called = await calling;
	/* Behind the answer there is nothing left of the handshake. */
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
	const end = `DISCONNECT ${endpoint}`;
	const since = async () => (await daemon.lines()).slice(known);
	if (!(await daemon.sandbox.waitFor(async () => (await since()).includes(end)))) {
		throw new Error(`no end of ${endpoint}: ${(await daemon.sandbox.logLines()).slice(-20).join('\n')}`);
	}

	const lines = await since();
	/* What a process says when it starts, or makes a context for many, belongs to no session. */
	const first = lines.findIndex(line => line.startsWith('CONNECT '));
	return comparable(
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
