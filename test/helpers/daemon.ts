/*
 * tlsproxy(8), this program or stock, under a real master(8). The test is its client. Stock
 * is the oracle: the same hand-offs with either program must have the same results.
 */
import {existsSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import type {ExecutionContext} from 'ava';
import {mailVersion} from '../../postfix/lib/instance.ts';
import {Sandbox, type SandboxOptions} from '../../postfix/lib/sandbox.ts';
import type {Seconds} from '../../src/base/units.ts';
import {type ReleaseFeatures, releaseFeatures} from '../../src/conf/release.ts';
import type {AttributeList} from '../../src/wire/attribute-list.ts';
import type {ClientInit, ClientParams, ClientSettings, ClientStart} from '../../src/wire/client-settings.ts';
import type {HandshakeReport} from '../../src/wire/handshake-report.ts';
import type {Request} from '../../src/wire/request.ts';
import {LocalClient, recordedSettings} from './client.ts';
import {connectTo} from './openssl.ts';
import {residentSize} from './processes.ts';
import {parseReport, printClientSettings, printRequest} from './wire.ts';

/** Differences from a hand-off of smtp(8) at level encrypt. */
export interface HandoffOptions {
	readonly request?: Partial<Request>;
	readonly params?: Partial<ClientParams>;
	readonly init?: Partial<ClientInit>;
	readonly start?: Partial<ClientStart>;
}

/** The state of a hand-off after the handshake. */
export interface Handoff {
	readonly client: LocalClient;
	readonly endpoint: string;
	/** Number of log lines before the hand-off. Endpoint names repeat, because ports are reused. */
	readonly linesBefore: number;
	readonly status: number;
	/** Undefined if the daemon has closed the stream instead. */
	readonly report: HandshakeReport | undefined;
}

/** This program, or stock tlsproxy(8). */
export type Program = 'ours' | 'stock';

/** An instance of Postfix with one tlsproxy(8) service. Disposal stops it. */
export class Daemon implements AsyncDisposable {
	readonly sandbox: Sandbox;
	readonly features: ReleaseFeatures;

	private constructor(sandbox: Sandbox, features: ReleaseFeatures) {
		this.sandbox = sandbox;
		this.features = features;
	}

	/**
	 * Starts an instance. master(8) starts a process for the first client.
	 *
	 * @param release - Postfix release of the clients.
	 */
	static async start(
		which: Program,
		options: SandboxOptions = {},
		release: string = mailVersion(),
	): Promise<Daemon> {
		await using stack = new AsyncDisposableStack();
		const sandbox = stack.use(
			await Sandbox.create({
				...options,
				tlsproxy: which,
				...(which === 'ours' ? {processLimit: options.processLimit ?? 1} : {}),
				main: {smtp_tls_security_level: 'encrypt', smtp_tls_loglevel: '1', ...options.main},
			}),
		);
		await sandbox.start();
		stack.move();
		return new Daemon(sandbox, releaseFeatures(release));
	}

	async connect(service = 'tlsproxy'): Promise<LocalClient> {
		return await LocalClient.connect(join(this.sandbox.queueDirectory, 'private', service));
	}

	/** Connects and reads the greeting. The connection is closed at the end of the test. */
	async greeted(t: ExecutionContext, service?: string): Promise<LocalClient> {
		const client = await this.connect(service);
		t.teardown(() => client[Symbol.dispose]());
		if (this.features.greeting) {
			await client.list();
		}

		return client;
	}

	/** The encoded request and settings of a hand-off. */
	messages(
		endpoint: string,
		options: HandoffOptions = {},
	): readonly [request: Uint8Array, settings: Uint8Array] {
		const request: Request = {
			remoteEndpoint: endpoint,
			role: 'client',
			sendContext: true,
			probeOnly: false,
			/* Long, so that a busy machine does not reach them in tests of something else. */
			handshakeTimeout: 100 as Seconds,
			sessionTimeout: 300 as Seconds,
			serverId: 'smtp:test.example',
			...options.request,
		};
		return [
			printRequest(request, this.features),
			printClientSettings(this.settings(endpoint, options), this.features),
		];
	}

	/** The settings of a hand-off in the client role. */
	settings(endpoint: string, options: HandoffOptions = {}): ClientSettings {
		const {params, init, start} = recordedSettings(this.features);
		return {
			params: {...params, ...options.params},
			init: {...init, log_param: 'smtp_tls_loglevel', log_level: '1', ...options.init},
			start: {
				...start,
				nexthop: 'test.example',
				host: 'test.example',
				namaddr: `test.example${endpoint}`,
				...options.start,
			},
		};
	}

	/** Hands off a new connection to a local port, like smtp(8). */
	async handOff(
		t: ExecutionContext,
		port: number,
		options: HandoffOptions = {},
		service?: string,
	): Promise<Handoff> {
		const linesBefore = (await this.lines()).length;
		return {linesBefore, ...(await this.transfer(t, port, options, service))};
	}

	/** The same without a look at the log, which takes long when it is long. */
	async transfer(
		t: ExecutionContext,
		port: number,
		options: HandoffOptions = {},
		service?: string,
	): Promise<Omit<Handoff, 'linesBefore'>> {
		const client = await this.greeted(t, service);
		const fd = connectTo(t, port);
		const endpoint = `[127.0.0.1]:${port}`;
		for (const message of this.messages(endpoint, options)) {
			await client.send(message);
		}

		const status = statusOf(await client.list());
		let report: HandshakeReport | undefined;
		if (status === 1) {
			client.pass(fd.value);
		}

		/* A server that serves one client after the other waits for its end. */
		fd[Symbol.dispose]();
		if (status === 1) {
			if (options.request?.sendContext !== false) {
				const list = await client.list();
				report = list === undefined ? undefined : parseReport(list, this.features);
			}
		}

		return {client, endpoint, status, report};
	}

	/** The worker. @throws unless there is exactly one. */
	get pid(): number {
		const [pid, ...others] = this.sandbox.tlsproxyWorkers();
		if (pid === undefined || others.length > 0) {
			throw new Error(`${pid === undefined ? 0 : 1 + others.length} workers`);
		}

		return pid;
	}

	/** The number of open descriptors of the worker. */
	descriptors(): number {
		return readdirSync(`/proc/${this.pid}/fd`).length;
	}

	/** Waits until the number is within a limit: ended sessions may still be open. Returns the last number. */
	async descriptorsUpTo(limit: number): Promise<number> {
		let count = this.descriptors();
		await this.sandbox.waitFor(() => {
			count = this.descriptors();
			return count <= limit;
		});
		return count;
	}

	/** Resident memory of the worker, in bytes. */
	memory(): number {
		return residentSize(this.pid);
	}

	/** Whether a process exists. */
	lives(pid: number): boolean {
		return existsSync(`/proc/${pid}`);
	}

	/** The log lines of tlsproxy(8), without time, host and process ID. */
	async lines(): Promise<readonly string[]> {
		return await programLines(this.sandbox, 'tlsproxy');
	}

	/** Waits for a log line after the first `linesBefore` lines: lines are logged after the event. */
	async linesUpTo(wanted: string | RegExp, linesBefore = 0): Promise<readonly string[]> {
		return await linesUpTo(this.sandbox, wanted, async () => (await this.lines()).slice(linesBefore));
	}

	/** The log lines of a session, from CONNECT to DISCONNECT. */
	async linesOf({
		endpoint,
		linesBefore,
	}: Pick<Handoff, 'endpoint' | 'linesBefore'>): Promise<readonly string[]> {
		const last = `DISCONNECT ${endpoint}`;
		const lines = await this.linesUpTo(last, linesBefore);
		const first = lines.findIndex(line => line.startsWith('CONNECT ') && line.endsWith(endpoint));
		return lines.slice(first, lines.indexOf(last) + 1).map(line => line.replaceAll(endpoint, '[PEER]'));
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.sandbox.stop();
	}
}

/** The log lines of a program, without time, host and process ID. */
export async function programLines(sandbox: Sandbox, program: string): Promise<readonly string[]> {
	const prefix = new RegExp(String.raw`^.*? postfix/${program}\[\d+\]: `);
	return (await sandbox.logLines(prefix)).map(line => line.replace(prefix, ''));
}

/** Waits until a log has a line, or one that matches. Returns all lines. */
export async function linesUpTo(
	sandbox: Sandbox,
	wanted: string | RegExp,
	read: () => Promise<readonly string[]>,
): Promise<readonly string[]> {
	let lines: readonly string[] = [];
	const found = await sandbox.waitFor(async () => {
		lines = await read();
		return lines.some(line => (typeof wanted === 'string' ? line === wanted : wanted.test(line)));
	});
	if (!found) {
		throw new Error(`no line ${String(wanted)}:\n${await sandbox.log()}`);
	}

	return lines;
}

/** The value of a status list; -1 if the stream has ended. */
export function statusOf(list: AttributeList | undefined): number {
	const [status] = list ?? [];
	return status?.[0] === 'status' ? Number(status[1]) : -1;
}
