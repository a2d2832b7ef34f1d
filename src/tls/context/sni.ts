/*++
/* NAME
/*	sni 3
/* SUMMARY
/*	the certificates of the server name that a client asks for
/* DESCRIPTION
/*	tls_server_sni_maps has key and certificate chains by name, or by
/*	parent domain with a dot in front. A name that is not there gets
/*	the default chain, and before 3.12 no acknowledgement.
/*
/*	Chains are parsed when they are first asked for, and kept; those
/*	that were not asked for longest go. Chains that cannot be parsed
/*	cost the handshake of whoever asks for them.
/*
/*	A connection that gets a chain moves to a second context, which
/*	has no certificates of its own: with another name it must never
/*	show those of the default chain. From 3.12 on it stays, and gives
/*	its certificates up; and a connection that needs none, because it
/*	resumes a session, is not looked for at all.
/* SEE ALSO
/*	postfix src/tls/tls_misc.c, server_sni_callback(), tls_cert_cb()
/*--*/

import {Finalizer, Owned} from '../../base/owned.ts';
import {registerCertificateCallback, registerServerNameCallback} from '../../ffi/openssl/callback.ts';
import {
	lendIdentity,
	SSL_CTX_free,
	SSL_CTX_new,
	SSL_CTX_set_cipher_list,
	SSL_CTX_set_security_level,
	type Ssl,
	type SslCtx,
} from '../../ffi/openssl/libssl.ts';
import {
	SSL_AD_INTERNAL_ERROR,
	SSL_CTX_set_cert_cb,
	SSL_CTX_set_tlsext_servername_callback,
	SSL_certs_clear,
	SSL_set_SSL_CTX,
	SSL_TLSEXT_ERR_ALERT_FATAL,
	SSL_TLSEXT_ERR_NOACK,
	SSL_TLSEXT_ERR_OK,
	serverNameOf,
	TLS_server_method,
} from '../../ffi/openssl/ssl-server.ts';
import {info, warning} from '../../log/log.ts';
import {isHostname} from '../hostname.ts';
import {printErrors} from '../library.ts';
import {loadIdentityText} from './certificates.ts';

/** What was found under a name. */
export type SniLookupResult =
	| {readonly kind: 'value'; readonly bytes: Uint8Array}
	| {readonly kind: 'nothing'}
	/** Which the log has. */
	| {readonly kind: 'problem'};

/** Tables of key and certificate chains in PEM form. */
export interface SniMaps {
	/** Whether there are none. */
	readonly empty: boolean;
	find(key: string): SniLookupResult;
}

/** Chains that are kept. More than most sites have. */
const CHAIN_LIMIT = 200;

/** The chains of an application. */
export class SniChains implements Disposable {
	readonly #maps: SniMaps;
	readonly #ctx: Owned<SslCtx> | undefined;
	readonly #chains = new Map<string, Owned<SslCtx>>();

	/**
	 * @param maps - borrowed.
	 * @param ctx - has no certificates, and is otherwise like that of the application; moved in. Without,
	 * connections get their chain when they need one, and keep their context.
	 */
	constructor(maps: SniMaps, ctx: Owned<SslCtx> | undefined) {
		this.#maps = maps;
		this.#ctx = ctx?.move();
	}

	/** Whether chains are given when they are needed, and not as soon as there is a name. */
	get late(): boolean {
		return this.#ctx === undefined;
	}

	/** Has connections of a context ask for chains. */
	serve(ctx: SslCtx): void {
		SSL_CTX_set_tlsext_servername_callback(ctx, serverNameCallback);
		if (this.late) {
			SSL_CTX_set_cert_cb(ctx, certificateCallback, null);
		}
	}

	/** Sets the ciphers of connections that get a chain. */
	useCiphers(list: string): void {
		if (this.#ctx !== undefined) {
			SSL_CTX_set_cipher_list(this.#ctx.value, list);
		}
	}

	/** Where the chain of a name is; with nothing behind it when there is none. */
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

	/** Gives a connection the chain under a key. False when it cannot be used; the reason has been logged. */
	give(ssl: Ssl, key: string, pem: Uint8Array, name: string): boolean {
		const chain = this.#chains.get(key) ?? parse(pem, `SNI data for ${name}`);
		if (chain === undefined) {
			return false;
		}

		this.#keep(key, chain);
		if (this.#ctx === undefined) {
			SSL_certs_clear(ssl);
		} else {
			SSL_set_SSL_CTX(ssl, this.#ctx.value);
		}

		if (lendIdentity(chain.value, ssl)) {
			return true;
		}

		warning(`SNI data for ${name}: cannot be used: aborting TLS handshake`);
		printErrors();
		return false;
	}

	#keep(key: string, chain: Owned<SslCtx>): void {
		this.#chains.delete(key);
		this.#chains.set(key, chain);
		for (const [oldest, entry] of this.#chains) {
			if (this.#chains.size <= CHAIN_LIMIT) {
				break;
			}

			this.#chains.delete(oldest);
			entry[Symbol.dispose]();
		}
	}

	[Symbol.dispose](): void {
		this.#ctx?.[Symbol.dispose]();
		for (const chain of this.#chains.values()) {
			chain[Symbol.dispose]();
		}

		this.#chains.clear();
	}
}

/* A context that makes no connection, and has a chain. */
function parse(pem: Uint8Array, origin: string): Owned<SslCtx> | undefined {
	const made = SSL_CTX_new(TLS_server_method());
	if (made === null) {
		warning(`${origin}: cannot allocate SSL_CTX: aborting TLS handshake`);
		printErrors();
		return undefined;
	}

	using ctx = new Owned(made, SSL_CTX_free);
	SSL_CTX_set_security_level(made, 0);
	/* For the C program the text ends at a NUL. */
	const end = pem.indexOf(0);
	return loadIdentityText(made, end < 0 ? pem : pem.subarray(0, end), origin) ? ctx.move() : undefined;
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

	/** The name that counts, as the client has written it; empty when there is none. */
	get name(): string {
		return this.#name;
	}

	/** A hello is there. For the callback. */
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
			return this.#again(name);
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

	/** A certificate is needed: whether the handshake can go on. For the callback. */
	needsCertificate(ssl: Ssl): boolean {
		return this.#name === '' || this.#choose(ssl, this.#name) !== 'failed';
	}

	/* A client that was asked for another hello has to ask for the same name, and has its chain already. */
	#again(name: string): {readonly result: number} {
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
				return this.#chains.give(ssl, key, found.bytes, name) ? 'chosen' : 'failed';
			default:
				return found satisfies never;
		}
	}
}

const failure = {result: SSL_TLSEXT_ERR_ALERT_FATAL, alert: SSL_AD_INTERNAL_ERROR} as const;

const requests = new Map<Ssl, SniRequest>();

/** Serves the callbacks of a connection until the result is disposed. */
export function selectCertificate(ssl: Ssl, request: SniRequest): Disposable {
	requests.set(ssl, request);
	return new Finalizer(() => requests.delete(ssl));
}

/* Registered for the life of the process. Nothing may be thrown into OpenSSL. */
const serverNameCallback = registerServerNameCallback(ssl => {
	try {
		return requests.get(ssl)?.hello(ssl) ?? {result: SSL_TLSEXT_ERR_NOACK};
	} catch (reason) {
		warning(`TLS SNI: ${reason instanceof Error ? reason.message : String(reason)}`);
		return failure;
	}
});

const certificateCallback = registerCertificateCallback(ssl => {
	try {
		return (requests.get(ssl)?.needsCertificate(ssl) ?? true) ? 1 : 0;
	} catch (reason) {
		warning(`TLS SNI: ${reason instanceof Error ? reason.message : String(reason)}`);
		return 0;
	}
});
