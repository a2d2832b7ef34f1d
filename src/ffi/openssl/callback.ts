/*++
/* NAME
/*	callback 3
/* SUMMARY
/*	functions of this program that OpenSSL calls
/* DESCRIPTION
/*	A function is registered once, and is never released: OpenSSL
/*	stores the pointer. Callbacks run inside of a call into OpenSSL.
/*	They must not throw. The value of errno(3) is the same afterwards,
/*	as with a signal handler: the caller of OpenSSL examines errno(3)
/*	for the result of the last system call.
/*--*/

import {addon as koffi} from '../libc/addon.ts';
import {type Address, errno, setErrno} from '../libc/libc.ts';
import type {Bio, BioCallback} from './bio.ts';
import type {ClientHelloCallback} from './client-hello.ts';
import type {Pointer} from './libcrypto.ts';
import type {Ssl} from './ssl.ts';
import type {
	CertificateCallback,
	ChainCallback,
	InfoCallback,
	ServerNameCallback,
	VerifyCallback,
} from './ssl-ctx.ts';
import type {GetSessionCallback, NewSessionCallback, SslSession} from './ssl-session.ts';
import type {CipherCtx, MacCtx, TicketKeyCallback} from './ticket.ts';
import type {X509StoreCtx} from './x509.ts';

let runs = 0;

/** Number of callbacks that have run. Compared before and after a call, it shows whether one ran inside. */
export function callbacksRun(): number {
	return runs;
}

function preservingErrno(run: (...args: never[]) => unknown): (...args: never[]) => unknown {
	return (...args) => {
		runs++;
		const code = errno();
		const result = run(...args);
		setErrno(code);
		return result;
	};
}

/* By prototype: koffi accepts the name of a type once. */
const types = new Map<string, ReturnType<typeof koffi.pointer>>();

function register<Kind extends string>(prototype: string, run: (...args: never[]) => unknown): Pointer<Kind> {
	const type = types.get(prototype) ?? koffi.pointer(koffi.proto(prototype));
	types.set(prototype, type);
	return koffi.register(preservingErrno(run), type) as Pointer<Kind>;
}

/** Registers a verify callback. It receives OpenSSL's verdict, 0 or 1, and returns that of this program. */
export function registerVerifyCallback(run: (ok: number, ctx: X509StoreCtx) => number): VerifyCallback {
	return register('int VerifyCallback(int ok, void *ctx)', run);
}

/** Registers a callback that verifies a chain instead of X509_verify_cert(), which it may call. It returns 1 on success. */
export function registerChainCallback(run: (ctx: X509StoreCtx) => number): ChainCallback {
	return register('int ChainCallback(void *ctx, void *arg)', run);
}

/** Registers a callback for new sessions. OpenSSL continues to own the session. */
export function registerNewSessionCallback(run: (ssl: Ssl, session: SslSession) => void): NewSessionCallback {
	return register('int NewSessionCallback(void *ssl, void *session)', (ssl: Ssl, session: SslSession) => {
		run(ssl, session);
		return 0;
	});
}

/** Registers a callback that finds the session with an id. It returns null if the session is unknown. OpenSSL takes ownership. */
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

/** Registers a callback for a ClientHello. It returns SSL_CLIENT_HELLO_SUCCESS or SSL_CLIENT_HELLO_RETRY. */
export function registerClientHelloCallback(run: (ssl: Ssl) => number): ClientHelloCallback {
	return register('int ClientHelloCallback(void *ssl, int *alert, void *arg)', (ssl: Ssl) => run(ssl));
}

/** Registers a callback for the server name in a ClientHello. It returns an SSL_TLSEXT_ERR_ value, and an alert if that is fatal. */
export function registerServerNameCallback(
	run: (ssl: Ssl) => {readonly result: number; readonly alert?: number},
): ServerNameCallback {
	return register(
		'int ServerNameCallback(void *ssl, int *alert, void *arg)',
		(ssl: Ssl, alertOut: Address): number => {
			const {result, alert} = run(ssl);
			if (alert !== undefined) {
				new DataView(koffi.view(alertOut, 4)).setInt32(0, alert, true);
			}

			return result;
		},
	);
}

/** Registers a callback that runs when a connection needs a certificate. It returns 1 to continue, 0 to fail. */
export function registerCertificateCallback(run: (ssl: Ssl) => number): CertificateCallback {
	return register('int CertificateCallback(void *ssl, void *arg)', (ssl: Ssl) => run(ssl));
}

/** The arguments of a ticket key callback. Pointers are valid during the call only. */
export interface TicketCall {
	readonly ssl: Ssl;
	/** A ticket is to be encrypted; otherwise decrypted. */
	readonly create: boolean;
	/** Name of the key: to be written if a ticket is encrypted, to be read otherwise. */
	readonly name: Uint8Array;
	/** Initialization vector: to be written if a ticket is encrypted, to be read otherwise. */
	readonly iv: Address;
	readonly cipher: CipherCtx;
	readonly mac: MacCtx;
}

const TICKET_NAME_SIZE = 16;

/**
 * Registers a callback for session tickets. It returns 1 if the ticket can be encrypted or decrypted, 0 if not,
 * and a negative number on failure.
 */
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

/** Registers an info callback. It receives the connection, SSL_CB_ bits, and a value that depends on these. */
export function registerInfoCallback(run: (ssl: Ssl, where: number, result: number) => void): InfoCallback {
	return register('void InfoCallback(const void *ssl, int where, int ret)', run);
}

const BIO_CB_READ = 0x02;
const BIO_CB_WRITE = 0x03;
const BIO_CB_RETURN = 0x80;

/** A completed read or write of a BIO. */
export interface BioTransfer {
	readonly bio: Bio;
	readonly operation: 'read' | 'write';
	readonly address: Address;
	/** Number of bytes that were requested. */
	readonly wanted: number;
	/** Number of bytes that were transferred if positive, otherwise the result of the BIO. */
	readonly result: number;
	/** The bytes that were transferred; valid during the call only. */
	readonly bytes: Uint8Array;
}

/** Registers a BIO callback that runs after each read and write. */
export function registerBioCallback(run: (transfer: BioTransfer) => void): BioCallback {
	return register(
		'long BioCallback(void *b, int oper, void *argp, size_t len, int argi, long argl, int ret, size_t *processed)',
		(
			bio: Bio,
			oper: number,
			address: Address | null,
			wanted: number,
			_integer: number,
			_long: number,
			result: number,
			processed: Address | null,
		): number => {
			const kind = oper & ~BIO_CB_RETURN;
			if (
				(oper & BIO_CB_RETURN) !== 0 &&
				(kind === BIO_CB_READ || kind === BIO_CB_WRITE) &&
				address !== null
			) {
				const moved =
					result > 0 && processed !== null
						? Number(new DataView(koffi.view(processed, 8)).getBigUint64(0, true))
						: 0;
				run({
					bio,
					operation: kind === BIO_CB_READ ? 'read' : 'write',
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
