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

import koffi from 'koffi';
import {type Address, errno, setErrno} from './libc.ts';
import type {Pointer} from './libcrypto.ts';
import type {InfoCallback, Ssl, VerifyCallback} from './libssl.ts';
import type {Bio, BioCallback} from './pem.ts';
import type {NewSessionCallback, SslSession} from './session.ts';
import type {X509StoreCtx} from './x509.ts';

/* As with a signal handler: whoever has called OpenSSL wants to know what its last system call said. */
function leavingErrno(run: (...args: never[]) => unknown): (...args: never[]) => unknown {
	return (...args) => {
		const code = errno();
		const result = run(...args);
		setErrno(code);
		return result;
	};
}

function register<Kind extends string>(prototype: string, run: (...args: never[]) => unknown): Pointer<Kind> {
	return koffi.register(leavingErrno(run), koffi.pointer(koffi.proto(prototype))) as Pointer<Kind>;
}

/** Registers a verify callback: verdict so far, and the state of the verification; returns the verdict. */
export function registerVerifyCallback(run: (ok: number, ctx: X509StoreCtx) => number): VerifyCallback {
	return register('int VerifyCallback(int ok, void *ctx)', run);
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
