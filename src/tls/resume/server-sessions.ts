/*++
/* NAME
/*	server-sessions 3
/* SUMMARY
/*	enables session resumption in the SSL_CTX of the server role
/* DESCRIPTION
/*	tlsmgr(8) determines how long sessions can be resumed, and whether
/*	it stores sessions for clients that do not support tickets. Tickets
/*	only need the time limit.
/* SEE ALSO
/*	server-resumption(3); postfix src/tls/tls_server.c,
/*	tls_server_init()
/*--*/

import {SSL_CTX_set_client_hello_cb} from '../../ffi/openssl/client-hello.ts';
import {sha256} from '../../ffi/openssl/libcrypto.ts';
import {SSL_set_session_id_context, type Ssl, TLS1_3_VERSION} from '../../ffi/openssl/ssl.ts';
import {
	SSL_CTX_sess_set_cache_size,
	SSL_CTX_set_options,
	SSL_CTX_set_session_cache_mode,
	SSL_CTX_set_session_id_context,
	SSL_OP_NO_TICKET,
	SSL_OP_NO_TLSv1_3,
	type SslCtx,
} from '../../ffi/openssl/ssl-ctx.ts';
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
	type ServerResumptionSettings,
	type ServerSessions,
} from './server-resumption.ts';
import {enableTickets, ticketCipher} from './tickets.ts';

/** The settings that session resumption depends on. */
interface SessionSettings {
	readonly tls_session_ticket_cipher: string;
	/** Option bits of the SSL_CTX. */
	readonly options: number;
	readonly range: ProtocolRange;
	readonly cache_type: string;
	/** Clients get a session id even if their sessions are not stored. */
	readonly set_sessid: number;
}

/* Source: openssl/ssl.h. */
const SSL_SESS_CACHE_OFF = 0x0000;
const SSL_SESS_CACHE_SERVER = 0x0002;
const SSL_SESS_CACHE_NO_AUTO_CLEAR = 0x0080;
const SSL_SESS_CACHE_NO_INTERNAL = 0x0300;

/* With the NUL of a C string: all programs of Postfix must use the same value to resume each other's tickets. */
const SESSION_ID_CONTEXT = Buffer.from('Postfix/TLS\0');

/**
 * Enables session resumption, as far as the settings and tlsmgr(8) allow it.
 *
 * @param sessions - where sessions and ticket keys are stored; must outlive the SSL_CTX.
 * @returns how connections of the SSL_CTX resume sessions.
 */
export function enableServerSessions(
	ctx: SslCtx,
	settings: SessionSettings,
	sessions: ServerSessions,
): ServerResumptionSettings {
	const cacheType = settings.cache_type;
	const {cachable, timeout} = sessions.policyOf(cacheType);
	const enabled =
		settings.tls_session_ticket_cipher !== '' && timeout > 0 && (settings.options & SSL_OP_NO_TICKET) === 0;
	const cipher = enabled ? ticketCipher(settings.tls_session_ticket_cipher) : undefined;
	if (cipher === undefined) {
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	} else {
		enableTickets(ctx);
	}

	if (cachable || cipher !== undefined || settings.set_sessid !== 0) {
		SSL_CTX_sess_set_cache_size(ctx, 1);
		SSL_CTX_set_session_id_context(ctx, SESSION_ID_CONTEXT, SESSION_ID_CONTEXT.length);
		SSL_CTX_set_session_cache_mode(
			ctx,
			SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR,
		);
		/* A session lasts longer than the key that encrypts its ticket. */
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

	const capabilities = {
		tls13: allowsTls13(settings.range),
		tickets: cipher !== undefined,
		sessionIds: cachable,
	};
	return {cacheType, capabilities, cipher, timeout, sessions};
}

/**
 * Prevents that a session of one service is resumed by another, if the release does so.
 *
 * @returns false if that fails; OpenSSL's error queue has the reason.
 */
export function setServiceSessionContext(
	ssl: Ssl,
	{sessions}: ServerResumptionSettings,
	serverid: string,
): boolean {
	if (!sessions.perService) {
		return true;
	}

	const context = sha256(Buffer.from(`Postfix/TLS serverid\0${serverid}\0`, 'latin1'));
	return context !== undefined && SSL_set_session_id_context(ssl, context, context.length) === 1;
}

function allowsTls13({disabled, maximum}: ProtocolRange): boolean {
	return (disabled & SSL_OP_NO_TLSv1_3) === 0 && (maximum === 0 || maximum >= TLS1_3_VERSION);
}
