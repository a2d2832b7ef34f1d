/*++
/* NAME
/*	server-application 3
/* SUMMARY
/*	the SSL_CTX of connections from clients
/* DESCRIPTION
/*	Made from the tlsproxy_tls_* parameters of main.cf, before the
/*	jail; from 3.12 on also from the properties that a request
/*	carries.
/* DIAGNOSTICS
/*	When an application cannot be made the reason has been logged.
/* SEE ALSO
/*	application(3), postfix src/tls/tls_server.c, tls_server_init()
/*--*/

import {ERR_clear_error, type EvpMd} from '../ffi/libcrypto.ts';
import {
	SSL_CTX_free,
	SSL_CTX_new,
	SSL_CTX_set_info_callback,
	SSL_CTX_set_mode,
	SSL_CTX_set_options,
	SSL_CTX_set_security_level,
	SSL_CTX_set_session_cache_mode,
	SSL_CTX_set_verify_depth,
	SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER,
	SSL_MODE_ENABLE_PARTIAL_WRITE,
	SSL_MODE_RELEASE_BUFFERS,
	SSL_OP_CIPHER_SERVER_PREFERENCE,
	SSL_OP_NO_TICKET,
	SSL_VERIFY_NONE,
	type SslCtx,
} from '../ffi/libssl.ts';
import {
	nameAuthorities,
	SSL_CTX_set_max_proto_version,
	SSL_CTX_set_min_proto_version,
	SSL_CTX_set_verify,
	SSL_VERIFY_CLIENT_ONCE,
	SSL_VERIFY_PEER,
	TLS_server_method,
} from '../ffi/server.ts';
import {info, warning} from '../log.ts';
import {Owned} from '../owned.ts';
import type {ServerParams as RequestParams, ServerInit} from '../wire/server.ts';
import {Application, fingerprintDigest} from './application.ts';
import type {Behavior} from './behavior.ts';
import {infoCallback} from './debug.ts';
import {setParameters} from './dh.ts';
import {setGroups} from './groups.ts';
import type {Keyring} from './keyring.ts';
import {printErrors, startLibrary} from './library.ts';
import {logMask, TLS_LOG_DEBUG, TLS_LOG_VERBOSE} from './log-mask.ts';
import {offerServerKeys} from './raw-keys.ts';
import {type CipherGrades, contextOptions, type ProtocolRange, parseProtocols} from './settings.ts';
import {verifyCallback} from './verify.ts';

/** Global settings: those of a request, and two cipher lists of releases that have no settings in requests. */
export type ServerParams = RequestParams & CipherGrades;

/** An SSL_CTX for connections from clients, and what they need to know about it. */
export class ServerApplication extends Application {
	readonly params: ServerParams;
	readonly init: ServerInit;
	readonly behavior: Behavior;

	constructor(
		ctx: Owned<SslCtx>,
		params: ServerParams,
		init: ServerInit,
		mask: number,
		digest: EvpMd,
		behavior: Behavior,
	) {
		super(ctx, mask, digest);
		this.params = params;
		this.init = init;
		this.behavior = behavior;
	}
}

/**
 * Makes an application for the server role.
 *
 * @param keyring - has what was loaded before the jail; borrowed.
 * @param behavior - of the release that is installed.
 * @returns undefined when that is not possible; the reason has been logged.
 * Source: tls_server_init(), postfix src/tls/tls_server.c.
 */
export function serverApplication(
	params: ServerParams,
	init: ServerInit,
	keyring: Keyring,
	behavior: Behavior,
): ServerApplication | undefined {
	const mask = logMask(init.log_param, init.log_level);
	if ((mask & TLS_LOG_VERBOSE) !== 0) {
		info('initializing the server-side TLS engine');
	}

	if (!startLibrary(params.config_file, params.config_name)) {
		return undefined;
	}

	const range = parseProtocols(init.protocols);
	if (range === undefined) {
		warning(`Invalid TLS protocol list "${init.protocols}": disabling TLS support`);
		return undefined;
	}

	const digest = fingerprintDigest(init.mdalg);
	if (digest === undefined) {
		return undefined;
	}

	ERR_clear_error();
	const made = SSL_CTX_new(TLS_server_method());
	if (made === null) {
		warning('cannot allocate server SSL_CTX: disabling TLS support');
		printErrors();
		return undefined;
	}

	using ctx = new Owned(made, SSL_CTX_free);
	SSL_CTX_set_security_level(made, 0);
	SSL_CTX_set_verify_depth(made, init.verifydepth + 1);
	setOptions(made, params, range, behavior);
	/* Sessions are not resumed yet. */
	SSL_CTX_set_options(made, SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(made, 0);
	if ((mask & TLS_LOG_DEBUG) !== 0) {
		SSL_CTX_set_info_callback(made, infoCallback);
	}

	if (
		!keyring.giveAuthorities(made, init, params.tls_append_default_CA !== 0) ||
		!keyring.giveIdentity(made, init)
	) {
		return undefined;
	}

	if (behavior.rawPublicKeys) {
		/* What is good enough for the client is good enough for us. */
		offerServerKeys(made);
	}

	setParameters(made, init.dh1024_param_file);
	setGroups(made, params, behavior);
	askForCertificate(made, init);
	SSL_CTX_set_mode(
		made,
		SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS,
	);
	return new ServerApplication(ctx, params, init, mask, digest, behavior);
}

/* Unlike those of clients, the protocols of a server are the same for all its connections. */
function setOptions(
	ctx: SslCtx,
	params: ServerParams,
	range: ProtocolRange,
	{noRenegotiation}: Behavior,
): void {
	SSL_CTX_set_options(
		ctx,
		contextOptions(params.tls_disable_workarounds, params.tls_ssl_options, noRenegotiation),
	);
	SSL_CTX_set_options(ctx, range.disabled);
	/* A limit of zero also cancels what openssl.cnf says. One that the library refuses is not set, without a word. */
	SSL_CTX_set_min_proto_version(ctx, range.minimum);
	SSL_CTX_set_max_proto_version(ctx, range.maximum);
	ERR_clear_error();
	if (params.tls_preempt_cipherlist !== 0) {
		SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
	}
}

/*
 * A client may always answer that it has none: whether that will do is decided by
 * the server that the connection is made for. Without asking, none is sent.
 */
function askForCertificate(ctx: SslCtx, {ask_ccert, CAfile}: ServerInit): void {
	SSL_CTX_set_verify(
		ctx,
		ask_ccert === 0 ? SSL_VERIFY_NONE : SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE,
		verifyCallback,
	);
	if (ask_ccert !== 0 && CAfile !== '' && !nameAuthorities(ctx, CAfile)) {
		warning(`error loading client CA names from: ${CAfile}`);
		printErrors();
	}
}
