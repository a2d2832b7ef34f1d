/*++
/* NAME
/*	new-ssl 3
/* SUMMARY
/*	the first steps to a connection, which are the same for both roles
/* DESCRIPTION
/*	Before a role applies the settings of a request to an SSL, it
/*	determines the log level, logs that the connection is being set up,
/*	looks up the fingerprint digest, and allocates the SSL. These
/*	functions do that, in the order in which stock logs failures.
/* SEE ALSO
/*	client-connection(3), server-connection(3);
/*	postfix src/tls/tls_client.c, tls_client_start();
/*	postfix src/tls/tls_server.c, tls_server_start()
/*--*/

import {Owned} from '../../base/owned.ts';
import type {ReleaseFeatures} from '../../conf/release.ts';
import {ERR_clear_error} from '../../ffi/openssl/libcrypto.ts';
import {SSL_free, SSL_new, type Ssl} from '../../ffi/openssl/ssl.ts';
import {info, warning} from '../../log/log.ts';
import {fingerprintDigest, type SslContext} from '../context/ssl-context.ts';
import {printErrors} from '../library.ts';
import {connectionLogMask, TLS_LOG_VERBOSE} from '../log-mask.ts';
import type {Fingerprinting} from '../verify/peer-names.ts';

/** The settings of an SSL_CTX that fingerprints depend on. */
interface FingerprintSettings {
	readonly params: {readonly tls_legacy_public_key_fingerprints?: number | undefined};
	readonly init: {readonly mdalg: string};
	readonly features: ReleaseFeatures;
}

/**
 * Determines the log mask of a connection, and logs that it is being set up.
 *
 * @param direction - from a client or to a server.
 * @param extraBits - bits of log-mask(3) that are always set for this connection.
 */
export function logConnectionSetup(
	direction: 'from' | 'to',
	context: SslContext,
	start: Parameters<typeof connectionLogMask>[1] & {readonly namaddr: string},
	features: ReleaseFeatures,
	extraBits = 0,
): number {
	const logMask = connectionLogMask(context.logMask, start, features) | extraBits;
	if ((logMask & TLS_LOG_VERBOSE) !== 0) {
		info(`setting up TLS connection ${direction} ${start.namaddr}`);
	}

	return logMask;
}

/**
 * How fingerprints of the peer are computed.
 *
 * @param settings - those of `context`.
 * @param mdalg - the digest algorithm of the request.
 * @returns undefined if the digest cannot be used; the reason has been logged.
 */
export function fingerprintingFor(
	context: SslContext,
	{params, init, features}: FingerprintSettings,
	mdalg: string,
): Fingerprinting | undefined {
	const digest = mdalg === init.mdalg ? context.digest : fingerprintDigest(mdalg);
	const bareKeys = features.legacyFingerprints && params.tls_legacy_public_key_fingerprints === 1;
	return digest && {digest, bareKeys};
}

/**
 * Allocates an SSL. It has a reference to the SSL_CTX.
 *
 * @returns the SSL, owned by the caller; undefined if there is no memory: the reason has been logged.
 */
export function newSsl(context: SslContext): Owned<Ssl> | undefined {
	/* Errors of another session must not be logged for this one. */
	ERR_clear_error();
	const ssl = SSL_new(context.ctx);
	if (ssl === null) {
		warning("Could not allocate 'TLScontext->con' with SSL_new()");
		printErrors();
		return undefined;
	}

	return new Owned(ssl, SSL_free);
}
