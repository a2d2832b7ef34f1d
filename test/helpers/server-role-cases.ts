/*
 * Cases of the server role for both programs: the same client, the same settings, and all
 * observable results.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {readFileSync, rmSync} from 'node:fs';
import {createServer, type Socket} from 'node:net';
import {text} from 'node:stream/consumers';
import type {ExecutionContext} from 'ava';
import type {Fd} from '../../src/base/units.ts';
import {readConfiguration} from '../../src/conf/postconf.ts';
import {serverInit, serverParams, serverStart} from '../../src/roles/main-cf-settings.ts';
import {serverRequirements} from '../../src/roles/server-role.ts';
import type {HandshakeReport} from '../../src/wire/handshake-report.ts';
import type {Request} from '../../src/wire/request.ts';
import type {ServerSettings, ServerStart} from '../../src/wire/server-settings.ts';
import type {LocalClient} from './client.ts';
import {serverRequest} from './client.ts';
import {comparableLines, type LogLines} from './client-role-cases.ts';
import {type Daemon, statusOf} from './daemon.ts';
import type {CertificateStore} from './openssl.ts';
import {parseReport, printRequest, printServerSettings} from './wire.ts';

/** A client, and the service that serves it. */
export interface ServerRoleCase {
	readonly id: string;
	/** Parameters of the service. `%name` is a file of the lab. A case with parameters has a separate service. */
	readonly settings?: Readonly<Record<string, string>>;
	/** Arguments for openssl s_client. */
	readonly client?: string;
	/** Bytes that are sent instead of a handshake. */
	readonly raw?: string;
	/** A second connection with the session of the first: arguments for openssl s_client, and another server ID. */
	readonly again?: {readonly client?: string; readonly serverId?: string};
	readonly serverId?: string;
	readonly request?: Partial<Request>;
	/** Other settings of the connection, if requests of the release have settings. */
	readonly start?: Partial<ServerStart>;
}

/** Observable results of one connection. */
export interface Visit extends LogLines {
	readonly status: number;
	readonly report: HandshakeReport | undefined;
	/** Output of the client about the server and the negotiated parameters. */
	readonly client: readonly string[];
	/** Data received on either side. */
	readonly data: readonly [fromClient: string, fromServer: boolean];
}

/** Name of the service of a case. */
export function serviceOf({id, settings}: ServerRoleCase): string {
	return settings === undefined ? 'tlsproxy' : `case-${id}`;
}

/** Parameters of a service, with file names filled in. */
export function withFiles(
	settings: Readonly<Record<string, string>>,
	lab: CertificateStore,
): Record<string, string> {
	return Object.fromEntries(
		Object.entries(settings).map(([name, value]) => [
			name,
			value.replaceAll(/%([\p{L}\w.-]+)/gu, (_, file: string) => lab.path(file)),
		]),
	);
}

/** Runs a case with a daemon. Returns the results of each connection. */
export async function runServerCase(
	t: ExecutionContext,
	daemon: Daemon,
	lab: CertificateStore,
	item: ServerRoleCase,
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

/** Runs one connection with a service. */
export async function visitService(
	t: ExecutionContext,
	daemon: Daemon,
	lab: CertificateStore,
	item: ServerRoleCase,
	service: string,
): Promise<Visit> {
	const {client: args = '', serverId = 'smtpd'} = item;
	const known = (await daemon.lines()).length;
	const client = await daemon.greeted(t, service);
	const listener = createServer({pauseOnConnect: true}).listen(0, '127.0.0.1');
	t.teardown(() => listener.close());
	await once(listener, 'listening');
	const {port} = listener.address() as {readonly port: number};
	const remoteClient = item.raw === undefined ? sClient(t, port, args, lab) : rawClient(port, item.raw);
	const [remote] = (await Promise.race([
		once(listener, 'connection'),
		remoteClient.then(output => {
			throw new Error(`${item.id} does not connect: ${output}`);
		}),
	])) as [Socket];
	const endpoint = `[127.0.0.1]:${remote.remotePort}`;
	const request: Request = {...serverRequest, remoteEndpoint: endpoint, serverId, ...item.request};
	const {status, report} = await handOffRemote(daemon, client, remote, request, {
		parameters: withFiles(item.settings ?? {}, lab),
		start: item.start,
	});
	let fromClient = '';
	if (status === 1 && !client.ended) {
		await client.send('220 hello\r\n');
		fromClient = String(await client.bytes(6));
	}

	client.socket.end();
	const output = await remoteClient;
	const rest = String(await client.rest());
	const end = `DISCONNECT ${endpoint}`;
	const lines = (await daemon.linesUpTo(end, known)).map(line => mask(line, endpoint, lab));
	return {
		status,
		report: report && {...report, namaddr: report.namaddr.replace(endpoint, '[PEER]')},
		data: [fromClient + rest, output.includes('220 hello')],
		client: output
			.split('\n')
			/* The error at the end of a refused connection depends on timing. */
			.filter(line => relevantOutput.test(line) && !line.includes('unexpected eof'))
			.map(line => line.replace(/^[\dA-F]{12,16}:/, '')),
		/* Lines about the start of a process belong to a case with a separate service. */
		...comparableLines(item.settings === undefined ? lines.slice(lines.findIndex(isConnect)) : lines),
	};
}

/**
 * Hands off the connection of a remote client. The daemon owns it afterwards, or it is closed.
 *
 * @param options - parameters of the service in addition to main.cf, and other settings of the connection.
 */
export async function handOffRemote(
	daemon: Daemon,
	client: LocalClient,
	remote: Socket,
	request: Request,
	options: {
		readonly parameters?: Readonly<Record<string, string>> | undefined;
		readonly start?: Partial<ServerStart> | undefined;
	} = {},
): Promise<{readonly status: number; readonly report: HandshakeReport | undefined}> {
	await client.send(printRequest(request, daemon.features));
	if (daemon.features.serverSettings) {
		const {start, ...settings} = await settingsOf(daemon, options.parameters ?? {}, request);
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

/* The settings of a client with the same parameters as the service. */
async function settingsOf(
	daemon: Daemon,
	parameters: Readonly<Record<string, string>>,
	{handshakeTimeout, remoteEndpoint, serverId}: Request,
): Promise<ServerSettings> {
	const configuration = await readConfiguration({
		configDirectory: daemon.sandbox.configDirectory,
		overrides: Object.entries(parameters),
		serviceName: 'tlsproxy',
		processName: 'tlsproxy',
	});
	const requirements = serverRequirements(configuration) ?? {
		mandatory: false,
		asksCertificate: false,
		requiresCertificate: false,
	};
	const init = serverInit(configuration, requirements);
	return {
		params: serverParams(configuration),
		init,
		start: {
			...serverStart(configuration, requirements),
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

/** Runs openssl s_client. Returns its output. */
async function sClient(
	t: ExecutionContext,
	port: number,
	args: string,
	lab: CertificateStore,
): Promise<string> {
	const files = args.replaceAll(/%([\p{L}\w.-]+)/gu, (_, file: string) => lab.path(file));
	const child = spawn(
		'openssl',
		[
			's_client',
			'-connect',
			`127.0.0.1:${port}`,
			'-ign_eof',
			'-CAfile',
			lab.path('root.cert'),
			...files.split(' ').filter(arg => arg !== ''),
		],
		{stdio: ['pipe', 'pipe', 'pipe']},
	);
	/* Concatenated, since the order of their lines depends on timing. */
	const output = [child.stdout, child.stderr].map(async stream => await text(stream));
	child.stdin.on('error', () => undefined);
	child.stdin.write('hello\n');
	t.teardown(() => child.kill('SIGKILL'));
	return (await Promise.all(output)).join('');
}

/* Sends bytes and closes. Returns the answer, which can only be an alert. */
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

const relevantOutput =
	/^(subject=|issuer=|New, |Reused, |Server public key is|Peer sign|(?:Server|Peer) Temp Key|Acceptable client|Client Certificate Types|Requested Signature|No client certificate CA|Verification|Verify return code| +Protocol +:| +Cipher +:| {4}TLS session ticket lifetime| *Extended master| ?\d s:|CN = |raw: |[\dA-F]{12,16}:error)/;

function mask(line: string, endpoint: string, lab: CertificateStore): string {
	return line
		.replaceAll(endpoint, '[PEER]')
		.replaceAll(`${lab.directory}/`, '')
		.replaceAll(/\b[\dA-F]{64}&s=/g, 'ID&s=')
		.replaceAll(/key expiration: \d+/g, 'key expiration: TIME');
}

/** The cases of a fixture. */
export function casesOf(name: string): readonly ServerRoleCase[] {
	return JSON.parse(
		readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8'),
	) as readonly ServerRoleCase[];
}
