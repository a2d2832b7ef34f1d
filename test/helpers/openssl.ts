import {execFileSync, spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {AGAIN, WANT_READ, WANT_WRITE} from '../../src/base/io-result.ts';
import {Owned} from '../../src/base/owned.ts';
import type {Fd} from '../../src/base/units.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {
	allocate,
	close,
	connect,
	SOCK_CLOEXEC,
	SOCK_STREAM,
	setNonBlocking,
	socket,
} from '../../src/ffi/libc/libc.ts';
import {type LogTransport, openLog} from '../../src/log/log.ts';
import {openClientConnection} from '../../src/tls/connection/client-connection.ts';
import {type Connection, DONE} from '../../src/tls/connection/connection.ts';
import {
	type ClientContext,
	createClientContext,
	type SessionPolicy,
} from '../../src/tls/context/client-context.ts';
import {type CredentialFileNames, CredentialStore} from '../../src/tls/context/credential-store.ts';
import type {ClientInit, ClientParams, ClientStart} from '../../src/wire/client-settings.ts';

/** Collects all log lines from now on, with labels. Only for serial tests: the process has one log. */
export function collectLog(): string[] {
	const lines: string[] = [];
	const transport: LogTransport = {
		send(_severity, label, text) {
			lines.push(label + text);
		},
	};
	openLog(transport);
	return lines;
}

/** Runs openssl(1). */
export function openssl(...args: readonly string[]): string {
	return execFileSync('openssl', args, {encoding: 'utf8', stdio: 'pipe'});
}

/** The properties of a certificate. */
export interface CertificateOptions {
	/** Arguments of `openssl genpkey`. */
	readonly key?: readonly string[];
	/** Name of another certificate, which has the same key. */
	readonly keyOf?: string;
	/** Message digest of the signature. */
	readonly digest?: string;
	/** string_mask of the request: the string types of names. */
	readonly strings?: string;
	readonly subject?: string;
	/** Lines of an extension section. */
	readonly extensions?: readonly string[];
	readonly notBefore?: string;
	readonly notAfter?: string;
	/** Name of the issuer; undefined: self-signed. */
	readonly issuer?: string;
}

export const rsa = ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'] as const;
export const ecdsa = ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'] as const;
export const ed25519 = ['-algorithm', 'ED25519'] as const;

/** Certificates in a temporary directory. Disposal removes it. */
export class CertificateStore implements Disposable {
	readonly directory = mkdtempSync(join(tmpdir(), 'tls-'));

	path(name: string): string {
		return join(this.directory, name);
	}

	/** Writes a file from parts. Returns its pathname. */
	write(name: string, ...parts: readonly string[]): string {
		writeFileSync(this.path(name), parts.join(''));
		return this.path(name);
	}

	read(name: string): string {
		return readFileSync(this.path(name), 'utf8');
	}

	/** Creates NAME.key and NAME.cert. */
	make(
		name: string,
		{key = ecdsa, subject = `/CN=${name}.example.com`, extensions = [], ...options}: CertificateOptions,
	): void {
		if (options.keyOf === undefined) {
			openssl('genpkey', ...key, '-out', this.path(`${name}.key`));
		} else {
			this.write(`${name}.key`, this.read(`${options.keyOf}.key`));
		}

		openssl(
			'req',
			'-new',
			'-utf8',
			'-config',
			this.write(
				'req.conf',
				`[req]\ndistinguished_name=dn\nstring_mask=${options.strings ?? 'utf8only'}\n[dn]\n`,
			),
			'-key',
			this.path(`${name}.key`),
			'-subj',
			subject,
			'-out',
			this.path(`${name}.req`),
		);
		const issuer = options.issuer ?? name;
		const work = join(this.directory, `work-${name}`);
		mkdirSync(work);
		writeFileSync(join(work, 'index'), '');
		const configuration = this.write(
			`${name}.conf`,
			`[ca]\ndefault_ca=d\n[d]\ndatabase=${work}/index\nnew_certs_dir=${work}\nrand_serial=yes\n`,
			`default_md=${options.digest ?? 'default'}\n`,
			'policy=p\nx509_extensions=e\npreserve=yes\nunique_subject=no\n',
			`[p]\ncommonName=optional\norganizationName=optional\n[e]\n${extensions.join('\n')}\n`,
		);
		openssl(
			'ca',
			'-batch',
			'-notext',
			'-utf8',
			'-config',
			configuration,
			'-in',
			this.path(`${name}.req`),
			...(options.issuer === undefined
				? ['-selfsign', '-keyfile', this.path(`${name}.key`)]
				: ['-keyfile', this.path(`${issuer}.key`), '-cert', this.path(`${issuer}.cert`)]),
			'-startdate',
			options.notBefore ?? '20200101000000Z',
			'-enddate',
			options.notAfter ?? '20991231000000Z',
			'-out',
			this.path(`${name}.cert`),
		);
	}

	[Symbol.dispose](): void {
		rmSync(this.directory, {recursive: true});
	}
}

/** A TLS server process. It is terminated when the test ends. */
export interface PeerServer {
	readonly port: number;
	/** Its output so far. */
	readonly output: () => string;
	/** Kills it. */
	readonly stop: () => Promise<void>;
}

/** Starts `openssl s_server`. */
export async function sServer(
	t: Pick<ExecutionContext, 'teardown'>,
	...options: readonly string[]
): Promise<PeerServer> {
	const child = spawn('openssl', ['s_server', '-accept', '127.0.0.1:0', ...options], {
		stdio: ['pipe', 'pipe', 'pipe'],
	});
	let output = '';
	child.stdout.setEncoding('utf8').on('data', (text: string) => {
		output += text;
	});
	child.stderr.setEncoding('utf8').on('data', (text: string) => {
		output += text;
	});
	/* EPIPE after it has exited. */
	child.stdin.on('error', () => undefined);
	const ended = once(child, 'exit');
	const stop = async (): Promise<void> => {
		child.kill('SIGKILL');
		await ended;
	};
	t.teardown(stop);
	for (;;) {
		const port = /ACCEPT 127\.0\.0\.1:(\d+)/.exec(output)?.[1];
		if (port !== undefined) {
			return {port: Number(port), output: () => output, stop};
		}

		if (child.exitCode !== null) {
			throw new Error(`openssl s_server: ${output}`);
		}

		await delay(5);
	}
}

const AF_INET = 2;

/** A non-blocking connection to a local port; closed when the test ends. */
export function connectTo(t: ExecutionContext, port: number): Owned<Fd> {
	const fd = new Owned(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) as Fd, close);
	t.teardown(() => fd[Symbol.dispose]());
	const address = new Uint8Array(128);
	const view = new DataView(address.buffer);
	view.setUint16(0, AF_INET, true);
	view.setUint16(2, port);
	address.set([127, 0, 0, 1], 4);
	if (connect(fd.value, address, 16) !== 0) {
		throw new Error(`connect to port ${port}`);
	}

	setNonBlocking(fd.value);
	return fd;
}

/** The release of the following settings. */
export const postfix37 = releaseFeatures('3.7.11');

/** The default settings of smtp(8) in Postfix 3.7. */
export const defaultParams: ClientParams = {
	config_file: 'default',
	config_name: '',
	tls_high_cipherlist: 'aNULL:-aNULL:HIGH:@STRENGTH',
	tls_medium_cipherlist: 'aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH',
	tls_low_cipherlist: 'aNULL:-aNULL:HIGH:MEDIUM:LOW:+RC4:@STRENGTH',
	tls_export_cipherlist: 'aNULL:-aNULL:HIGH:MEDIUM:LOW:EXPORT:+RC4:@STRENGTH',
	tls_null_cipherlist: 'eNULL:!aNULL',
	tls_eecdh_auto_curves: 'X25519 X448 prime256v1 secp521r1 secp384r1',
	tls_eecdh_strong_curve: 'prime256v1',
	tls_eecdh_ultra_curve: 'secp384r1',
	tls_ffdhe_auto_groups: '',
	tls_disable_workarounds: '',
	tls_ssl_options: '',
	tls_dane_digests: 'sha512 sha256',
	tlsmgr_service_name: 'tlsmgr',
	tls_session_ticket_cipher: 'aes-256-cbc',
	tls_daemon_random_bytes: 32,
	tls_append_default_CA: 0,
	tls_legacy_public_key_fingerprints: 0,
	tls_preempt_cipherlist: 0,
	tls_wildcard_matches_multiple_labels: 1,
	tls_fast_shutdown_enable: 1,
};
/** Settings without any certificate, key or CA file. */
export const noCredentialFiles: CredentialFileNames = {
	chain_files: '',
	cert_file: '',
	key_file: '',
	dcert_file: '',
	dkey_file: '',
	eccert_file: '',
	eckey_file: '',
	CAfile: '',
	CApath: '',
};

export const defaultInit: ClientInit = {
	log_param: 'smtp_tls_loglevel',
	log_level: '1',
	verifydepth: 9,
	cache_type: 'smtp',
	...noCredentialFiles,
	mdalg: 'sha256',
};
export const defaultStart: ClientStart = {
	log_param: 'smtp_tls_loglevel',
	log_level: '1',
	timeout: 300,
	enable_rpk: 0,
	tls_level: 2,
	nexthop: 'example.com',
	host: 'mx.example.com',
	namaddr: 'MX.example.com[127.0.0.1]:25',
	sni: '',
	serverid: 'smtp:example.com',
	helo: 'client.example.com',
	protocols: '>=TLSv1',
	cipher_grade: 'medium',
	cipher_exclusions: '',
	matchargv: [],
	mdalg: 'sha256',
	dane: undefined,
	tlsrpt: undefined,
	forced_failure_type: '',
	trace_size_limit: 0,
	trace_peer: '',
};

/** An SSL_CTX of the client role; disposed when the test ends. */
export function clientContextFor(
	t: ExecutionContext,
	init: Partial<ClientInit> = {},
	params: Partial<ClientParams> = {},
	sessions?: SessionPolicy,
): ClientContext {
	const context = createClientContext(
		{...defaultParams, ...params},
		{...defaultInit, ...init},
		new CredentialStore(),
		postfix37,
		sessions,
	);
	if (context === undefined) {
		throw new Error('cannot create the SSL_CTX');
	}

	t.teardown(() => context[Symbol.dispose]());
	return context;
}

/** A connection of the client role before its handshake; disposed when the test ends. */
export function connectionTo(
	t: ExecutionContext,
	port: number,
	context: ClientContext,
	start: Partial<ClientStart> = {},
): Connection {
	const fd = connectTo(t, port);
	const connection = openClientConnection(context, {...defaultStart, ...start}, fd.value);
	if (connection === undefined) {
		throw new Error('cannot prepare the connection');
	}

	t.teardown(() => connection[Symbol.dispose]());
	return connection;
}

/** The same, after its handshake. */
export async function connectedTo(...to: Parameters<typeof connectionTo>): Promise<Connection> {
	const [t] = to;
	const connection = connectionTo(...to);
	t.is(await finish(() => connection.handshake()), DONE);
	return connection;
}

/** Repeats a step until it has another result than to wait, up to a minute. */
export async function finish(step: () => number): Promise<number> {
	for (const limit = performance.now() + 60_000; performance.now() < limit; ) {
		const result = step();
		if (result !== WANT_READ && result !== WANT_WRITE && result !== AGAIN) {
			return result;
		}

		await delay(1);
	}

	throw new Error('no result after a minute');
}

const block = allocate(65_536);

/** Reads text from the peer, up to a line feed. */
export async function lineFrom(connection: Connection): Promise<string> {
	let text = '';
	while (!text.endsWith('\n')) {
		const size = await finish(() => connection.read(block.address, 65_536));
		if (size <= 0) {
			throw new Error(`${size} after "${text}"`);
		}

		text += Buffer.from(block.bytes.subarray(0, size)).toString();
	}

	return text;
}
