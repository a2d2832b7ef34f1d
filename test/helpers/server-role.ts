/*
 * Connections of the server role in this process, with a client that is in this
 * process, too: no step depends on time.
 */
import {readSync, writeSync} from 'node:fs';
import type {ExecutionContext} from 'ava';
import {AGAIN, WANT_READ, WANT_WRITE} from '../../src/base/io-result.ts';
import type {Owned} from '../../src/base/owned.ts';
import type {Seconds} from '../../src/base/units.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {allocate} from '../../src/ffi/libc/libc.ts';
import {DONE} from '../../src/tls/connection/connection.ts';
import {
	openServerConnection,
	type ServerConnection,
	type ServerConnectionSettings,
} from '../../src/tls/connection/server-connection.ts';
import {CredentialStore} from '../../src/tls/context/credential-store.ts';
import {
	createServerContext,
	type ServerContext,
	type ServerParams,
} from '../../src/tls/context/server-context.ts';
import type {SniMaps} from '../../src/tls/context/sni.ts';
import type {ServerSessionPolicy, ServerSessions} from '../../src/tls/resume/server-resumption.ts';
import type {ServerInit} from '../../src/wire/server-settings.ts';
import type {TicketKey} from '../../src/wire/ticket-key.ts';
import {socketPair} from './descriptors.ts';
import {defaultParams, postfix37} from './openssl.ts';
import {RawTls} from './raw-tls.ts';

const defaultServerParams: ServerParams = {
	...defaultParams,
	config_file: 'default',
	config_name: '',
	tls_ffdhe_auto_groups: '',
	tls_fast_shutdown_enable: 1,
	tls_server_sni_maps: '',
	tls_trust_server_ccerts: 0,
};
const defaultServerInit: ServerInit = {
	log_param: 'tlsproxy_tls_loglevel',
	log_level: '1',
	verifydepth: 9,
	cache_type: 'smtpd',
	set_sessid: 0,
	chain_files: '',
	cert_file: '',
	key_file: '',
	dcert_file: '',
	dkey_file: '',
	eccert_file: '',
	eckey_file: '',
	CAfile: '',
	CApath: '',
	protocols: '>=TLSv1',
	eecdh_grade: 'auto',
	dh1024_param_file: '',
	dh512_param_file: '',
	ask_ccert: 0,
	mdalg: 'sha256',
};
export const defaultServerStart: ServerConnectionSettings = {
	enable_rpk: 0,
	requirecert: 0,
	serverid: 'smtpd',
	namaddr: 'Client.example.com[127.0.0.1]:2525',
	cipher_grade: 'medium',
	cipher_exclusions: '',
	mdalg: 'sha256',
};

const noMaps: SniMaps = {empty: true, find: () => ({kind: 'nothing'})};

/** Replaces tlsmgr(8). It has one ticket key, and completes lookups during the call unless `pending` is an array. */
export class MemorySessions implements ServerSessions {
	perService = false;
	policy: ServerSessionPolicy = {cachable: true, timeout: 3600 as Seconds};
	/** The calls, in order. */
	readonly calls: string[] = [];
	/** Sessions by key. */
	readonly stored = new Map<string, Uint8Array>();
	/** Lookups that the test completes. */
	pending: Array<() => void> | undefined;
	/** Whether there is a ticket key. */
	hasKey = true;
	/** All ticket keys and sessions that lookups have returned. Each is a new object. */
	readonly results: Array<WeakRef<TicketKey | Uint8Array>> = [];

	policyOf(): ServerSessionPolicy {
		return this.policy;
	}

	find(_cacheType: string, key: string, done: (session: Uint8Array | undefined) => void): void {
		this.calls.push('find');
		const session = this.stored.get(key);
		this.#complete(session && Uint8Array.from(session), done);
	}

	store(_cacheType: string, key: string, session: Uint8Array): void {
		this.calls.push('store');
		this.results.push(new WeakRef(session));
		this.stored.set(key, Uint8Array.from(session));
	}

	ticketKey(
		name: Uint8Array | undefined,
		_timeout: Seconds,
		done: (key: TicketKey | undefined) => void,
	): void {
		this.calls.push(name === undefined ? 'issuing key' : 'decrypting key');
		const key = {
			name: Buffer.alloc(16, 'n'),
			cipherKey: Buffer.alloc(32, 'c'),
			macKey: Buffer.alloc(32, 'm'),
			expires: Math.floor(Date.now() / 1000) + 3600,
		};
		this.#complete(this.hasKey ? key : undefined, done);
	}

	#complete<Value extends TicketKey | Uint8Array>(
		value: Value | undefined,
		done: (value: Value | undefined) => void,
	): void {
		if (value !== undefined) {
			this.results.push(new WeakRef(value));
		}

		if (this.pending === undefined) {
			done(value);
		} else {
			this.pending.push(() => done(value));
		}
	}
}

/** An SSL_CTX of the server role, until the test ends. */
export function serverContextFor(
	t: ExecutionContext,
	{
		init = {},
		params = {},
		sessions = new MemorySessions(),
		maps = noMaps,
		release,
	}: {
		readonly init?: Partial<ServerInit>;
		readonly params?: Partial<ServerParams>;
		readonly sessions?: ServerSessions;
		readonly maps?: SniMaps;
		readonly release?: string;
	},
): ServerContext {
	const context = createServerContext(
		{...defaultServerParams, ...params},
		{...defaultServerInit, ...init},
		{
			credentialStore: new CredentialStore(),
			sessions,
			maps,
			features: release === undefined ? postfix37 : releaseFeatures(release),
		},
	);
	if (context === undefined) {
		throw new Error('cannot create the SSL_CTX');
	}

	t.teardown(() => context[Symbol.dispose]());
	return context;
}

const block = allocate(65_536);

/** A connection of the server role and its client, until the test ends. */
export class ServerPair implements Disposable {
	readonly server: ServerConnection;
	readonly client: RawTls;
	/** The client's descriptor. */
	readonly #fd: number;
	readonly #scratch = Buffer.alloc(65_536);
	#disposed = false;

	constructor(
		t: ExecutionContext,
		context: ServerContext,
		{
			version,
			start = {},
			session,
			serverName,
		}: {
			readonly version: number;
			readonly start?: Partial<ServerConnectionSettings>;
			/** Offered by the client; borrowed. */
			readonly session?: Owned<bigint>;
			readonly serverName?: string;
		},
	) {
		const [serverSocket, clientSocket] = socketPair(t);
		const server = openServerConnection(context, {...defaultServerStart, ...start}, serverSocket.fd);
		if (server === undefined) {
			throw new Error('cannot prepare the connection');
		}

		this.server = server;
		this.client = new RawTls(version);
		this.#fd = clientSocket.fd;
		t.teardown(() => this[Symbol.dispose]());
		if (session !== undefined) {
			this.client.offer(session);
		}

		if (serverName !== undefined) {
			this.client.setServerName(serverName);
		}
	}

	/** Runs the handshake until both sides are done, or the server needs a lookup or has failed. */
	handshake(): number {
		for (let steps = 0; steps < 100; steps++) {
			const clientDone = this.client.handshake();
			this.#transfer();
			const result = this.server.handshake();
			this.#transfer();
			if (result === DONE ? clientDone || this.client.handshake() : !isWaiting(result)) {
				return result;
			}
		}

		throw new Error('the handshake does not end');
	}

	/** Sends text in both directions. The client also processes the tickets that it has received. */
	echo(text: string): void {
		this.client.write(Buffer.from(text));
		this.#transfer();
		const received = Buffer.from(block.bytes.subarray(0, this.#read())).toString();
		if (received !== text) {
			throw new Error(`server has received "${received}"`);
		}

		this.server.write(Buffer.from(text), text.length);
		this.#transfer();
		const returned = this.client.read().toString();
		if (returned !== text) {
			throw new Error(`client has received "${returned}"`);
		}
	}

	[Symbol.dispose](): void {
		if (!this.#disposed) {
			this.#disposed = true;
			this.server[Symbol.dispose]();
			this.client[Symbol.dispose]();
		}
	}

	#read(): number {
		for (;;) {
			const size = this.server.read(block.address, 65_536);
			if (size !== AGAIN) {
				return size;
			}
		}
	}

	/* Moves records between the client and its socket. */
	#transfer(): void {
		const bytes = this.client.take();
		if (bytes.length > 0) {
			writeSync(this.#fd, bytes);
		}

		for (;;) {
			try {
				const size = readSync(this.#fd, this.#scratch);
				if (size === 0) {
					return;
				}

				this.client.feed(this.#scratch.subarray(0, size));
			} catch (reason) {
				if ((reason as NodeJS.ErrnoException).code === 'EAGAIN') {
					return;
				}

				throw reason;
			}
		}
	}
}

function isWaiting(result: number): boolean {
	return result === WANT_READ || result === WANT_WRITE || result === AGAIN;
}
