import {SSL_free, SSL_new, type Ssl} from '../../../src/ffi/openssl/ssl.ts';
import {SSL_CTX_free, SSL_CTX_new, type SslCtx, TLS_client_method} from '../../../src/ffi/openssl/ssl-ctx.ts';

/** A new context and a connection of it. Disposal releases both. */
export interface Connection extends Disposable {
	readonly ctx: SslCtx;
	readonly ssl: Ssl;
}

/** Makes a connection without a descriptor. */
export function newConnection(): Connection {
	const ctx = SSL_CTX_new(TLS_client_method());
	const ssl = ctx === null ? null : SSL_new(ctx);
	if (ctx === null || ssl === null) {
		throw new Error('SSL_CTX_new, SSL_new');
	}

	return {
		ctx,
		ssl,
		[Symbol.dispose]() {
			SSL_free(ssl);
			SSL_CTX_free(ctx);
		},
	};
}
