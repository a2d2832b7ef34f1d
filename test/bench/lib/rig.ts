/*
 * Both programs, each under a master(8) of its own, and the servers that they
 * talk to. What is compared differs in the program only.
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

/** Certificates of servers, and whom to trust for them. */
export class Authority implements Disposable {
	readonly directory: string = mkdtempSync(join(tmpdir(), 'tlsproxy-bench-'));

	get caFile(): string {
		return join(this.directory, 'ca.pem');
	}

	static async make(): Promise<Authority> {
		const authority = new Authority();
		const made = await Promise.all(
			(['ecdsa', 'rsa'] as const).map(async kind => {
				const directory = mkdtempSync(join(authority.directory, `${kind}-`));
				const {caFile, certFile, keyFile} = await makeCertificates(directory, HOST, kind);
				authority.#files.set(kind, {certFile, keyFile});
				return readFileSync(caFile, 'utf8');
			}),
		);
		writeFileSync(authority.caFile, made.join(''));
		/* Stock reads it as root, and for other settings than its own as mail_owner. */
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

/** How a service is set up. */
export interface ServiceOptions {
	readonly main?: Readonly<Record<string, string>>;
	/** Process limit of ours; stock has none. Default: one process. */
	readonly processLimit?: number;
	/** Keep TLS sessions with tlsmgr(8), and resume them. */
	readonly resume?: boolean;
	/** Do not raise the limits that have a process end now and then. */
	readonly defaults?: boolean;
}

/** One program that serves. Disposal ends it. */
export class Service implements AsyncDisposable {
	readonly which: Program;
	readonly daemon: Daemon;
	readonly #caFile: string;

	private constructor(which: Program, daemon: Daemon, caFile: string) {
		this.which = which;
		this.daemon = daemon;
		this.#caFile = caFile;
	}

	static async start(which: Program, authority: Authority, options: ServiceOptions = {}): Promise<Service> {
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
		return new Service(which, await Daemon.start(which, sandbox), authority.caFile);
	}

	/** Where hand-offs to a server go: level secure, with verification, as smtp(8) asks for it. */
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

	/** All processes of the service, whatever they are there for. */
	processes(): readonly ProcessEntry[] {
		return processesOf(this.daemon.sandbox, 'tlsproxy');
	}

	/** CPU seconds that its processes have used so far. */
	cpu(): number {
		return this.processes().reduce((sum, process) => sum + cpuSeconds(process.pid), 0);
	}

	/** CPU seconds that something takes. */
	async cpuOf(run: () => Promise<unknown>): Promise<number> {
		const before = this.cpu();
		await run();
		/* Sessions end after their clients do. */
		await sleep(150);
		return this.cpu() - before;
	}

	/** Starts a process, has V8 compile what is used often, and fills what is filled once. */
	async warmUp(target: Target, load: Load = {count: 400, atOnce: 16}): Promise<void> {
		await handshakes(target, load);
		await sleep(150);
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.daemon[Symbol.asyncDispose]();
	}
}

/** Both programs, ready. */
export async function startBoth(
	stack: AsyncDisposableStack,
	authority: Authority,
	options: ServiceOptions = {},
): Promise<readonly Service[]> {
	const services: Service[] = [];
	for (const which of programs) {
		services.push(stack.use(await Service.start(which, authority, options)));
	}

	return services;
}
