/*++
/* NAME
/*	ssl-context 3
/* SUMMARY
/*	an SSL_CTX per distinct set of properties, and their cache
/* DESCRIPTION
/*	An application (TLS_APPL_STATE) is an SSL_CTX with everything that
/*	does not change from one connection to the next: certificates,
/*	trusted certificates, groups, options. Each role makes its own from
/*	properties that a request carries or that main.cf has; the engine
/*	cannot tell where they come from.
/*
/*	Applications are kept in a bounded cache, least recently used
/*	first to go. Connections keep their context alive by OpenSSL's own
/*	reference count; whoever is going to make one holds on to the
/*	application until then.
/* SEE ALSO
/*	client-context(3), server-context(3)
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
} from '../../ffi/openssl/libssl.ts';
import {warning} from '../../log/log.ts';
import {printErrors} from '../library.ts';
import {TLS_LOG_DEBUG} from '../log-mask.ts';
import {infoCallback} from '../protocol-trace.ts';

let lastSerial = 0;

/** An SSL_CTX and what connections need to know about it. */
export class SslContext implements Disposable {
	/** Bits of tls/log-mask that let lines through. */
	readonly logMask: number;
	/** The digest of fingerprints. */
	readonly digest: EvpMd;
	/** No other application of this process has that number. */
	readonly serial: number = ++lastSerial;
	readonly #ctx: Owned<SslCtx>;
	#cipherList: string | undefined;
	#holders = 0;
	#dismissed = false;

	/** @param ctx - with all of its options; moved in. */
	constructor(ctx: Owned<SslCtx>, mask: number, digest: EvpMd) {
		this.#ctx = ctx.move();
		/*
		 * openssl.cnf and tls_ssl_options can ask for it. A worker may not make the system calls
		 * that it takes, and connection(3) knows by errno(3) what a read has come to.
		 */
		SSL_CTX_clear_options(this.ctx, SSL_OP_ENABLE_KTLS);
		this.logMask = mask;
		this.digest = digest;
	}

	/** Borrowed. */
	get ctx(): SslCtx {
		return this.#ctx.value;
	}

	/**
	 * Whether connections of this context use a cipher list without being told to.
	 *
	 * Parsing a cipher list costs as much as a good part of a handshake, and nearly all connections of
	 * an application use the same. So the list of the first connection becomes the context's own, once:
	 * OpenSSL looks at it again in the middle of handshakes, and it must not change under them.
	 */
	hasCipherList(list: string): boolean {
		if (this.#cipherList === undefined) {
			if (SSL_CTX_set_cipher_list(this.ctx, list) === 1) {
				this.#cipherList = list;
			} else {
				/* It is tried again for the connection, which has the words for it. */
				ERR_clear_error();
			}
		}

		return this.#cipherList === list;
	}

	/** Keeps the context until the result is disposed, even if the application is disposed before that. */
	retain(): Disposable {
		this.#holders++;
		return new Finalizer(() => {
			this.#holders--;
			this.#release();
		});
	}

	/** Releases the context as soon as nobody holds it. */
	[Symbol.dispose](): void {
		this.#dismissed = true;
		this.#release();
	}

	/** Called once, when nobody needs the application any more. */
	protected released(): void {
		this.#ctx[Symbol.dispose]();
	}

	#release(): void {
		if (this.#dismissed && this.#holders === 0) {
			this.released();
		}
	}
}

/** Applications by their properties. */
export class SslContextCache<A extends SslContext> implements Disposable {
	readonly #limit: number;
	readonly #entries = new Map<string, A>();
	/* The last in the order of the map, which is that of use. */
	#latest: A | undefined;

	/** @param limit - how many are kept, at least 1. */
	constructor(limit: number) {
		this.#limit = limit;
	}

	get size(): number {
		return this.#entries.size;
	}

	/** Looks an application up and makes it the most recently used one. */
	find(key: string): A | undefined {
		const found = this.#entries.get(key);
		if (found !== undefined && found !== this.#latest) {
			this.#entries.delete(key);
			this.#entries.set(key, found);
			this.#latest = found;
		}

		return found;
	}

	/** Takes an application over, in place of one of the same key; the least recently used one goes when there are too many. */
	add(key: string, context: A): void {
		this.#entries.get(key)?.[Symbol.dispose]();
		this.#entries.delete(key);
		this.#entries.set(key, context);
		this.#latest = context;
		for (const [oldest, entry] of this.#entries) {
			if (this.#entries.size <= this.#limit) {
				break;
			}

			this.#entries.delete(oldest);
			entry[Symbol.dispose]();
		}
	}

	[Symbol.dispose](): void {
		for (const entry of this.#entries.values()) {
			entry[Symbol.dispose]();
		}

		this.#entries.clear();
	}
}

/**
 * An SSL_CTX with what those of both roles have in common.
 *
 * @param what - it is called in the log.
 * @param mask - bits of tls/log-mask.
 * @returns undefined when there is none to be had; the reason has been logged.
 */
export function newSslCtx(method: SslMethod, what: string, mask: number): Owned<SslCtx> | undefined {
	ERR_clear_error();
	const made = SSL_CTX_new(method);
	if (made === null) {
		warning(`cannot allocate ${what}: disabling TLS support`);
		printErrors();
		return undefined;
	}

	SSL_CTX_set_security_level(made, 0);
	SSL_CTX_set_mode(
		made,
		SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS,
	);
	if ((mask & TLS_LOG_DEBUG) !== 0) {
		SSL_CTX_set_info_callback(made, infoCallback);
	}

	return new Owned(made, SSL_CTX_free);
}

/**
 * The digest of a name; undefined when it cannot be used, and the log says why.
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
