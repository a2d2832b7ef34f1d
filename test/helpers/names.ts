/*
 * Hand-offs with server names, one after another to one process. The results are the
 * SNI name, whether the certificate matches, and the log lines.
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

/** The settings of a request, and the certificate of its server. */
export interface NamedCase {
	/** Name in the certificate of the server. */
	readonly certificate: string;
	readonly start: Partial<ClientStart>;
	/** Log level, in the syntax of main.cf. */
	readonly logLevel?: string;
}

/** The observable results of a case. */
export interface NamedOutcome {
	readonly status: number;
	/** Extension 0 of the ClientHello, hexadecimal; undefined without a ClientHello or extension. */
	readonly serverName: string | undefined;
	readonly helloSent: boolean;
	readonly peerStatus: number | undefined;
	/** The log lines up to the report. */
	readonly lines: readonly string[];
}

/** A name in the form of the wire protocol: one character per byte. */
export function wireName(text: string): string {
	return Buffer.from(text).toString('latin1');
}

/** A case with a name that is both SNI name and match name. */
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

	/** Parameters of a service that trusts the authority. */
	get main(): Readonly<Record<string, string>> {
		return {
			max_use: '100000',
			smtp_tls_CAfile: this.authorities,
			/* Older releases have another default. */
			smtp_tls_fingerprint_digest: 'sha256',
		};
	}

	/**
	 * Runs cases with both programs, and fails if the outcomes differ. A process caches converted names, so each
	 * call starts new processes.
	 *
	 * @returns the outcomes with stock.
	 */
	async compare(
		t: ExecutionContext,
		cases: readonly NamedCase[],
		settings: Readonly<Record<string, string>> = {},
	): Promise<readonly NamedOutcome[]> {
		const main = {...this.main, ...settings};
		await using ours = await Daemon.start('ours', {main});
		await using stock = await Daemon.start('stock', {main});
		const [actual = [], expected = []] = await Promise.all(
			[ours, stock].map(async daemon => await this.#runAll(t, daemon, cases)),
		);
		const differences = cases.flatMap((item, index) =>
			isDeepStrictEqual(actual[index], expected[index])
				? []
				: [{...item, ours: actual[index], stock: expected[index]}],
		);
		t.is(actual.length, cases.length);
		t.is(expected.length, cases.length);
		t.deepEqual(differences.slice(0, 5), [], `${differences.length} of ${cases.length} differ`);
		return expected;
	}

	/* Runs cases with one process, one after another. */
	async #runAll(
		t: ExecutionContext,
		daemon: Daemon,
		cases: readonly NamedCase[],
	): Promise<readonly NamedOutcome[]> {
		const server = await NamedServer.start(t, this.issuer);
		const before = (await daemon.lines()).length;
		const outcomes: Array<Omit<NamedOutcome, 'lines'>> = [];
		for (const item of cases) {
			outcomes.push(await this.run(t, daemon, server, item));
		}

		const lines = await linesOfAll(daemon, before, cases.length, server.port);
		return outcomes.map((outcome, index) => ({...outcome, lines: lines[index] ?? []}));
	}

	/** Runs one case with a daemon. The outcome does not contain log lines. */
	async run(
		t: ExecutionContext,
		daemon: Daemon,
		server: NamedServer,
		item: NamedCase,
		service?: string,
	): Promise<Omit<NamedOutcome, 'lines'>> {
		server.present(item.certificate);
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

/** A server whose certificate can be changed for each client. */
export class NamedServer {
	readonly port: number;
	/** The first record from the last client, with the ClientHello; empty if it has sent no record. */
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

	/** Sets the name in the certificate for the next client. */
	present(certificate: string): void {
		this.#certificate = certificate;
		this.hello = Buffer.alloc(0);
	}
}

const SECURE = 8;

/* Calls a function with the bytes from a client when they contain a complete record. */
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

function isEnd(line: string): boolean {
	return line.startsWith('DISCONNECT ');
}

/* The lines of each session. Sessions do not overlap, but the end of one may be logged after the start of the next. */
async function linesOfAll(
	daemon: Daemon,
	before: number,
	count: number,
	port: number,
): Promise<ReadonlyArray<readonly string[]>> {
	let lines: readonly string[] = [];
	await daemon.sandbox.waitFor(async () => {
		lines = (await daemon.lines()).slice(before);
		return lines.filter(line => isEnd(line)).length >= count;
	});
	const sessions: string[][] = [];
	/* The number of handshake steps depends on how the bytes are divided. */
	for (const line of lines.filter(text => !isEnd(text) && !text.startsWith('SSL_connect:'))) {
		if (line.startsWith('CONNECT ')) {
			sessions.push([]);
		} else {
			/* Some releases log bytes that are not UTF-8. */
			sessions.at(-1)?.push(line.replaceAll(`:${port}`, ':PORT').replaceAll('\uFFFD', '?'));
		}
	}

	return sessions;
}
