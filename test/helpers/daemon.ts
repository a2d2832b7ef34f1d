/*
 * tlsproxy(8) under a real master(8), ours or stock, with nothing but a test in
 * front of it. What one does the other has to do: the same hand-offs go to both.
 */
import {existsSync, readdirSync, readFileSync} from 'node:fs';
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
import {parseReport, printClientSettings, printRequest} from './wire.ts';

/** How a hand-off differs from that of smtp(8) at level encrypt. */
export interface HandoffOptions {
	readonly request?: Partial<Request>;
	readonly params?: Partial<ClientParams>;
	readonly init?: Partial<ClientInit>;
	readonly start?: Partial<ClientStart>;
}

/** A hand-off that has come as far as its context. */
export interface HandedOff {
	readonly client: LocalClient;
	readonly endpoint: string;
	/** How many lines the log had before. Ports come back, and with them their names. */
	readonly linesBefore: number;
	readonly status: number;
	/** Undefined when the daemon closed the stream instead. */
	readonly report: HandshakeReport | undefined;
}

/** Which program. */
export type Which = 'ours' | 'stock';

/** One tlsproxy(8) service. Disposal ends it. */
export class Daemon implements AsyncDisposable {
	readonly sandbox: Sandbox;
	readonly features: ReleaseFeatures;

	private constructor(sandbox: Sandbox, features: ReleaseFeatures) {
		this.sandbox = sandbox;
		this.features = features;
	}

	/**
	 * Starts one. Whoever connects first has it start a process.
	 *
	 * @param release - of its clients.
	 */
	static async start(
		which: Which,
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

	/** Connects and reads the greeting; the client goes when the test ends. */
	async greeted(t: ExecutionContext, service?: string): Promise<LocalClient> {
		const client = await this.connect(service);
		t.teardown(() => client[Symbol.dispose]());
		if (this.features.greeting) {
			await client.list();
		}

		return client;
	}

	/** Bytes of a request and of its settings. */
	messages(
		endpoint: string,
		options: HandoffOptions = {},
	): readonly [request: Uint8Array, settings: Uint8Array] {
		const request: Request = {
			remoteEndpoint: endpoint,
			role: 'client',
			sendContext: true,
			probeOnly: false,
			/* Long: what is not about time limits must not meet one because the machine is busy. */
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

	/** Hands off a new connection to a port of this host, as smtp(8) does. */
	async handOff(
		t: ExecutionContext,
		port: number,
		options: HandoffOptions = {},
		service?: string,
	): Promise<HandedOff> {
		const linesBefore = (await this.lines()).length;
		return {linesBefore, ...(await this.transfer(t, port, options, service))};
	}

	/** The same without a look at the log, which takes long when it is long. */
	async transfer(
		t: ExecutionContext,
		port: number,
		options: HandoffOptions = {},
		service?: string,
	): Promise<Omit<HandedOff, 'linesBefore'>> {
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

	/** The process that serves. */
	get pid(): number {
		const [pid, ...others] = this.sandbox.tlsproxyWorkers();
		if (pid === undefined || others.length > 0) {
			throw new Error(`${others.length} more than one process`);
		}

		return pid;
	}

	/** What the process has open, without what its runtime has. */
	descriptors(): number {
		return readdirSync(`/proc/${this.pid}/fd`).length;
	}

	/** The same, as soon as there are no more than so many; sessions that have ended may take a moment. */
	async descriptorsUpTo(limit: number): Promise<number> {
		let count = this.descriptors();
		await this.sandbox.waitFor(() => {
			count = this.descriptors();
			return count <= limit;
		}, 20_000);
		return count;
	}

	/** Resident memory of the process, in bytes. */
	memory(): number {
		const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
		return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
	}

	/** Whether a process lives. */
	lives(pid: number): boolean {
		return existsSync(`/proc/${pid}`);
	}

	/** What tlsproxy has logged, without time, host and process id; what differs from run to run is masked. */
	async lines(): Promise<readonly string[]> {
		const lines = await this.sandbox.logLines(/postfix\/tlsproxy\[/);
		return lines.map(line => line.replace(/^.*? postfix\/tlsproxy\[\d+\]: /, ''));
	}

	/** The same, as soon as there is a wanted one behind the first so many: lines come later than what they are about. */
	async linesUpTo(wanted: string | RegExp, linesBefore = 0): Promise<readonly string[]> {
		return await linesUpTo(this.sandbox, wanted, async () => (await this.lines()).slice(linesBefore));
	}

	/** Lines from the beginning of a session up to its end. */
	async linesOf({
		endpoint,
		linesBefore,
	}: Pick<HandedOff, 'endpoint' | 'linesBefore'>): Promise<readonly string[]> {
		const last = `DISCONNECT ${endpoint}`;
		const lines = await this.linesUpTo(last, linesBefore);
		const first = lines.findIndex(line => line.startsWith('CONNECT ') && line.endsWith(endpoint));
		return lines.slice(first, lines.indexOf(last) + 1).map(line => line.replaceAll(endpoint, '[PEER]'));
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.sandbox.stop();
	}
}

/** Waits until a log has a line, or one that matches, and reads it then. */
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

/** The value of a status list; -1 when there is none. */
export function statusOf(list: AttributeList | undefined): number {
	const [status] = list ?? [];
	return status?.[0] === 'status' ? Number(status[1]) : -1;
}
