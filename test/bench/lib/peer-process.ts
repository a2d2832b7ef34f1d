/*
 * The process of a Peer: a TLS server with the OpenSSL of the host and one event loop.
 * It must need less CPU time than the programs that are measured: node:tls needs twice
 * as much per handshake, and openssl s_server serves one client at a time.
 *
 * The first nine bytes from a client are a command, which consists of a letter and a
 * 64-bit count. E: echo all bytes. K: receive that many bytes, then send one. S: send
 * that many bytes.
 */
import koffi from 'koffi';
import type {Owned} from '../../../src/base/owned.ts';
import type {Fd} from '../../../src/base/units.ts';
import {Reactor} from '../../../src/event/reactor.ts';
import {acceptConnection} from '../../../src/event/stream.ts';
import {allocate, close} from '../../../src/ffi/libc/libc.ts';
import type {PeerCounts, PeerOptions, PeerReply, PeerRequest} from './peer.ts';
import {listenOnLoopback} from './sockets.ts';

const libssl = koffi.load('libssl.so.3', {deep: true});
type Pointer = bigint;
const TLS_server_method: () => Pointer = libssl.func('void *TLS_server_method(void)');
const SSL_CTX_new: (method: Pointer) => Pointer = libssl.func('void *SSL_CTX_new(void *method)');
const SSL_CTX_ctrl: (ctx: Pointer, command: number, value: number, pointer: null) => number = libssl.func(
	'long SSL_CTX_ctrl(void *ctx, int cmd, long larg, void *parg)',
);
const SSL_CTX_use_certificate_chain_file: (ctx: Pointer, file: string) => number = libssl.func(
	'int SSL_CTX_use_certificate_chain_file(void *ctx, const char *file)',
);
const SSL_CTX_use_PrivateKey_file: (ctx: Pointer, file: string, type: number) => number = libssl.func(
	'int SSL_CTX_use_PrivateKey_file(void *ctx, const char *file, int type)',
);
const SSL_new: (ctx: Pointer) => Pointer = libssl.func('void *SSL_new(void *ctx)');
const SSL_free: (ssl: Pointer) => void = libssl.func('void SSL_free(void *ssl)');
const SSL_set_fd: (ssl: Pointer, fd: number) => number = libssl.func('int SSL_set_fd(void *ssl, int fd)');
const SSL_accept: (ssl: Pointer) => number = libssl.func('int SSL_accept(void *ssl)');
const SSL_read: (ssl: Pointer, to: Pointer, size: number) => number = libssl.func(
	'int SSL_read(void *ssl, void *buf, int num)',
);
const SSL_write: (ssl: Pointer, from: Pointer, size: number) => number = libssl.func(
	'int SSL_write(void *ssl, const void *buf, int num)',
);
const SSL_get_error: (ssl: Pointer, result: number) => number = libssl.func(
	'int SSL_get_error(const void *ssl, int ret)',
);
const SSL_session_reused: (ssl: Pointer) => number = libssl.func('int SSL_session_reused(const void *ssl)');
const ERR_clear_error: () => void = koffi
	.load('libcrypto.so.3', {deep: true})
	.func('void ERR_clear_error(void)');

/* Source: openssl/ssl.h. */
const SSL_CTRL_MODE = 33;
const SSL_CTRL_SET_MAX_PROTO_VERSION = 124;
const SSL_FILETYPE_PEM = 1;
const SSL_ERROR_WANT_READ = 2;
const SSL_ERROR_WANT_WRITE = 3;
/* SSL_MODE_ENABLE_PARTIAL_WRITE, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER and SSL_MODE_RELEASE_BUFFERS. */
const MODE = 0x1 | 0x2 | 0x10;

const COMMAND_SIZE = 9;
const BUFFER_SIZE = 65_536;
const buffer = allocate(BUFFER_SIZE);
const source = allocate(BUFFER_SIZE);
source.bytes.fill(0x61);
const reactor = new Reactor(close);
const counts = {handshakes: 0, resumptions: 0, failures: 0};

/** One client. */
class Client {
	readonly #fd: Owned<Fd>;
	readonly #ssl: Pointer;
	#watch: Disposable | undefined;
	#secure = false;
	/* The letter of the command; empty until it has arrived. */
	#command = '';
	#left = 0;
	#open = true;

	static open(fd: Owned<Fd>, ctx: Pointer): void {
		const client = new Client(fd, SSL_new(ctx));
		client.#watch = reactor.watch(fd.value, {ready: () => client.#ready(), fault: () => client.#close()});
	}

	private constructor(fd: Owned<Fd>, ssl: Pointer) {
		this.#fd = fd;
		this.#ssl = ssl;
		SSL_set_fd(ssl, fd.value);
	}

	/* Continues after other clients had their turn: a turn is a megabyte. */
	step(): void {
		this.#ready();
	}

	fault(): void {
		this.#close();
	}

	#ready(): void {
		if (!this.#open) {
			return;
		}

		if (!this.#secure) {
			const result = this.#call(() => SSL_accept(this.#ssl));
			if (result <= 0) {
				return;
			}

			this.#secure = true;
			counts.handshakes++;
			counts.resumptions += SSL_session_reused(this.#ssl);
		}

		for (let buffers = 16; this.#open; buffers--) {
			if (buffers === 0) {
				reactor.queueUrgent(this);
				return;
			}

			if (!(this.#command === 'S' && this.#left > 0 ? this.#send() : this.#receive())) {
				return;
			}
		}
	}

	#send(): boolean {
		const count = this.#call(() => SSL_write(this.#ssl, source.address, Math.min(this.#left, BUFFER_SIZE)));
		this.#left -= Math.max(count, 0);
		return count > 0;
	}

	#receive(): boolean {
		const count = this.#call(() => SSL_read(this.#ssl, buffer.address, BUFFER_SIZE));
		if (count <= 0) {
			return false;
		}

		if (this.#command === 'E') {
			SSL_write(this.#ssl, buffer.address, count);
		} else if (this.#command === 'K') {
			this.#left -= count;
			if (this.#left <= 0) {
				SSL_write(this.#ssl, source.address, 1);
			}
		} else {
			this.#command = String.fromCodePoint(buffer.bytes[0] ?? 0);
			const more = count - COMMAND_SIZE;
			this.#left = Number(buffer.view.getBigUint64(1, true)) - (this.#command === 'K' ? more : 0);
			/* Data can arrive together with the command. */
			if (this.#command === 'E' && more > 0) {
				SSL_write(this.#ssl, buffer.address + BigInt(COMMAND_SIZE), more);
			}
		}

		return true;
	}

	/* Calls a function of OpenSSL, and closes the connection on a permanent error. */
	#call(run: () => number): number {
		ERR_clear_error();
		const result = run();
		const code = result > 0 ? 0 : SSL_get_error(this.#ssl, result);
		if (code !== 0 && code !== SSL_ERROR_WANT_READ && code !== SSL_ERROR_WANT_WRITE) {
			this.#close();
		}

		return result;
	}

	#close(): void {
		if (this.#open) {
			this.#open = false;
			counts.failures += this.#secure ? 0 : 1;
			this.#watch?.[Symbol.dispose]();
			SSL_free(this.#ssl);
			this.#fd[Symbol.dispose]();
		}
	}
}

function start({certFile, keyFile, maxVersion}: PeerOptions): void {
	const ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX_ctrl(ctx, SSL_CTRL_MODE, MODE, null);
	if (maxVersion === 'TLSv1.2') {
		SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MAX_PROTO_VERSION, 0x0303, null);
	}

	if (
		SSL_CTX_use_certificate_chain_file(ctx, certFile) !== 1 ||
		SSL_CTX_use_PrivateKey_file(ctx, keyFile, SSL_FILETYPE_PEM) !== 1
	) {
		throw new Error(`cannot load ${certFile} and its key`);
	}

	const {listener, port} = listenOnLoopback();
	reactor.watchLevelTriggered(listener.value, {
		ready() {
			for (;;) {
				const accepted = acceptConnection(listener.value);
				if (accepted.kind !== 'connection') {
					return;
				}

				Client.open(accepted.fd, ctx);
			}
		},
		fault(reason) {
			throw reason;
		},
	});
	reply({name: 'started', port});
}

function reply(message: PeerReply): void {
	process.send?.(message, undefined, undefined, () => undefined);
}

process.on('message', (request: PeerRequest) => {
	if (request.name === 'start') {
		start(request.options);
	} else {
		reply({name: 'counts', counts: {...counts} satisfies PeerCounts});
	}
});
process.on('disconnect', () => process.exit(0));
