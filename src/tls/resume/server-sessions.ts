/*++
/* NAME
/*	server-sessions 3
/* SUMMARY
/*	whether and how a context has its sessions resumed
/* DESCRIPTION
/*	tlsmgr(8) says for how long sessions are good, and whether it keeps
/*	them for clients that do not take tickets. Tickets need no more
/*	than the time.
/* SEE ALSO
/*	server-resumption(3); postfix src/tls/tls_server.c,
/*	tls_server_init()
/*--*/

import {SSL_CTX_set_client_hello_cb} from '../../ffi/openssl/hello.ts';
import {sha256} from '../../ffi/openssl/libcrypto.ts';
import {
	SSL_CTX_set_options,
	SSL_CTX_set_session_cache_mode,
	SSL_OP_NO_TICKET,
	SSL_OP_NO_TLSv1_3,
	type Ssl,
	type SslCtx,
	TLS1_3_VERSION,
} from '../../ffi/openssl/libssl.ts';
import {
	SSL_CTX_sess_set_cache_size,
	SSL_CTX_set_session_id_context,
	SSL_set_session_id_context,
} from '../../ffi/openssl/ssl-server.ts';
import {
	SSL_CTX_sess_set_get_cb,
	SSL_CTX_sess_set_new_cb,
	SSL_CTX_set_timeout,
} from '../../ffi/openssl/ssl-session.ts';
import type {ProtocolRange} from '../option-lists.ts';
import {
	clientHelloCallback,
	getSessionCallback,
	newSessionCallback,
	type ResumptionTerms,
	type ServerSessions,
} from './server-resumption.ts';
import {enableTickets, ticketCipher} from './tickets.ts';

/** What the settings say about sessions. */
interface SessionSettings {
	readonly tls_session_ticket_cipher: string;
	/** Option bits of the context. */
	readonly options: number;
	readonly range: ProtocolRange;
	readonly cache_type: string;
	/** Clients get a session id even if nobody keeps the session. */
	readonly set_sessid: number;
}

/* Source: openssl/ssl.h. */
const SSL_SESS_CACHE_OFF = 0x0000;
const SSL_SESS_CACHE_SERVER = 0x0002;
const SSL_SESS_CACHE_NO_AUTO_CLEAR = 0x0080;
const SSL_SESS_CACHE_NO_INTERNAL = 0x0300;

/* With the NUL of a C string: tickets go from program to program. */
const SITE = Buffer.from('Postfix/TLS\0');

/**
 * Has a context resume sessions, as far as its settings and tlsmgr(8) allow.
 *
 * @param sessions - who keeps them.
 * @returns what its connections need to know.
 */
export function enableServerSessions(
	ctx: SslCtx,
	settings: SessionSettings,
	sessions: ServerSessions,
): ResumptionTerms {
	const cacheType = settings.cache_type;
	const {cachable, timeout} = sessions.policyOf(cacheType);
	const wanted =
		settings.tls_session_ticket_cipher !== '' && timeout > 0 && (settings.options & SSL_OP_NO_TICKET) === 0;
	const cipher = wanted ? ticketCipher(settings.tls_session_ticket_cipher) : undefined;
	if (cipher === undefined) {
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	} else {
		enableTickets(ctx);
	}

	if (cachable || cipher !== undefined || settings.set_sessid !== 0) {
		SSL_CTX_sess_set_cache_size(ctx, 1);
		SSL_CTX_set_session_id_context(ctx, SITE, SITE.length);
		SSL_CTX_set_session_cache_mode(
			ctx,
			SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR,
		);
		/* A session lasts longer than the key that its ticket was made with. */
		SSL_CTX_set_timeout(ctx, 2 * timeout);
	} else {
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	}

	if (cachable) {
		SSL_CTX_sess_set_get_cb(ctx, getSessionCallback);
		SSL_CTX_sess_set_new_cb(ctx, newSessionCallback);
	}

	if (cachable || cipher !== undefined) {
		SSL_CTX_set_client_hello_cb(ctx, clientHelloCallback, null);
	}

	const abilities = {modern: allowsModern(settings.range), tickets: cipher !== undefined, sessions: cachable};
	return {cacheType, abilities, cipher, timeout, sessions};
}

/** Keeps the sessions of a service from those of others, where the release does so. */
export function separate(ssl: Ssl, {sessions}: ResumptionTerms, serverid: string): boolean {
	if (!sessions.perService) {
		return true;
	}

	const context = sha256(Buffer.from(`Postfix/TLS serverid\0${serverid}\0`, 'latin1'));
	return context !== undefined && SSL_set_session_id_context(ssl, context, context.length) === 1;
}

function allowsModern({disabled, maximum}: ProtocolRange): boolean {
	return (disabled & SSL_OP_NO_TLSv1_3) === 0 && (maximum === 0 || maximum >= TLS1_3_VERSION);
}
