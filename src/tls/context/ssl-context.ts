/*++
/* NAME
/*	ssl-context 3
/* SUMMARY
/*	an SSL_CTX with the settings that it was made from
/* DESCRIPTION
/*	A context corresponds to Postfix's TLS_APPL_STATE: an SSL_CTX with
/*	everything that does not change from one connection to the next,
/*	such as certificates, trusted certificates, groups and options.
/*	Each role makes its contexts from settings that come with a request
/*	or from main.cf; nothing here depends on which of the two it was.
/*
/*	The roles cache contexts. An open connection keeps its SSL_CTX
/*	alive with OpenSSL's reference count. Between the choice of a
/*	context and the opening of the connection, the hand-off retains the
/*	context, because the cache may drop it meanwhile.
/* SEE ALSO
/*	client-context(3), server-context(3);
/*	postfix src/tls/tls.h, TLS_APPL_STATE
/*--*/

import {Finalizer, Owned} from '../../base/owned.ts';
import {
	digestOf,
	ERR_clear_error,
	EVP_get_digestbyname,
	EVP_MD_get_size,
	type EvpMd,
} from '../../ffi/openssl/libcrypto.ts';
import {
	SSL_CTX_clear_options,
	SSL_CTX_free,
	SSL_CTX_new,
	SSL_CTX_set_cipher_list,
	SSL_CTX_set_info_callback,
	SSL_CTX_set_mode,
	SSL_CTX_set_security_level,
	SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER,
	SSL_MODE_ENABLE_PARTIAL_WRITE,
	SSL_MODE_RELEASE_BUFFERS,
	SSL_OP_ENABLE_KTLS,
	type SslCtx,
	type SslMethod,
} from '../../ffi/openssl/ssl-ctx.ts';
import {warning} from '../../log/log.ts';
import {printErrors} from '../library.ts';
import {TLS_LOG_DEBUG} from '../log-mask.ts';
import {infoCallback} from '../protocol-trace.ts';

let lastSerial = 0;

/** An SSL_CTX and its settings. Disposal releases it as soon as it is no longer retained. */
export class SslContext implements Disposable {
	/** Which lines are logged: bits of log-mask(3). */
	readonly logMask: number;
	/** The digest algorithm of fingerprints. */
	readonly digest: EvpMd;
	/** Unique in this process. */
	readonly serial: number = ++lastSerial;
	readonly #ctx: Owned<SslCtx>;
	#cipherList: string | undefined;
	#retained = 0;
	#disposed = false;

	/** @param ctx - completely configured; moved in. */
	constructor(ctx: Owned<SslCtx>, mask: number, digest: EvpMd) {
		this.#ctx = ctx.move();
		/*
		 * openssl.cnf and tls_ssl_options can enable kernel TLS. It needs system calls that a worker
		 * may not make, and connection(3) relies on errno(3) of a plain read.
		 */
		SSL_CTX_clear_options(this.ctx, SSL_OP_ENABLE_KTLS);
		this.logMask = mask;
		this.digest = digest;
	}

	/** Borrowed: valid while the context is neither disposed nor released. */
	get ctx(): SslCtx {
		return this.#ctx.value;
	}

	/**
	 * Whether new connections of this context have a cipher list already.
	 *
	 * Parsing a cipher list takes a good part of the time of a handshake, and nearly all connections of
	 * a context use the same one. So the list of the first connection becomes that of the SSL_CTX. It
	 * never changes afterwards, because OpenSSL reads it again in the middle of handshakes.
	 */
	hasCipherList(list: string): boolean {
		if (this.#cipherList === undefined) {
			if (SSL_CTX_set_cipher_list(this.ctx, list) === 1) {
				this.#cipherList = list;
			} else {
				/* The caller tries it again for its connection, and logs the error. */
				ERR_clear_error();
			}
		}

		return this.#cipherList === list;
	}

	/** Keeps the SSL_CTX until the result is disposed, even when the context is disposed earlier. */
	retain(): Disposable {
		this.#retained++;
		return new Finalizer(() => {
			this.#retained--;
			this.#release();
		});
	}

	[Symbol.dispose](): void {
		this.#disposed = true;
		this.#release();
	}

	/** Releases what the context owns. Called once. */
	protected releaseAll(): void {
		this.#ctx[Symbol.dispose]();
	}

	#release(): void {
		if (this.#disposed && this.#retained === 0) {
			this.releaseAll();
		}
	}
}

/**
 * Allocates an SSL_CTX with the settings that both roles share.
 *
 * @param label - name of the SSL_CTX in log lines.
 * @param mask - bits of log-mask(3).
 * @returns undefined when the allocation fails; the reason has been logged.
 */
export function newSslCtx(method: SslMethod, label: string, mask: number): Owned<SslCtx> | undefined {
	ERR_clear_error();
	const created = SSL_CTX_new(method);
	if (created === null) {
		warning(`cannot allocate ${label}: disabling TLS support`);
		printErrors();
		return undefined;
	}

	SSL_CTX_set_security_level(created, 0);
	SSL_CTX_set_mode(
		created,
		SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS,
	);
	if ((mask & TLS_LOG_DEBUG) !== 0) {
		SSL_CTX_set_info_callback(created, infoCallback);
	}

	return new Owned(created, SSL_CTX_free);
}

/**
 * Finds a digest algorithm by name; undefined when it cannot be used, and the reason has been logged.
 *
 * Source: tls_validate_digest(), postfix src/tls/tls_misc.c.
 */
export function fingerprintDigest(name: string): EvpMd | undefined {
	const MAX_DIGEST_SIZE = 64;
	const digest = EVP_get_digestbyname(name);
	if (digest === null) {
		warning(`Digest algorithm "${name}" not found`);
	} else if (EVP_MD_get_size(digest) > MAX_DIGEST_SIZE || digestOf(digest, new Uint8Array(1)) === undefined) {
		warning(`Digest algorithm "${name}" cannot be used`);
	} else {
		return digest;
	}

	warning('disabling TLS support');
	return undefined;
}
