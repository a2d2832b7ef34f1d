/*
 * The same case for stock and for us: the same peer, the same request, and then
 * everything that can be seen of it.
 */
import {createHash, X509Certificate} from 'node:crypto';
import {connect} from 'node:net';
import type {ExecutionContext} from 'ava';
import type {ClientInit, ClientParams, ClientStart} from '../../src/wire/client-settings.ts';
import type {HandshakeReport} from '../../src/wire/handshake-report.ts';
import {type ClientHello, parseClientHello} from './client-hello.ts';
import type {Daemon, HandoffOptions} from './daemon.ts';
import {type CertificateStore, type PeerServer, sServer} from './openssl.ts';
import {tcpPeer} from './peer.ts';

/** A request, and the server that it meets. */
export interface Case {
	readonly id: string;
	readonly level: keyof typeof levels;
	/** Name of a certificate; `none`: the server has none. */
	readonly server: string;
	/** More words for openssl s_server. */
	readonly arguments?: string;
	readonly match?: readonly string[];
	/** Usage, selector, matching type, data: `full|sha256|sha512(cert|spki NAME)` or `hex(...)`. */
	readonly tlsa?: readonly string[];
	/** TLSA base domain. */
	readonly domain?: string;
	readonly protocols?: string;
	readonly cipher_grade?: string;
	readonly cipher_exclusions?: string;
	readonly sni?: string;
	readonly params?: Partial<ClientParams>;
	/** Names of files are those of the lab, with the separators as they stand. */
	readonly init?: Partial<ClientInit>;
	/** Names of files that are sent as they are. */
	readonly files?: Partial<Pick<ClientInit, (typeof fileFields)[number]>>;
	/** What else the request says. */
	readonly start?: Partial<ClientStart>;
}

const levels = {
	may: 1,
	encrypt: 2,
	fingerprint: 3,
	'half-dane': 4,
	dane: 5,
	'dane-only': 6,
	verify: 7,
	secure: 8,
} as const;

/** What can be seen of a case. */
export interface Outcome {
	readonly status: number;
	readonly report: HandshakeReport | undefined;
	/** What came behind the context. */
	readonly rest: string;
	readonly lines: readonly string[];
	readonly hello: ClientHello | undefined;
	/** Whether octets are logged up to the line about the connection, and behind it. */
	readonly dumps: readonly [boolean, boolean];
	/** What the server says of the client. */
	readonly server: readonly string[];
}

/** Servers of one test file, each started when it is first needed. */
export class Peers {
	readonly #t: Pick<ExecutionContext, 'teardown'>;
	readonly #lab: CertificateStore;
	readonly #servers = new Map<string, Promise<PeerServer>>();

	constructor(t: Pick<ExecutionContext, 'teardown'>, lab: CertificateStore) {
		this.#t = t;
		this.#lab = lab;
	}

	/** The server of a case. */
	async serverOf({server, arguments: words = ''}: Case): Promise<PeerServer> {
		const key = `${server} ${words}`;
		const lab = this.#lab;
		const own =
			server === 'none' ? [] : ['-cert', lab.path(`${server}.cert`), '-key', lab.path(`${server}.key`)];
		if (server !== 'none' && lab.read(`${server}.chain`) !== '') {
			own.push('-cert_chain', lab.path(`${server}.chain`));
		}

		const known =
			this.#servers.get(key) ??
			sServer(this.#t, '-rev', ...own, ...words.split(' ').filter(word => word !== ''));
		this.#servers.set(key, known);
		return await known;
	}
}

/** Puts a case to a daemon. */
export async function put(
	t: ExecutionContext,
	daemon: Daemon,
	peers: Peers,
	lab: CertificateStore,
	item: Case,
): Promise<Outcome> {
	const server = await peers.serverOf(item);
	const before = server.output().length;
	const sent: Buffer[] = [];
	const port = await tcpPeer(t, client => {
		const behind = connect({port: server.port, host: '127.0.0.1', allowHalfOpen: true});
		behind.on('error', () => client.destroy());
		client.on('data', (bytes: Buffer) => sent.push(bytes));
		client.pipe(behind).pipe(client);
		client.once('close', () => behind.destroy());
	});
	const known = (await daemon.lines()).length;
	const {client, endpoint, status, report} = await daemon.handOff(t, port, optionsOf(daemon, item, lab));
	/* When that comes back, what the server sends behind the handshake has come too. */
	await client.send(report === undefined ? '' : 'hello\n');
	const answer = report === undefined ? '' : String(await client.bytes(6));
	client.socket.end();
	const rest = answer + String(await client.rest());
	const end = `DISCONNECT ${endpoint}`;
	const seen = await daemon.linesUpTo(end, known);
	/*
	 * The server says what it has to say before it accepts the next connection. What it says of
	 * a handshake ends in one way or the other; of somebody who says nothing it says nothing.
	 */
	const said = () => server.output().slice(before);
	if (sent.length > 0) {
		await daemon.sandbox.waitFor(() => /^(Ciphersuite: |CONNECTION FAILURE$)/m.test(said()), 10_000);
	}

	const ownName = [...fileFields, 'verifydepth', 'mdalg'].some(name => name in {...item.init, ...item.files});
	const lines = seen.map(line => mask(line, endpoint, lab, ownName));
	return {
		status,
		report,
		rest,
		...comparable(lines),
		hello: parseClientHello(Buffer.concat(sent)),
		server: said()
			.split('\n')
			.filter(line => serverSays.test(line)),
	};
}

/** What the request of a case says. */
export function optionsOf({features}: Daemon, item: Case, lab: CertificateStore): HandoffOptions {
	return {
		params: item.params ?? {},
		init: initOf(item, lab),
		start: startOf(item, lab, features.digestLists),
	};
}

/** Lines that can be compared. */
export type Lines = Pick<Outcome, 'lines' | 'dumps'>;

/** What can be compared of the lines of a session. */
export function comparable(lines: readonly string[]): Lines {
	const summary = lines.findIndex(line => line.includes(' TLS connection established '));
	const middle = summary < 0 ? lines.length : summary;
	return {
		lines: lines
			.filter(line => !aside.test(line) && !dumped.test(line))
			/* A step that has to wait says again where it is: lines that repeat themselves count once. */
			.filter((line, index, all) => line !== all[index - 1]),
		dumps: [
			lines.slice(0, middle).some(line => dumped.test(line)),
			lines.slice(middle).some(line => dumped.test(line)),
		],
	};
}

/*
 * Lines that are not about the session. Stock says in several lines how a request
 * differs from its own parameters; we do what the request says, and only warn of
 * files. What a process says when it starts depends on when that was.
 */
const aside =
	/^warning: (request from tlsproxy client with unexpected settings|\(server\) '|not loaded when this process started|files are opened without privileges|to avoid this|TLS server role is disabled)/;

/* What is in a dump is random, and how many there are; only whether there are any can be compared. */
const dumped = /^[\da-f]{4} ([\da-f]{2} |- <)|^(read from|write to) [\dA-F]{8,} \[/;

const serverSays =
	/^(Protocol version|Client cipher list|Ciphersuite|Peer certificate|Hash used|Signature type|Verif|Supported|depth=|verify |Peer Temp Key)/;

/* Where the identity or the authorities are not those of the service, they are in our names of sessions. */
function mask(line: string, endpoint: string, lab: CertificateStore, ownName: boolean): string {
	const plain = line.replaceAll(endpoint, '[PEER]').replaceAll(`${lab.directory}/`, '');
	return ownName ? plain.replaceAll(/&[\dA-F]{64}\b/g, '&KEY') : plain;
}

function startOf(item: Case, lab: CertificateStore, legacy: boolean): Partial<ClientStart> {
	const level = levels[item.level];
	const usual = level > levels.encrypt ? 'aNULL' : level === levels.encrypt ? 'eNULL' : '';
	return {
		tls_level: level,
		nexthop: 'example.com',
		host: 'mx.example.com',
		namaddr: 'mx.example.com[127.0.0.1]:25',
		helo: 'mx.example.com',
		/* A session of one case is none of another's. */
		serverid: `smtp&${item.id}`,
		protocols: item.protocols ?? (legacy ? '!SSLv2, !SSLv3' : '>=TLSv1'),
		cipher_grade: item.cipher_grade ?? 'medium',
		cipher_exclusions: item.cipher_exclusions ?? usual,
		sni: wireText(item.sni ?? ''),
		matchargv: (item.match ?? []).map(wireText),
		dane:
			item.tlsa === undefined
				? undefined
				: {
						domain: item.domain ?? (item.level.includes('dane') ? 'mx.example.com' : ''),
						...trust(
							item.tlsa.map(text => tlsaRecord(text, lab)),
							legacy,
						),
					},
		...item.start,
	};
}

/* UTF-8, a character per byte. */
function wireText(text: string): string {
	return Buffer.from(text).toString('latin1');
}

type TlsaRecord = {usage: number; selector: number; mtype: number; data: Uint8Array};

function tlsaRecord(text: string, lab: CertificateStore): TlsaRecord {
	const [usage = '', selector = '', mtype = '', ...rest] = text.split(' ');
	return {
		usage: Number(usage),
		selector: Number(selector),
		mtype: Number(mtype),
		data: tlsaData(rest.join(' '), lab),
	};
}

/** TLSA records as clients send them: before 3.6 as lists of digests, without what cannot be used. */
export function trust(
	records: readonly TlsaRecord[],
	legacy: boolean,
): Omit<NonNullable<ClientStart['dane']>, 'domain'> {
	if (!legacy) {
		return {tlsa: records};
	}

	const digests = (usage: number) =>
		['sha512', 'sha256'].flatMap(mdalg => {
			const of = (selector: number): string[] =>
				records
					.filter(record => record.usage === usage && record.selector === selector)
					.filter(
						({mtype}) => (mtype === 1 ? 'sha256' : mtype === 0 || mtype === 2 ? 'sha512' : '') === mdalg,
					)
					.map(({mtype, data}) =>
						mtype === 0 ? createHash('sha512').update(data).digest() : Buffer.from(data),
					)
					.map(data =>
						data
							.toString('hex')
							.toUpperCase()
							.replaceAll(/..(?=.)/g, '$&:'),
					);
			const [certs, pkeys] = [of(0), of(1)];
			return certs.length + pkeys.length === 0 ? [] : [{mdalg, certs, pkeys}];
		});
	const anchors = (selector: number) =>
		records.filter(
			record =>
				record.usage === 2 && record.selector === selector && record.mtype === 0 && isDer(record.data),
		);
	return {
		ta: digests(2),
		ee: digests(3),
		certs: anchors(0).map(({data}) => ({cert: data})),
		pkeys: anchors(1).map(({data}) => ({pkey: data})),
		flags: 0,
		exp: 0n,
	};
}

function isDer(data: Uint8Array): boolean {
	return data[0] === 0x30 && data.length > 64;
}

function tlsaData(text: string, lab: CertificateStore): Uint8Array {
	const [, how = '', what = ''] = /^(\w+)\((.*)\)$/.exec(text) ?? [];
	if (how === 'hex') {
		return Buffer.from(what, 'hex');
	}

	const [part, name = ''] = what.split(' ');
	const certificate = new X509Certificate(lab.read(`${name}.cert`));
	const bytes =
		part === 'spki' ? certificate.publicKey.export({type: 'spki', format: 'der'}) : certificate.raw;
	return how === 'full' ? bytes : createHash(how).update(bytes).digest();
}

const fileFields = [
	'chain_files',
	'cert_file',
	'key_file',
	'dcert_file',
	'dkey_file',
	'eccert_file',
	'eckey_file',
	'CAfile',
	'CApath',
] as const;

function initOf(item: Case, lab: CertificateStore): Partial<ClientInit> {
	const init: Partial<ClientInit> = {log_level: '1', verifydepth: 9, CAfile: 'root.cert', ...item.init};
	const files = fileFields.map(name => [
		name,
		(init[name] ?? '').replaceAll(/[^ \t\r\n,]+/g, word => lab.path(word)),
	]);
	return {...init, ...(Object.fromEntries(files) as Partial<ClientInit>), ...item.files};
}
