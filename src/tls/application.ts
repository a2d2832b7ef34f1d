/*++
/* NAME
/*	application 3
/* SUMMARY
/*	an SSL_CTX per distinct set of properties, and their cache
/* DESCRIPTION
/*	An application (TLS_APPL_STATE) is an SSL_CTX with everything that
/*	does not change from one connection to the next: certificates,
/*	trusted certificates, groups, options. It is made from the
/*	properties that a request carries; the engine cannot tell those
/*	from the ones that were read from main.cf before the jail.
/*
/*	Applications are kept in a bounded cache, least recently used
/*	first to go. Connections keep their context alive by OpenSSL's own
/*	reference count; whoever is going to make one holds on to the
/*	application until then.
/* DIAGNOSTICS
/*	When an application cannot be made the reason has been logged, and
/*	nothing is cached: the next request tries again.
/* SEE ALSO
/*	postfix src/tls/tls_client.c, tls_client_init()
/*--*/

import {
	digestOf,
	ERR_clear_error,
	EVP_get_digestbyname,
	EVP_MD_get_size,
	type EvpMd,
} from '../ffi/libcrypto.ts';
import {
	SSL_CTX_free,
	SSL_CTX_new,
	SSL_CTX_set_cipher_list,
	SSL_CTX_set_info_callback,
	SSL_CTX_set_mode,
	SSL_CTX_set_options,
	SSL_CTX_set_security_level,
	SSL_CTX_set_verify_depth,
	SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER,
	SSL_MODE_ENABLE_PARTIAL_WRITE,
	SSL_MODE_RELEASE_BUFFERS,
	type SslCtx,
	TLS_client_method,
} from '../ffi/libssl.ts';
import {info, warning} from '../log.ts';
import {Owned} from '../owned.ts';
import type {Seconds} from '../units.ts';
import type {ClientInit, ClientParams} from '../wire/client.ts';
import {infoCallback} from './debug.ts';
import type {Keyring} from './keyring.ts';
import {printErrors, startLibrary} from './library.ts';
import {logMask, TLS_LOG_DEBUG, TLS_LOG_VERBOSE} from './log-mask.ts';
import {prepareDane} from './policy.ts';
import {enableResumption} from './resumption.ts';
import {contextOptions, setGroups} from './settings.ts';

/** How sessions of an application are kept. */
export interface SessionPolicy {
	/** For how long. */
	readonly timeout: Seconds;
	/** What tells its sessions from those of other applications: session-key(3). */
	readonly scope: string;
}

let lastSerial = 0;

/** An SSL_CTX and what connections need to know about it. */
export class Application implements Disposable {
	readonly params: ClientParams;
	readonly init: ClientInit;
	/** Bits of tls/log-mask that let lines through. */
	readonly logMask: number;
	/** The digest of fingerprints. */
	readonly digest: EvpMd;
	/** No other application of this process has that number. */
	readonly serial: number = ++lastSerial;
	/** How its sessions are kept; undefined when they are not. */
	readonly resumes: SessionPolicy | undefined;
	readonly #ctx: Owned<SslCtx>;
	#cipherList: string | undefined;
	#holders = 0;
	#dismissed = false;

	constructor(
		ctx: Owned<SslCtx>,
		params: ClientParams,
		init: ClientInit,
		mask: number,
		digest: EvpMd,
		resumes: SessionPolicy | undefined,
	) {
		this.resumes = resumes;
		this.#ctx = ctx.move();
		this.params = params;
		this.init = init;
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
		if (this.#cipherList === undefined && SSL_CTX_set_cipher_list(this.ctx, list) === 1) {
			this.#cipherList = list;
		}

		return this.#cipherList === list;
	}

	/** Keeps the context until the result is disposed, even if the application is disposed before that. */
	hold(): Disposable {
		this.#holders++;
		let holding = true;
		return {
			[Symbol.dispose]: () => {
				if (holding) {
					holding = false;
					this.#holders--;
					this.#release();
				}
			},
		};
	}

	/** Releases the context as soon as nobody holds it. */
	[Symbol.dispose](): void {
		this.#dismissed = true;
		this.#release();
	}

	#release(): void {
		if (this.#dismissed && this.#holders === 0) {
			this.#ctx[Symbol.dispose]();
		}
	}
}

/** Applications by their properties. */
export class ApplicationCache implements Disposable {
	readonly #limit: number;
	readonly #entries = new Map<string, Application>();

	/** @param limit - how many are kept, at least 1. */
	constructor(limit: number) {
		this.#limit = limit;
	}

	get size(): number {
		return this.#entries.size;
	}

	/** Looks an application up and makes it the most recently used one. */
	find(key: string): Application | undefined {
		const found = this.#entries.get(key);
		if (found !== undefined) {
			this.#entries.delete(key);
			this.#entries.set(key, found);
		}

		return found;
	}

	/** Takes an application over, in place of one of the same key; the least recently used one goes when there are too many. */
	add(key: string, application: Application): void {
		this.#entries.get(key)?.[Symbol.dispose]();
		this.#entries.delete(key);
		this.#entries.set(key, application);
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
 * Makes an application for the client role.
 *
 * @param keyring - has what was loaded before the jail; borrowed.
 * @param sessions - how its sessions are kept; without, they are not.
 * @returns undefined when that is not possible; the reason has been logged.
 * Source: tls_client_init(), postfix src/tls/tls_client.c.
 */
export function clientApplication(
	params: ClientParams,
	init: ClientInit,
	keyring: Keyring,
	sessions?: SessionPolicy,
): Application | undefined {
	const mask = logMask(init.log_param, init.log_level);
	if ((mask & TLS_LOG_VERBOSE) !== 0) {
		info('initializing the client-side TLS engine');
	}

	if (!startLibrary(params.config_file ?? 'default', params.config_name ?? '')) {
		return undefined;
	}

	const digest = fingerprintDigest(init.mdalg);
	if (digest === undefined) {
		return undefined;
	}

	ERR_clear_error();
	const made = SSL_CTX_new(TLS_client_method());
	if (made === null) {
		warning('cannot allocate client SSL_CTX: disabling TLS support');
		printErrors();
		return undefined;
	}

	using ctx = new Owned(made, SSL_CTX_free);
	SSL_CTX_set_security_level(made, 0);
	SSL_CTX_set_verify_depth(made, init.verifydepth + 1);
	SSL_CTX_set_options(made, contextOptions(params.tls_disable_workarounds, params.tls_ssl_options));
	if ((mask & TLS_LOG_DEBUG) !== 0) {
		SSL_CTX_set_info_callback(made, infoCallback);
	}

	if (
		!keyring.giveAuthorities(made, init, params.tls_append_default_CA !== 0) ||
		!keyring.giveIdentity(made, init)
	) {
		return undefined;
	}

	if (!prepareDane(made, params.tls_dane_digests, digest)) {
		return undefined;
	}

	setGroups(made, params.tls_eecdh_auto_curves);

	SSL_CTX_set_mode(
		made,
		SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS,
	);
	if (sessions !== undefined) {
		enableResumption(made, sessions.timeout);
	}

	return new Application(ctx, params, init, mask, digest, sessions);
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
