/*
 * The same case of the server role for stock and for us: the same client, the same
 * settings, and then everything that can be seen of it.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {readFileSync, rmSync} from 'node:fs';
import {createServer, type Socket} from 'node:net';
import {text} from 'node:stream/consumers';
import type {ExecutionContext} from 'ava';
import type {Fd, Seconds} from '../../src/base/units.ts';
import {readConfiguration} from '../../src/conf/postconf.ts';
import {serverInit, serverParams, serverStart} from '../../src/roles/main-cf-settings.ts';
import {serverRequirements} from '../../src/roles/server-role.ts';
import type {HandshakeReport} from '../../src/wire/handshake-report.ts';
import type {Request} from '../../src/wire/request.ts';
import type {ServerSettings, ServerStart} from '../../src/wire/server-settings.ts';
import type {LocalClient} from './client.ts';
import {type Daemon, statusOf} from './daemon.ts';
import {comparable, type Lines} from './differential.ts';
import type {CertificateStore} from './openssl.ts';
import {parseReport, printRequest, printServerSettings} from './wire.ts';

/** A client, and the service that it meets. */
export interface ServerCase {
	readonly id: string;
	/** Parameters of the service. `%name` is a file of the lab. A case with parameters has a service to itself. */
	readonly settings?: Readonly<Record<string, string>>;
	/** Words for openssl s_client. */
	readonly client?: string;
	/** Bytes that come instead of a client. */
	readonly raw?: string;
	/** The client comes again with its session: words for openssl s_client, and the service that it meets then. */
	readonly again?: {readonly client?: string; readonly serverId?: string};
	readonly serverId?: string;
	readonly request?: Partial<Request>;
	/** What else the request says of the connection, where the release has that in requests. */
	readonly start?: Partial<ServerStart>;
}

/** What can be seen of one visit of a client. */
export interface Visit extends Lines {
	readonly status: number;
	readonly report: HandshakeReport | undefined;
	/** What the client says of the server, and of what was agreed. */
	readonly client: readonly string[];
	/** What has arrived on either side. */
	readonly data: readonly [fromClient: string, fromServer: boolean];
}

/** Name of the service of a case. */
export function serviceOf({id, settings}: ServerCase): string {
	return settings === undefined ? 'tlsproxy' : `case-${id}`;
}

/** Settings of a service, with the names of files filled in. */
export function withFiles(
	settings: Readonly<Record<string, string>>,
	lab: CertificateStore,
): Record<string, string> {
	return Object.fromEntries(
		Object.entries(settings).map(([name, value]) => [
			name,
			value.replaceAll(/%([\w.-]+)/g, (_, file: string) => lab.path(file)),
		]),
	);
}

/** Puts a case to a daemon: what is seen of each visit. */
export async function visit(
	t: ExecutionContext,
	daemon: Daemon,
	lab: CertificateStore,
	item: ServerCase,
): Promise<readonly Visit[]> {
	const session = lab.path(`session-${item.id}-${process.hrtime.bigint()}`);
	t.teardown(() => rmSync(session, {force: true}));
	const first = item.again === undefined ? '' : ` -sess_out ${session}`;
	const service = serviceOf(item);
	const visits = [
		await visitService(t, daemon, lab, {...item, client: `${item.client ?? ''}${first}`}, service),
	];
	if (item.again !== undefined) {
		const {client = item.client ?? '', serverId = item.serverId ?? 'smtpd'} = item.again;
		const again = {...item, client: `${client} -sess_in ${session}`, serverId};
		visits.push(await visitService(t, daemon, lab, again, service));
	}

	return visits;
}

/** Puts one visit to a service. */
export async function visitService(
	t: ExecutionContext,
	daemon: Daemon,
	lab: CertificateStore,
	item: ServerCase,
	service: string,
): Promise<Visit> {
	const {client: words = '', serverId = 'smtpd'} = item;
	const known = (await daemon.lines()).length;
	const client = await daemon.greeted(t, service);
	const listener = createServer({pauseOnConnect: true}).listen(0, '127.0.0.1');
	t.teardown(() => listener.close());
	await once(listener, 'listening');
	const {port} = listener.address() as {readonly port: number};
	const visitor = item.raw === undefined ? sClient(t, port, words, lab) : rawClient(port, item.raw);
	const [remote] = (await Promise.race([
		once(listener, 'connection'),
		visitor.then(output => {
			throw new Error(`${item.id} does not connect: ${output}`);
		}),
	])) as [Socket];
	const endpoint = `[127.0.0.1]:${remote.remotePort}`;
	const request: Request = {
		remoteEndpoint: endpoint,
		role: 'server',
		sendContext: true,
		probeOnly: false,
		handshakeTimeout: 100 as Seconds,
		sessionTimeout: 300 as Seconds,
		serverId,
		...item.request,
	};
	const {status, report} = await handOver(daemon, client, remote, request, {
		own: withFiles(item.settings ?? {}, lab),
		start: item.start,
	});
	let fromClient = '';
	if (status === 1 && !client.ended) {
		await client.send('220 hello\r\n');
		fromClient = String(await client.bytes(6));
	}

	client.socket.end();
	const output = await visitor;
	const rest = String(await client.rest());
	const end = `DISCONNECT ${endpoint}`;
	const lines = (await daemon.linesUpTo(end, known)).map(line => mask(line, endpoint, lab));
	return {
		status,
		report: report && {...report, namaddr: report.namaddr.replace(endpoint, '[PEER]')},
		data: [fromClient + rest, output.includes('220 hello')],
		client: output
			.split('\n')
			/* How the end of a refused connection arrives is a matter of time. */
			.filter(line => clientSays.test(line) && !line.includes('unexpected eof'))
			.map(line => line.replace(/^[\dA-F]{12,16}:/, '')),
		/* What a process says when it starts belongs to the case when it has the service to itself. */
		...comparable(item.settings === undefined ? lines.slice(lines.findIndex(isConnect)) : lines),
	};
}

/**
 * Hands the connection of a remote client over; it is the daemon's then, or closed.
 *
 * @param wish - parameters of the service, besides main.cf, and what else the request says of the connection.
 */
export async function handOver(
	daemon: Daemon,
	client: LocalClient,
	remote: Socket,
	request: Request,
	options: {
		readonly own?: Readonly<Record<string, string>> | undefined;
		readonly start?: Partial<ServerStart> | undefined;
	} = {},
): Promise<{readonly status: number; readonly report: HandshakeReport | undefined}> {
	await client.send(printRequest(request, daemon.features));
	if (daemon.features.serverSettings) {
		const {start, ...settings} = await settingsOf(daemon, options.own ?? {}, request);
		await client.send(
			printServerSettings({...settings, start: {...start, ...options.start}}, daemon.features),
		);
	}

	const status = statusOf(await client.list());
	if (status === 1) {
		client.pass((remote as unknown as {readonly _handle: {readonly fd: Fd}})._handle.fd);
	}

	remote.destroy();
	const list = status === 1 && request.sendContext ? await client.list() : undefined;
	return {status, report: list === undefined ? undefined : parseReport(list, daemon.features)};
}

/* Settings as a client has them whose parameters are those of the service. */
async function settingsOf(
	daemon: Daemon,
	own: Readonly<Record<string, string>>,
	{handshakeTimeout, remoteEndpoint, serverId}: Request,
): Promise<ServerSettings> {
	const configuration = await readConfiguration({
		configDirectory: daemon.sandbox.configDirectory,
		overrides: Object.entries(own),
		serviceName: 'tlsproxy',
		processName: 'tlsproxy',
	});
	const demands = serverRequirements(configuration) ?? {mandatory: false, asks: false, requires: false};
	const init = serverInit(configuration, demands);
	return {
		params: serverParams(configuration),
		init,
		start: {
			...serverStart(configuration, demands),
			log_param: init.log_param,
			log_level: init.log_level,
			timeout: handshakeTimeout,
			serverid: serverId,
			namaddr: remoteEndpoint,
			trace_size_limit: 0,
			trace_peer: '127.0.0.1',
		},
	};
}

function isConnect(line: string): boolean {
	return line.startsWith('CONNECT ');
}

/** What openssl s_client prints, until it ends. */
async function sClient(
	t: ExecutionContext,
	port: number,
	words: string,
	lab: CertificateStore,
): Promise<string> {
	const files = words.replaceAll(/%([\w.-]+)/g, (_, file: string) => lab.path(file));
	const child = spawn(
		'openssl',
		[
			's_client',
			'-connect',
			`127.0.0.1:${port}`,
			'-ign_eof',
			'-CAfile',
			lab.path('root.cert'),
			...files.split(' ').filter(word => word !== ''),
		],
		{stdio: ['pipe', 'pipe', 'pipe']},
	);
	/* One behind the other: which of them arrives first is a matter of time. */
	const output = [child.stdout, child.stderr].map(async stream => await text(stream));
	child.stdin.on('error', () => undefined);
	child.stdin.write('hello\n');
	t.teardown(() => child.kill('SIGKILL'));
	return (await Promise.all(output)).join('');
}

/* Bytes, and then the end. What comes back is an alert, if anything. */
async function rawClient(port: number, bytes: string): Promise<string> {
	const {connect} = await import('node:net');
	const socket = connect({port, host: '127.0.0.1'});
	let output = '';
	socket.setEncoding('latin1').on('data', (received: string) => {
		output += received;
	});
	socket.on('error', () => undefined);
	socket.end(Buffer.from(bytes, 'latin1'));
	await new Promise(resolve => {
		socket.once('close', resolve);
	});
	return `raw: ${Buffer.from(output, 'latin1').toString('hex')}`;
}

const clientSays =
	/^(subject=|issuer=|New, |Reused, |Server public key is|Peer sign|(?:Server|Peer) Temp Key|Acceptable client|Client Certificate Types|Requested Signature|No client certificate CA|Verification|Verify return code| +Protocol +:| +Cipher +:| {4}TLS session ticket lifetime| *Extended master| ?\d s:|CN = |raw: |[\dA-F]{12,16}:error)/;

function mask(line: string, endpoint: string, lab: CertificateStore): string {
	return line
		.replaceAll(endpoint, '[PEER]')
		.replaceAll(`${lab.directory}/`, '')
		.replaceAll(/\b[\dA-F]{64}&s=/g, 'ID&s=')
		.replaceAll(/key expiration: \d+/g, 'key expiration: TIME');
}

/** The cases of a fixture. */
export function casesOf(name: string): readonly ServerCase[] {
	return JSON.parse(
		readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8'),
	) as readonly ServerCase[];
}
