/*
 * TLS without a socket: records are passed in and out as bytes, so that a test can
 * send what no regular peer sends.
 */
import type {ExecutionContext} from 'ava';
import koffi from 'koffi';
import {Owned} from '../../src/base/owned.ts';
import {tcpPeer} from './remote-servers.ts';

const libssl = koffi.load('libssl.so.3', {deep: true});
const libcrypto = koffi.load('libcrypto.so.3', {deep: true});
const declare = (library: typeof libssl, declaration: string): ((...args: unknown[]) => never) =>
	library.func(declaration) as unknown as (...args: unknown[]) => never;

const SSL_CTX_new: (method: bigint) => bigint = declare(libssl, 'void *SSL_CTX_new(void *method)');
const SSL_CTX_free: (ctx: bigint) => void = declare(libssl, 'void SSL_CTX_free(void *ctx)');
const TLS_server_method: () => bigint = declare(libssl, 'void *TLS_server_method(void)');
const TLS_client_method: () => bigint = declare(libssl, 'void *TLS_client_method(void)');
const SSL_CTX_use_certificate_file: (ctx: bigint, file: string, type: number) => number = declare(
	libssl,
	'int SSL_CTX_use_certificate_file(void *ctx, const char *file, int type)',
);
const SSL_CTX_use_PrivateKey_file: (ctx: bigint, file: string, type: number) => number = declare(
	libssl,
	'int SSL_CTX_use_PrivateKey_file(void *ctx, const char *file, int type)',
);
const SSL_use_certificate_file: (ssl: bigint, file: string, type: number) => number = declare(
	libssl,
	'int SSL_use_certificate_file(void *ssl, const char *file, int type)',
);
const SSL_use_PrivateKey_file: (ssl: bigint, file: string, type: number) => number = declare(
	libssl,
	'int SSL_use_PrivateKey_file(void *ssl, const char *file, int type)',
);
const SSL_CTX_ctrl: (ctx: bigint, command: number, larg: number, parg: null) => number = declare(
	libssl,
	'long SSL_CTX_ctrl(void *ctx, int cmd, long larg, void *parg)',
);
const SSL_ctrl: (ssl: bigint, command: number, larg: number, parg: string) => number = declare(
	libssl,
	'long SSL_ctrl(void *ssl, int cmd, long larg, const char *parg)',
);
const SSL_new: (ctx: bigint) => bigint = declare(libssl, 'void *SSL_new(void *ctx)');
const SSL_free: (ssl: bigint) => void = declare(libssl, 'void SSL_free(void *ssl)');
const SSL_set_bio: (ssl: bigint, rbio: bigint, wbio: bigint) => void = declare(
	libssl,
	'void SSL_set_bio(void *ssl, void *rbio, void *wbio)',
);
const SSL_set_accept_state: (ssl: bigint) => void = declare(libssl, 'void SSL_set_accept_state(void *ssl)');
const SSL_set_connect_state: (ssl: bigint) => void = declare(libssl, 'void SSL_set_connect_state(void *ssl)');
const SSL_do_handshake: (ssl: bigint) => number = declare(libssl, 'int SSL_do_handshake(void *ssl)');
const SSL_key_update: (ssl: bigint, type: number) => number = declare(
	libssl,
	'int SSL_key_update(void *ssl, int type)',
);
const SSL_renegotiate: (ssl: bigint) => number = declare(libssl, 'int SSL_renegotiate(void *ssl)');
const SSL_new_session_ticket: (ssl: bigint) => number = declare(
	libssl,
	'int SSL_new_session_ticket(void *ssl)',
);
const SSL_write: (ssl: bigint, bytes: Uint8Array, size: number) => number = declare(
	libssl,
	'int SSL_write(void *ssl, const void *buf, int num)',
);
const SSL_read: (ssl: bigint, bytes: Uint8Array, size: number) => number = declare(
	libssl,
	'int SSL_read(void *ssl, void *buf, int num)',
);
const SSL_get1_session: (ssl: bigint) => bigint | null = declare(libssl, 'void *SSL_get1_session(void *ssl)');
const SSL_set_session: (ssl: bigint, session: bigint) => number = declare(
	libssl,
	'int SSL_set_session(void *ssl, void *session)',
);
const SSL_SESSION_free: (session: bigint) => void = declare(libssl, 'void SSL_SESSION_free(void *session)');
const SSL_session_reused: (ssl: bigint) => number = declare(libssl, 'int SSL_session_reused(void *ssl)');
const SSL_get1_peer_certificate: (ssl: bigint) => bigint | null = declare(
	libssl,
	'void *SSL_get1_peer_certificate(void *ssl)',
);
const X509_free: (certificate: bigint) => void = declare(libcrypto, 'void X509_free(void *x509)');
const X509_get_subject_name: (certificate: bigint) => bigint = declare(
	libcrypto,
	'void *X509_get_subject_name(void *x509)',
);
const X509_NAME_oneline: (name: bigint, bytes: Uint8Array, size: number) => string = declare(
	libcrypto,
	'const char *X509_NAME_oneline(void *name, _Out_ uint8_t *buf, int size)',
);
const BIO_new: (method: bigint) => bigint = declare(libcrypto, 'void *BIO_new(void *type)');
const BIO_s_mem: () => bigint = declare(libcrypto, 'void *BIO_s_mem(void)');
const BIO_read: (bio: bigint, bytes: Uint8Array, size: number) => number = declare(
	libcrypto,
	'int BIO_read(void *b, void *data, int dlen)',
);
const BIO_write: (bio: bigint, bytes: Uint8Array, size: number) => number = declare(
	libcrypto,
	'int BIO_write(void *b, const void *data, int dlen)',
);

const SSL_FILETYPE_PEM = 1;
const SSL_CTRL_SET_TLSEXT_HOSTNAME = 55;
const SSL_CTRL_SET_MAX_PROTO_VERSION = 124;
export const TLS1_2_VERSION = 0x303;
export const TLS1_3_VERSION = 0x304;
const SSL_KEY_UPDATE_NOT_REQUESTED = 0;
const SSL_KEY_UPDATE_REQUESTED = 1;

/** One side of a TLS connection, in memory. */
export class RawTls implements Disposable {
	readonly #ctx: bigint;
	readonly #ssl: bigint;
	readonly #in = BIO_new(BIO_s_mem());
	readonly #out = BIO_new(BIO_s_mem());
	readonly #scratch = new Uint8Array(65_536);

	/** @param files - key and certificate of a server; undefined: a client. */
	constructor(version: number, files?: {readonly key: string; readonly cert: string}) {
		this.#ctx = SSL_CTX_new(files === undefined ? TLS_client_method() : TLS_server_method());
		SSL_CTX_ctrl(this.#ctx, SSL_CTRL_SET_MAX_PROTO_VERSION, version, null);
		if (files !== undefined) {
			SSL_CTX_use_certificate_file(this.#ctx, files.cert, SSL_FILETYPE_PEM);
			SSL_CTX_use_PrivateKey_file(this.#ctx, files.key, SSL_FILETYPE_PEM);
		}

		this.#ssl = SSL_new(this.#ctx);
		SSL_set_bio(this.#ssl, this.#in, this.#out);
		(files === undefined ? SSL_set_connect_state : SSL_set_accept_state)(this.#ssl);
	}

	/** In a client, before the handshake: sets the server name that is sent. */
	setServerName(name: string): void {
		SSL_ctrl(this.#ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0, name);
	}

	/** In a client, before the handshake: sets the certificate that is sent if the server requests one. */
	useCertificate({cert, key}: {readonly key: string; readonly cert: string}): void {
		SSL_use_certificate_file(this.#ssl, cert, SSL_FILETYPE_PEM);
		SSL_use_PrivateKey_file(this.#ssl, key, SSL_FILETYPE_PEM);
	}

	/** The session of the connection. With TLS 1.3 it is the last ticket that {@link read} has received. */
	session(): Owned<bigint> {
		const session = SSL_get1_session(this.#ssl);
		if (session === null) {
			throw new Error('no session');
		}

		return new Owned(session, SSL_SESSION_free);
	}

	/** In a client, before the handshake: offers a session, which is borrowed. */
	offer(session: Owned<bigint>): void {
		SSL_set_session(this.#ssl, session.value);
	}

	/** Whether the session was resumed. */
	get reused(): boolean {
		return SSL_session_reused(this.#ssl) === 1;
	}

	/** The subject of the certificate of the other side; empty without a certificate. */
	get peerSubject(): string {
		const certificate = SSL_get1_peer_certificate(this.#ssl);
		if (certificate === null) {
			return '';
		}

		const subject = X509_NAME_oneline(X509_get_subject_name(certificate), this.#scratch, 1000);
		X509_free(certificate);
		return subject;
	}

	/** Processes records of the other side. */
	feed(bytes: Uint8Array): void {
		BIO_write(this.#in, bytes, bytes.length);
	}

	/** Takes the records for the other side. */
	take(): Buffer {
		const parts: Buffer[] = [];
		for (let size = 1; size > 0; ) {
			size = BIO_read(this.#out, this.#scratch, this.#scratch.length);
			parts.push(Buffer.from(this.#scratch.subarray(0, Math.max(size, 0))));
		}

		return Buffer.concat(parts);
	}

	/** Continues the handshake. Returns whether it is complete. */
	handshake(): boolean {
		return SSL_do_handshake(this.#ssl) === 1;
	}

	/** Adds a KeyUpdate to the records for the other side. */
	keyUpdate(requested: boolean): void {
		SSL_key_update(this.#ssl, requested ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
		SSL_do_handshake(this.#ssl);
	}

	/** In a server: adds a ticket to the records for the other side. */
	ticket(): void {
		SSL_new_session_ticket(this.#ssl);
		SSL_do_handshake(this.#ssl);
	}

	/** Starts another handshake: adds a ClientHello or HelloRequest to the records for the other side. */
	renegotiate(): void {
		SSL_renegotiate(this.#ssl);
		SSL_do_handshake(this.#ssl);
	}

	write(bytes: Uint8Array): void {
		SSL_write(this.#ssl, bytes, bytes.length);
	}

	read(): Buffer {
		const size = SSL_read(this.#ssl, this.#scratch, this.#scratch.length);
		return Buffer.from(this.#scratch.subarray(0, Math.max(size, 0)));
	}

	[Symbol.dispose](): void {
		SSL_free(this.#ssl);
		SSL_CTX_free(this.#ctx);
	}
}

/**
 * A server that sends data together with the end of its handshake.
 *
 * @param send - writes the data; called once per connection
 * @returns its port on 127.0.0.1
 */
export async function rawTlsPeer(
	t: ExecutionContext,
	version: number,
	files: {key: string; cert: string},
	send: (tls: RawTls) => void,
): Promise<number> {
	return await tcpPeer(t, socket => {
		const tls = new RawTls(version, files);
		t.teardown(() => tls[Symbol.dispose]());
		let done = false;
		socket.on('data', (bytes: Buffer) => {
			tls.feed(bytes);
			if (!done && tls.handshake()) {
				done = true;
				send(tls);
			}

			socket.write(tls.take());
		});
		socket.on('end', () => socket.end());
	});
}
