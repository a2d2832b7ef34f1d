/*
 * Hand-offs with names of servers, one after the other to one process: the name that
 * the server is asked for, whether its certificate matches, and what is logged.
 */
import {chmodSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import type {Socket} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {createSecureContext, TLSSocket} from 'node:tls';
import {isDeepStrictEqual} from 'node:util';
import type {ExecutionContext} from 'ava';
import type {ClientStart} from '../../src/wire/client-settings.ts';
import {parseClientHello} from './client-hello.ts';
import {Daemon} from './daemon.ts';
import {Issuer} from './issuer.ts';
import {tcpPeer} from './remote-servers.ts';

/** What a request says, and what its server presents. */
export interface NamedCase {
	/** Name in the certificate of the server. */
	readonly certificate: string;
	readonly start: Partial<ClientStart>;
	/** Log level; as in main.cf. */
	readonly logLevel?: string;
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

/** A case with a name that is sent, and that the certificate has to have. */
export function sentAndMatched(name: string, certificate: string): NamedCase {
	return {certificate, start: {sni: wireName(name), matchargv: [wireName(name)]}};
}

/** An authority that both programs trust. Disposal removes its file. */
export class NameLab implements Disposable {
	readonly issuer: Issuer = new Issuer();
	readonly #directory = mkdtempSync(join(tmpdir(), 'names-'));
	/** File with the authority. */
	readonly authorities: string = join(this.#directory, 'root.pem');

	constructor() {
		chmodSync(this.#directory, 0o755);
		writeFileSync(this.authorities, this.issuer.authority);
	}

	/** Settings of a service that trusts it. */
	get main(): Readonly<Record<string, string>> {
		return {
			max_use: '100000',
			smtp_tls_CAfile: this.authorities,
			/* The default of older releases is another. */
			smtp_tls_fingerprint_digest: 'sha256',
		};
	}

	/**
	 * Puts cases to both programs, and fails if they differ. A process keeps what it has converted, so each
	 * call has processes of its own.
	 *
	 * @returns what was seen of stock.
	 */
	async compare(
		t: ExecutionContext,
		cases: readonly NamedCase[],
		settings: Readonly<Record<string, string>> = {},
	): Promise<readonly NamedOutcome[]> {
		const main = {...this.main, ...settings};
		await using ours = await Daemon.start('ours', {main});
		await using stock = await Daemon.start('stock', {main});
		const [found = [], wanted = []] = await Promise.all(
			[ours, stock].map(async daemon => await this.#put(t, daemon, cases)),
		);
		const differences = cases.flatMap((item, index) =>
			isDeepStrictEqual(found[index], wanted[index])
				? []
				: [{...item, ours: found[index], stock: wanted[index]}],
		);
		t.is(found.length, cases.length);
		t.is(wanted.length, cases.length);
		t.deepEqual(differences.slice(0, 5), [], `${differences.length} of ${cases.length} differ`);
		return wanted;
	}

	/* One process, one case after the other. */
	async #put(
		t: ExecutionContext,
		daemon: Daemon,
		cases: readonly NamedCase[],
	): Promise<readonly NamedOutcome[]> {
		const server = await NamedServer.start(t, this.issuer);
		const before = (await daemon.lines()).length;
		const outcomes: Array<Omit<NamedOutcome, 'lines'>> = [];
		for (const item of cases) {
			outcomes.push(await this.put(t, daemon, server, item));
		}

		const lines = await linesOfAll(daemon, before, cases.length, server.port);
		return outcomes.map((outcome, index) => ({...outcome, lines: lines[index] ?? []}));
	}

	/** Puts one case to a daemon, without a look at its log. */
	async put(
		t: ExecutionContext,
		daemon: Daemon,
		server: NamedServer,
		item: NamedCase,
		service?: string,
	): Promise<Omit<NamedOutcome, 'lines'>> {
		server.expect(item.certificate);
		const options = {
			init: {
				CAfile: this.authorities,
				verifydepth: 9,
				mdalg: 'sha256',
				log_level: item.logLevel ?? '1',
			},
			start: {
				tls_level: SECURE,
				mdalg: 'sha256',
				cipher_grade: 'medium',
				cipher_exclusions: 'aNULL',
				...item.start,
			},
		};
		const {client, status, report} = await daemon.transfer(t, server.port, options, service);
		client.socket.end();
		await client.rest();
		client[Symbol.dispose]();
		const name = parseClientHello(server.hello)?.extensions.find(text => text.startsWith('0 '));
		return {
			status,
			serverName: name?.slice('0 '.length),
			helloSent: server.hello.length > 0,
			peerStatus: report?.peer_status,
		};
	}

	[Symbol.dispose](): void {
		rmSync(this.#directory, {recursive: true});
	}
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

function ends(line: string): boolean {
	return line.startsWith('DISCONNECT ');
}

/* Sessions come one after the other; only the end of one may be logged after the beginning of the next. */
async function linesOfAll(
	daemon: Daemon,
	before: number,
	count: number,
	port: number,
): Promise<ReadonlyArray<readonly string[]>> {
	let lines: readonly string[] = [];
	await daemon.sandbox.waitFor(async () => {
		lines = (await daemon.lines()).slice(before);
		return lines.filter(line => ends(line)).length >= count;
	});
	const sessions: string[][] = [];
	/* How many steps OpenSSL takes depends on how the bytes come. */
	for (const line of lines.filter(text => !ends(text) && !text.startsWith('SSL_connect:'))) {
		if (line.startsWith('CONNECT ')) {
			sessions.push([]);
		} else {
			/* Some releases leave bytes in the log that are not UTF-8. */
			sessions.at(-1)?.push(line.replaceAll(`:${port}`, ':PORT').replaceAll('\uFFFD', '?'));
		}
	}

	return sessions;
}
