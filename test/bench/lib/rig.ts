/*
 * Both programs, each under a separate master(8), and the servers that they connect
 * to. The configurations differ only in the program.
 */
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {makeCertificates} from '../../../postfix/lib/certificates.ts';
import type {ProcessEntry} from '../../../postfix/lib/processes.ts';
import type {SandboxOptions} from '../../../postfix/lib/sandbox.ts';
import {Daemon, type HandoffOptions, type Program} from '../../helpers/daemon.ts';
import {handshakes, type Load, type Target} from './driver.ts';
import {Peer} from './peer.ts';
import {cpuSeconds, processesOf} from './process.ts';

/** Kinds of servers. */
export type PeerKind = 'ecdsa' | 'rsa';

/** Name in all certificates. */
const HOST = 'test.example';

/** The two programs, in the order of tables. */
export const programs: readonly Program[] = ['stock', 'ours'];

/** Certificates of servers, and the file of authorities that verifies them. */
export class Authority implements Disposable {
	readonly directory: string = mkdtempSync(join(tmpdir(), 'tlsproxy-bench-'));

	get caFile(): string {
		return join(this.directory, 'ca.pem');
	}

	static async make(): Promise<Authority> {
		const authority = new Authority();
		const authorities = await Promise.all(
			(['ecdsa', 'rsa'] as const).map(async kind => {
				const directory = mkdtempSync(join(authority.directory, `${kind}-`));
				const {caFile, certFile, keyFile} = await makeCertificates(directory, HOST, kind);
				authority.#files.set(kind, {certFile, keyFile});
				return readFileSync(caFile, 'utf8');
			}),
		);
		writeFileSync(authority.caFile, authorities.join(''));
		/* Must be readable by mail_owner: stock reads it without privileges if the settings differ from tlsproxy_client_*. */
		return authority;
	}

	readonly #files = new Map<PeerKind, {readonly certFile: string; readonly keyFile: string}>();

	/** Starts a server. */
	async peer(kind: PeerKind, maxVersion?: 'TLSv1.2'): Promise<Peer> {
		const files = this.#files.get(kind);
		if (files === undefined) {
			throw new Error(`no certificate of kind ${kind}`);
		}

		return await Peer.start({...files, ...(maxVersion === undefined ? {} : {maxVersion})});
	}

	[Symbol.dispose](): void {
		rmSync(this.directory, {recursive: true, force: true});
	}
}

/** The configuration of a service. */
export interface ServiceOptions {
	readonly main?: Readonly<Record<string, string>>;
	/** Process limit of this program; stock has no limit. Default: one process. */
	readonly processLimit?: number;
	/** Whether tlsmgr(8) stores TLS sessions, which are then resumed. */
	readonly resume?: boolean;
	/** Leave max_use and max_idle at their defaults, so that processes end during the measurement. */
	readonly defaults?: boolean;
}

/** A running service with one of the programs. Disposal ends it. */
export class Service implements AsyncDisposable {
	readonly program: Program;
	readonly daemon: Daemon;
	readonly #caFile: string;

	private constructor(program: Program, daemon: Daemon, caFile: string) {
		this.program = program;
		this.daemon = daemon;
		this.#caFile = caFile;
	}

	static async start(program: Program, authority: Authority, options: ServiceOptions = {}): Promise<Service> {
		const resume = options.resume ?? false;
		const sandbox: SandboxOptions = {
			...(options.processLimit === undefined ? {} : {processLimit: options.processLimit}),
			main: {
				...(options.defaults === true ? {} : {max_use: '100000000', max_idle: '1h'}),
				smtp_tls_CAfile: authority.caFile,
				smtp_tls_loglevel: '1',
				...(resume ? {smtp_tls_session_cache_database: 'btree:$data_directory/smtp_scache'} : {}),
				...options.main,
			},
		};
		return new Service(program, await Daemon.start(program, sandbox), authority.caFile);
	}

	/** A target for hand-offs to a server: level secure, with verification, and the settings of smtp(8). */
	target(peer: Peer, options: HandoffOptions = {}): Target {
		const endpoint = `[127.0.0.1]:${peer.port}`;
		const messages = this.daemon.messages(endpoint, {
			request: {sessionTimeout: 3600 as never, ...options.request},
			init: {CAfile: this.#caFile, ...options.init},
			start: {
				tls_level: 8,
				nexthop: HOST,
				host: HOST,
				helo: HOST,
				namaddr: `${HOST}${endpoint}`,
				serverid: `smtp&${endpoint}`,
				matchargv: ['nexthop', 'dot-nexthop'],
				...options.start,
			},
		});
		return {path: join(this.daemon.sandbox.queueDirectory, 'private', 'tlsproxy'), port: peer.port, messages};
	}

	/** All processes of the service. */
	processes(): readonly ProcessEntry[] {
		return processesOf(this.daemon.sandbox, 'tlsproxy');
	}

	/** CPU seconds of its processes since their start. */
	cpu(): number {
		return this.processes().reduce((sum, process) => sum + cpuSeconds(process.pid), 0);
	}

	/** CPU seconds that the service uses while a function runs. */
	async cpuOf(run: () => Promise<unknown>): Promise<number> {
		const before = this.cpu();
		await run();
		/* Sessions end shortly after their clients. */
		await sleep(150);
		return this.cpu() - before;
	}

	/** Starts a process, makes V8 compile functions that are called often, and fills caches. */
	async warmUp(target: Target, load: Load = {count: 400, concurrency: 16}): Promise<void> {
		await handshakes(target, load);
		await sleep(150);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.daemon[Symbol.asyncDispose]();
	}
}

/** Starts both programs. The stack owns them. */
export async function startBoth(
	stack: AsyncDisposableStack,
	authority: Authority,
	options: ServiceOptions = {},
): Promise<readonly Service[]> {
	const services: Service[] = [];
	for (const program of programs) {
		services.push(stack.use(await Service.start(program, authority, options)));
	}

	return services;
}
