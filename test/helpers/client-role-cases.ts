/*
 * Cases of the client role for both programs: the same server, the same request, and all
 * observable results.
 */
import {createHash, X509Certificate} from 'node:crypto';
import type {ExecutionContext} from 'ava';
import type {ClientInit, ClientParams, ClientStart} from '../../src/wire/client-settings.ts';
import type {HandshakeReport} from '../../src/wire/handshake-report.ts';
import {type ClientHello, parseClientHello} from './client-hello.ts';
import type {Daemon, HandoffOptions} from './daemon.ts';
import {type CertificateStore, type PeerServer, sServer} from './openssl.ts';
import {relay} from './remote-servers.ts';

/** A request, and its server. */
export interface ClientRoleCase {
	readonly id: string;
	readonly level: keyof typeof levels;
	/** Name of the server certificate; `none`: no certificate. */
	readonly server: string;
	/** Further arguments for openssl s_server. */
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
	/** File names are relative to the lab. Separators are sent unchanged. */
	readonly init?: Partial<ClientInit>;
	/** File names that are sent unchanged. */
	readonly files?: Partial<Pick<ClientInit, (typeof fileFields)[number]>>;
	/** Further settings of the request. */
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

/** Observable results of a case. */
export interface Outcome {
	readonly status: number;
	readonly report: HandshakeReport | undefined;
	/** Data after the report. */
	readonly rest: string;
	readonly lines: readonly string[];
	readonly hello: ClientHello | undefined;
	/** Whether octets are logged up to the line about the connection, and after it. */
	readonly dumps: readonly [boolean, boolean];
	/** Output of the server about the client. */
	readonly server: readonly string[];
}

/** The servers of one test file. Each is started on demand. */
export class CaseServers {
	readonly #t: Pick<ExecutionContext, 'teardown'>;
	readonly #lab: CertificateStore;
	readonly #servers = new Map<string, Promise<PeerServer>>();

	constructor(t: Pick<ExecutionContext, 'teardown'>, lab: CertificateStore) {
		this.#t = t;
		this.#lab = lab;
	}

	/** The server of a case. */
	async serverOf({server, arguments: args = ''}: ClientRoleCase): Promise<PeerServer> {
		const key = `${server} ${args}`;
		const lab = this.#lab;
		const certificate =
			server === 'none' ? [] : ['-cert', lab.path(`${server}.cert`), '-key', lab.path(`${server}.key`)];
		if (server !== 'none' && lab.read(`${server}.chain`) !== '') {
			certificate.push('-cert_chain', lab.path(`${server}.chain`));
		}

		const started =
			this.#servers.get(key) ??
			sServer(this.#t, '-rev', ...certificate, ...args.split(' ').filter(arg => arg !== ''));
		this.#servers.set(key, started);
		return await started;
	}
}

/** Runs a case with a daemon. */
export async function runCase(
	t: ExecutionContext,
	daemon: Daemon,
	peers: CaseServers,
	lab: CertificateStore,
	item: ClientRoleCase,
): Promise<Outcome> {
	const server = await peers.serverOf(item);
	const before = server.output().length;
	const sent: Buffer[] = [];
	const {port} = await relay(t, server.port, bytes => sent.push(bytes));
	const logged = (await daemon.lines()).length;
	const {client, endpoint, status, report} = await daemon.handOff(t, port, optionsOf(daemon, item, lab));
	/* When it is echoed, the data that the server sends after the handshake has arrived. */
	await client.send(report === undefined ? '' : 'hello\n');
	const echo = report === undefined ? '' : String(await client.bytes(6));
	client.socket.end();
	const rest = echo + String(await client.rest());
	const end = `DISCONNECT ${endpoint}`;
	const seen = await daemon.linesUpTo(end, logged);
	/*
	 * The server prints its output before it accepts the next connection. The output about a
	 * handshake ends with one of two lines; without data from the client there is no output.
	 */
	const output = () => server.output().slice(before);
	if (sent.length > 0) {
		await daemon.sandbox.waitFor(() => /^(Ciphersuite: |CONNECTION FAILURE$)/m.test(output()));
	}

	const hasOtherFiles = [...fileFields, 'verifydepth', 'mdalg'].some(
		name => name in {...item.init, ...item.files},
	);
	const lines = seen.map(line => mask(line, endpoint, lab, hasOtherFiles));
	return {
		status,
		report,
		rest,
		...comparableLines(lines),
		hello: parseClientHello(Buffer.concat(sent)),
		server: output()
			.split('\n')
			.filter(line => relevantOutput.test(line)),
	};
}

/** The hand-off options of a case. */
export function optionsOf({features}: Daemon, item: ClientRoleCase, lab: CertificateStore): HandoffOptions {
	return {
		params: item.params ?? {},
		init: initOf(item, lab),
		start: startOf(item, lab, features.digestLists),
	};
}

/** Log lines that are comparable. */
export type LogLines = Pick<Outcome, 'lines' | 'dumps'>;

/** The comparable lines of a session. */
export function comparableLines(lines: readonly string[]): LogLines {
	const summary = lines.findIndex(line => line.includes(' TLS connection established '));
	const middle = summary < 0 ? lines.length : summary;
	return {
		lines: lines
			.filter(line => !ignored.test(line) && !dumped.test(line))
			/* A handshake step that has to wait is logged repeatedly: repeated lines count once. */
			.filter((line, index, all) => line !== all[index - 1]),
		dumps: [
			lines.slice(0, middle).some(line => dumped.test(line)),
			lines.slice(middle).some(line => dumped.test(line)),
		],
	};
}

/*
 * Lines that are not compared. Stock logs how a request differs from tlsproxy_client_*
 * parameters; this program applies the request, and only warns about files. Lines about the
 * start of a process appear at an unpredictable time.
 */
const ignored =
	/^warning: (request from tlsproxy client with unexpected settings|\(server\) '|files that could not be loaded when this process started|files are opened without privileges|to avoid this|TLS server role is disabled)/;

/* Contents and number of dumps are random; only their presence is compared. */
const dumped = /^[\da-f]{4} ([\da-f]{2} |- <)|^(read from|write to) [\dA-F]{8,} \[/;

const relevantOutput =
	/^(Protocol version|Client cipher list|Ciphersuite|Peer certificate|Hash used|Signature type|Verif|Supported|depth=|verify |Peer Temp Key)/;

/* If identity or CA certificates differ from those of the service, the cache key of this program contains them. */
function mask(line: string, endpoint: string, lab: CertificateStore, maskKeys: boolean): string {
	const plain = line.replaceAll(endpoint, '[PEER]').replaceAll(`${lab.directory}/`, '');
	return maskKeys ? plain.replaceAll(/&[\dA-F]{64}\b/g, '&KEY') : plain;
}

function startOf(item: ClientRoleCase, lab: CertificateStore, legacy: boolean): Partial<ClientStart> {
	const level = levels[item.level];
	const exclusions = level > levels.encrypt ? 'aNULL' : level === levels.encrypt ? 'eNULL' : '';
	return {
		tls_level: level,
		nexthop: 'example.com',
		host: 'mx.example.com',
		namaddr: 'mx.example.com[127.0.0.1]:25',
		helo: 'mx.example.com',
		/* Sessions are not shared between cases. */
		serverid: `smtp&${item.id}`,
		protocols: item.protocols ?? (legacy ? '!SSLv2, !SSLv3' : '>=TLSv1'),
		cipher_grade: item.cipher_grade ?? 'medium',
		cipher_exclusions: item.cipher_exclusions ?? exclusions,
		sni: wireText(item.sni ?? ''),
		matchargv: (item.match ?? []).map(wireText),
		dane:
			item.tlsa === undefined
				? undefined
				: {
						domain: item.domain ?? (item.level.includes('dane') ? 'mx.example.com' : ''),
						...daneTrust(
							item.tlsa.map(text => tlsaRecord(text, lab)),
							legacy,
						),
					},
		...item.start,
	};
}

/* UTF-8, one character per byte. */
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

/** TLSA records as clients send them: before 3.6 as lists of digests, without unusable records. */
export function daneTrust(
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
	const [, form = '', source = ''] = /^(\w+)\((.*)\)$/.exec(text) ?? [];
	if (form === 'hex') {
		return Buffer.from(source, 'hex');
	}

	const [part, name = ''] = source.split(' ');
	const certificate = new X509Certificate(lab.read(`${name}.cert`));
	const bytes =
		part === 'spki' ? certificate.publicKey.export({type: 'spki', format: 'der'}) : certificate.raw;
	return form === 'full' ? bytes : createHash(form).update(bytes).digest();
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

function initOf(item: ClientRoleCase, lab: CertificateStore): Partial<ClientInit> {
	const init: Partial<ClientInit> = {log_level: '1', verifydepth: 9, CAfile: 'root.cert', ...item.init};
	const files = fileFields.map(name => [
		name,
		(init[name] ?? '').replaceAll(/[^ \t\r\n,]+/g, file => lab.path(file)),
	]);
	return {...init, ...(Object.fromEntries(files) as Partial<ClientInit>), ...item.files};
}
