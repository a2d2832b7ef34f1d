/*++
/* NAME
/*	sni 3
/* SUMMARY
/*	certificate chains by server name
/* DESCRIPTION
/*	tls_server_sni_maps contains keys and certificate chains by server
/*	name, or by parent domain with a leading dot. A client that asks
/*	for a name without an entry gets the default chain; before 3.12 the
/*	name is not acknowledged then.
/*
/*	A chain is parsed when it is first needed, and cached. A chain that
/*	cannot be parsed fails the handshake that needs it.
/*
/*	Before 3.12, a connection that gets a chain moves to a second
/*	SSL_CTX without certificates, so that it can never present the
/*	default chain under another name. With 3.12 and later, the
/*	connection stays in its SSL_CTX and its certificates are cleared;
/*	and no chain is looked up for a connection that needs none because
/*	it resumes a session.
/* SEE ALSO
/*	postfix src/tls/tls_misc.c, server_sni_callback(), tls_cert_cb()
/*--*/

import {Lru} from '../../base/lru.ts';
import {Owned} from '../../base/owned.ts';
import {errorText} from '../../base/text.ts';
import {registerCertificateCallback, registerServerNameCallback} from '../../ffi/openssl/callback.ts';
import {
	copyIdentityToConnection,
	SSL_AD_INTERNAL_ERROR,
	SSL_certs_clear,
	SSL_set_SSL_CTX,
	SSL_TLSEXT_ERR_ALERT_FATAL,
	SSL_TLSEXT_ERR_NOACK,
	SSL_TLSEXT_ERR_OK,
	type Ssl,
	serverNameOf,
} from '../../ffi/openssl/ssl.ts';
import {
	SSL_CTX_free,
	SSL_CTX_new,
	SSL_CTX_set_cert_cb,
	SSL_CTX_set_cipher_list,
	SSL_CTX_set_security_level,
	SSL_CTX_set_tlsext_servername_callback,
	type SslCtx,
	TLS_server_method,
} from '../../ffi/openssl/ssl-ctx.ts';
import {info, warning} from '../../log/log.ts';
import {isHostname} from '../hostname.ts';
import {printErrors} from '../library.ts';
import {SslRegistry} from '../ssl-registry.ts';
import {loadIdentityText} from './certificates.ts';

/** The result of a lookup. */
export type SniLookupResult =
	| {readonly kind: 'value'; readonly bytes: Uint8Array}
	| {readonly kind: 'nothing'}
	/** The lookup failed; the reason has been logged. */
	| {readonly kind: 'problem'};

/** Tables of key and certificate chains in PEM form. */
export interface SniMaps {
	/** Whether tls_server_sni_maps is empty. */
	readonly empty: boolean;
	find(key: string): SniLookupResult;
}

/** Number of cached chains: more than most sites have. */
const CHAIN_LIMIT = 200;

/** The chains of a server context. */
export class SniChains implements Disposable {
	readonly #maps: SniMaps;
	readonly #ctx: Owned<SslCtx> | undefined;
	readonly #chains = new Lru<string, Owned<SslCtx>>(CHAIN_LIMIT, chain => chain[Symbol.dispose]());

	/**
	 * @param maps - borrowed.
	 * @param ctx - an SSL_CTX without certificates, otherwise like that of the context; moved in. Without it,
	 * connections get their chain when they need one, and stay in their SSL_CTX.
	 */
	constructor(maps: SniMaps, ctx: Owned<SslCtx> | undefined) {
		this.#maps = maps;
		this.#ctx = ctx?.move();
	}

	/** Whether chains are looked up when a certificate is needed, and not when the name arrives. */
	get late(): boolean {
		return this.#ctx === undefined;
	}

	/** Sets the callbacks of an SSL_CTX. */
	enable(ctx: SslCtx): void {
		SSL_CTX_set_tlsext_servername_callback(ctx, serverNameCallback);
		if (this.late) {
			SSL_CTX_set_cert_cb(ctx, certificateCallback, null);
		}
	}

	/** Sets the cipher list of connections that move to the second SSL_CTX. */
	useCiphers(list: string): void {
		if (this.#ctx !== undefined) {
			SSL_CTX_set_cipher_list(this.#ctx.value, list);
		}
	}

	/** Looks up a name, then its parent domains. Returns the last key and its result. */
	find(name: string): {readonly key: string; readonly found: SniLookupResult} {
		for (let at = 0; ; ) {
			const key = name.slice(at);
			const found = this.#maps.find(key);
			const next = name.indexOf('.', at + 1);
			if (found.kind !== 'nothing' || next < 0) {
				return {key, found};
			}

			at = next;
		}
	}

	/** Makes a connection use the chain of a key. False when it cannot be used; the reason has been logged. */
	use(ssl: Ssl, key: string, pem: Uint8Array, name: string): boolean {
		const chain = this.#chains.get(key) ?? parse(pem, `SNI data for ${name}`);
		if (chain === undefined) {
			return false;
		}

		this.#chains.set(key, chain);
		if (this.#ctx === undefined) {
			SSL_certs_clear(ssl);
		} else {
			SSL_set_SSL_CTX(ssl, this.#ctx.value);
		}

		if (copyIdentityToConnection(chain.value, ssl)) {
			return true;
		}

		warning(`SNI data for ${name}: cannot be used: aborting TLS handshake`);
		printErrors();
		return false;
	}

	[Symbol.dispose](): void {
		this.#ctx?.[Symbol.dispose]();
		this.#chains[Symbol.dispose]();
	}
}

/* An SSL_CTX that only holds a chain. */
function parse(pem: Uint8Array, origin: string): Owned<SslCtx> | undefined {
	const created = SSL_CTX_new(TLS_server_method());
	if (created === null) {
		warning(`${origin}: cannot allocate SSL_CTX: aborting TLS handshake`);
		printErrors();
		return undefined;
	}

	using ctx = new Owned(created, SSL_CTX_free);
	SSL_CTX_set_security_level(created, 0);
	/* For stock the text is a C string. */
	const end = pem.indexOf(0);
	return loadIdentityText(created, end < 0 ? pem : pem.subarray(0, end), origin) ? ctx.move() : undefined;
}

/** The server name of one connection. */
export class SniRequest {
	readonly #chains: SniChains;
	readonly #namaddr: string;
	#name = '';

	constructor(chains: SniChains, namaddr: string) {
		this.#chains = chains;
		this.#namaddr = namaddr;
	}

	/** The name that has a chain, as the client has written it; empty without one. */
	get name(): string {
		return this.#name;
	}

	/** A ClientHello has arrived. For the callback. */
	hello(ssl: Ssl): {readonly result: number; readonly alert?: number} {
		const name = serverNameOf(ssl);
		if (name === '') {
			return {result: SSL_TLSEXT_ERR_NOACK};
		}

		if (!isHostname(name)) {
			warning(`TLS SNI from ${this.#namaddr} is invalid: ${name}`);
			return {result: SSL_TLSEXT_ERR_NOACK};
		}

		if (this.#name !== '') {
			return this.#retried(name);
		}

		if (this.#chains.late) {
			this.#name = name;
			return {result: SSL_TLSEXT_ERR_OK};
		}

		const choice = this.#choose(ssl, name);
		if (choice === 'chosen') {
			this.#name = name;
			return {result: SSL_TLSEXT_ERR_OK};
		}

		return choice === 'default' ? {result: SSL_TLSEXT_ERR_NOACK} : failure;
	}

	/** A certificate is needed. Returns whether the handshake can go on. For the callback. */
	needsCertificate(ssl: Ssl): boolean {
		return this.#name === '' || this.#choose(ssl, this.#name) !== 'failed';
	}

	/* After a HelloRetryRequest the client has to send the same name; its chain has been chosen. */
	#retried(name: string): {readonly result: number} {
		if (name === this.#name) {
			return {result: SSL_TLSEXT_ERR_OK};
		}

		warning(`TLS SNI changed from ${this.#namaddr} initially ${this.#name}, ${name} after hello retry`);
		return {result: SSL_TLSEXT_ERR_NOACK};
	}

	#choose(ssl: Ssl, name: string): 'chosen' | 'default' | 'failed' {
		const {key, found} = this.#chains.find(name);
		switch (found.kind) {
			case 'nothing':
				info(`TLS SNI ${name} from ${this.#namaddr} not matched, using default chain`);
				return 'default';
			case 'problem':
				warning(`tls_server_sni_maps: ${name} map lookup problem`);
				return 'failed';
			case 'value':
				return this.#chains.use(ssl, key, found.bytes, name) ? 'chosen' : 'failed';
			default:
				return found satisfies never;
		}
	}
}

const failure = {result: SSL_TLSEXT_ERR_ALERT_FATAL, alert: SSL_AD_INTERNAL_ERROR} as const;

const requests = new SslRegistry<SniRequest>();

/** Registers the request of a connection for the callbacks, until the result is disposed. */
export function selectCertificate(ssl: Ssl, request: SniRequest): Disposable {
	return requests.register(ssl, request);
}

/* Registered for the lifetime of the process. Exceptions must not reach OpenSSL. */
const serverNameCallback = registerServerNameCallback(ssl => {
	try {
		return requests.get(ssl)?.hello(ssl) ?? {result: SSL_TLSEXT_ERR_NOACK};
	} catch (reason) {
		warning(`TLS SNI: ${errorText(reason)}`);
		return failure;
	}
});

const certificateCallback = registerCertificateCallback(ssl => {
	try {
		return (requests.get(ssl)?.needsCertificate(ssl) ?? true) ? 1 : 0;
	} catch (reason) {
		warning(`TLS SNI: ${errorText(reason)}`);
		return 0;
	}
});
