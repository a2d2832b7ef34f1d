/*++
/* NAME
/*	callback 3
/* SUMMARY
/*	functions of ours that OpenSSL calls
/* DESCRIPTION
/*	Each registration lasts for the life of the process: OpenSSL keeps
/*	the pointer. Callbacks run inside of a call into OpenSSL, must not
/*	throw, and leave errno(3) as it was.
/*--*/

import {addon as koffi} from '../libc/addon.ts';
import {type Address, errno, setErrno} from '../libc/libc.ts';
import type {ClientHelloCallback} from './hello.ts';
import type {Pointer} from './libcrypto.ts';
import type {ChainCallback, InfoCallback, Ssl, VerifyCallback} from './libssl.ts';
import type {Bio, BioCallback} from './pem.ts';
import type {CertificateCallback, ServerNameCallback} from './ssl-server.ts';
import type {GetSessionCallback, NewSessionCallback, SslSession} from './ssl-session.ts';
import type {CipherCtx, MacCtx, TicketKeyCallback} from './ticket.ts';
import type {X509StoreCtx} from './x509.ts';

let runs = 0;

/** How many callbacks have run: whether one has run inside of a call. */
export function callbacksRun(): number {
	return runs;
}

/* As with a signal handler: whoever has called OpenSSL wants to know what its last system call said. */
function leavingErrno(run: (...args: never[]) => unknown): (...args: never[]) => unknown {
	return (...args) => {
		runs++;
		const code = errno();
		const result = run(...args);
		setErrno(code);
		return result;
	};
}

/* Types have a name, which can be given once. */
const types = new Map<string, ReturnType<typeof koffi.pointer>>();

function register<Kind extends string>(prototype: string, run: (...args: never[]) => unknown): Pointer<Kind> {
	const type = types.get(prototype) ?? koffi.pointer(koffi.proto(prototype));
	types.set(prototype, type);
	return koffi.register(leavingErrno(run), type) as Pointer<Kind>;
}

/** Registers a verify callback: verdict so far, and the state of the verification; returns the verdict. */
export function registerVerifyCallback(run: (ok: number, ctx: X509StoreCtx) => number): VerifyCallback {
	return register('int VerifyCallback(int ok, void *ctx)', run);
}

/** Registers a callback that verifies a whole chain in place of X509_verify_cert(), which it may call: 1 when good. */
export function registerChainCallback(run: (ctx: X509StoreCtx) => number): ChainCallback {
	return register('int ChainCallback(void *ctx, void *arg)', run);
}

/**
 * Registers a callback for sessions that a server has given us. The session is borrowed: OpenSSL
 * releases it afterwards.
 */
export function registerNewSessionCallback(run: (ssl: Ssl, session: SslSession) => void): NewSessionCallback {
	return register('int NewSessionCallback(void *ssl, void *session)', (ssl: Ssl, session: SslSession) => {
		run(ssl, session);
		return 0;
	});
}

/**
 * Registers a callback that finds the session of an id. OpenSSL takes over what it is given; null: there is
 * none.
 */
export function registerGetSessionCallback(
	run: (ssl: Ssl, id: Uint8Array) => SslSession | null,
): GetSessionCallback {
	return register(
		'void *GetSessionCallback(void *ssl, const void *id, int length, int *copy)',
		(ssl: Ssl, id: Address, length: number, copy: Address): SslSession | null => {
			new DataView(koffi.view(copy, 4)).setInt32(0, 0, true);
			return run(ssl, new Uint8Array(koffi.view(id, length).slice(0)));
		},
	);
}

/** Registers a callback for the hello of a client: SSL_CLIENT_HELLO_SUCCESS or SSL_CLIENT_HELLO_RETRY. */
export function registerClientHelloCallback(run: (ssl: Ssl) => number): ClientHelloCallback {
	return register('int ClientHelloCallback(void *ssl, int *alert, void *arg)', (ssl: Ssl) => run(ssl));
}

/**
 * Registers a callback for the server name that a client asks for: an SSL_TLSEXT_ERR_ value, and the alert
 * for a fatal one.
 */
export function registerServerNameCallback(
	run: (ssl: Ssl) => {readonly result: number; readonly alert?: number},
): ServerNameCallback {
	return register(
		'int ServerNameCallback(void *ssl, int *alert, void *arg)',
		(ssl: Ssl, at: Address): number => {
			const {result, alert} = run(ssl);
			if (alert !== undefined) {
				new DataView(koffi.view(at, 4)).setInt32(0, alert, true);
			}

			return result;
		},
	);
}

/** Registers a callback for a connection that is about to need a certificate: 1 to go on, 0 to break off. */
export function registerCertificateCallback(run: (ssl: Ssl) => number): CertificateCallback {
	return register('int CertificateCallback(void *ssl, void *arg)', (ssl: Ssl) => run(ssl));
}

/** A ticket that is to be made or to be opened. Only valid during the call. */
export interface TicketCall {
	readonly ssl: Ssl;
	readonly create: boolean;
	/** Of the key: found in the ticket, or to be written there. */
	readonly name: Uint8Array;
	/** Found in the ticket, or to be written there. */
	readonly iv: Address;
	readonly cipher: CipherCtx;
	readonly mac: MacCtx;
}

const TICKET_NAME_SIZE = 16;

/** Registers a callback for session tickets: 1 when it can be made or opened, 0 when not, negative for failure. */
export function registerTicketKeyCallback(run: (call: TicketCall) => number): TicketKeyCallback {
	return register(
		'int TicketKeyCallback(void *ssl, void *name, void *iv, void *cipher, void *mac, int create)',
		(ssl: Ssl, name: Address, iv: Address, cipher: CipherCtx, mac: MacCtx, create: number): number =>
			run({
				ssl,
				create: create !== 0,
				name: new Uint8Array(koffi.view(name, TICKET_NAME_SIZE)),
				iv,
				cipher,
				mac,
			}),
	);
}

/** Registers an info callback: the connection, SSL_CB_ bits, and what depends on them. */
export function registerInfoCallback(run: (ssl: Ssl, where: number, result: number) => void): InfoCallback {
	return register('void InfoCallback(const void *ssl, int where, int ret)', run);
}

const BIO_CB_READ = 0x02;
const BIO_CB_WRITE = 0x03;
const BIO_CB_RETURN = 0x80;

/** One read or write of a BIO that is complete. */
export interface BioTransfer {
	readonly bio: Bio;
	readonly way: 'read' | 'write';
	readonly address: Address;
	readonly wanted: number;
	/** Bytes moved when positive, otherwise why not. */
	readonly result: number;
	/** What was moved; only valid during the call. */
	readonly bytes: Uint8Array;
}

/** Registers a BIO callback that sees what is read and written, after it was. */
export function registerBioCallback(run: (transfer: BioTransfer) => void): BioCallback {
	return register(
		'long BioCallback(void *b, int oper, void *argp, size_t len, int argi, long argl, int ret, size_t *processed)',
		(
			bio: Bio,
			operation: number,
			address: Address | null,
			wanted: number,
			_integer: number,
			_long: number,
			result: number,
			processed: Address | null,
		): number => {
			const kind = operation & ~BIO_CB_RETURN;
			if (
				(operation & BIO_CB_RETURN) !== 0 &&
				(kind === BIO_CB_READ || kind === BIO_CB_WRITE) &&
				address !== null
			) {
				const moved =
					result > 0 && processed !== null
						? Number(new DataView(koffi.view(processed, 8)).getBigUint64(0, true))
						: 0;
				run({
					bio,
					way: kind === BIO_CB_READ ? 'read' : 'write',
					address,
					wanted,
					result: moved > 0 ? moved : result,
					bytes: moved > 0 ? new Uint8Array(koffi.view(address, moved)) : new Uint8Array(0),
				});
			}

			return result;
		},
	);
}
