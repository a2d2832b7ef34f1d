/*++
/* NAME
/*	server-connection 3
/* SUMMARY
/*	prepares a TLS connection from a client
/* DESCRIPTION
/*	openServerConnection() makes an SSL on the descriptor of a client
/*	that has been told to go ahead, or will be: nothing is sent before
/*	the client has sent its hello.
/* DIAGNOSTICS
/*	When a connection cannot be prepared the reason has been logged, in
/*	the words of stock.
/* SEE ALSO
/*	connection(3), postfix src/tls/tls_server.c, tls_server_start()
/*--*/

import {Panic} from '../../base/errors.ts';
import {Owned, Resources} from '../../base/owned.ts';
import type {Fd} from '../../base/units.ts';
import {ERR_clear_error} from '../../ffi/openssl/libcrypto.ts';
import {SSL_free, SSL_new, SSL_set_security_level, type Ssl} from '../../ffi/openssl/libssl.ts';
import {SSL_accept} from '../../ffi/openssl/ssl-server.ts';
import {info, warning} from '../../log/log.ts';
import type {HandshakeReport} from '../../wire/handshake-report.ts';
import type {ServerStart} from '../../wire/server-settings.ts';
import {setCiphers} from '../context/ciphers.ts';
import type {ServerContext} from '../context/server-context.ts';
import {SniRequest, selectCertificate} from '../context/sni.ts';
import {fingerprintDigest} from '../context/ssl-context.ts';
import {lowercase} from '../hostname.ts';
import {printErrors} from '../library.ts';
import {connectionLogMask, TLS_LOG_UNTRUSTED, TLS_LOG_VERBOSE} from '../log-mask.ts';
import {acceptClientKey} from '../raw-public-keys.ts';
import {buildServerReport} from '../report/server-report.ts';
import {ServerResumption, serveResumption} from '../resume/server-resumption.ts';
import {separate} from '../resume/server-sessions.ts';
import type {ServerHandshakeFacts} from '../verify/handshake-facts.ts';
import {registerVerifyState, type VerifyState} from '../verify/verify-callback.ts';
import {attach, Connection} from './connection.ts';

/** What applies to one connection. */
export type ServerChoice = Pick<
	ServerStart,
	'cipher_grade' | 'cipher_exclusions' | 'enable_rpk' | 'mdalg' | 'namaddr' | 'requirecert' | 'serverid'
> &
	/* Without, as before 3.12, the log level is that of the context. */
	Partial<Pick<ServerStart, 'log_param' | 'log_level'>>;

/** A connection from a client. */
export class ServerConnection extends Connection {
	/* Both are undefined after the report: nothing of a handshake is kept for as long as a session lasts. */
	#facts: ServerHandshakeFacts | undefined;
	#resumption: ServerResumption | undefined;
	#registrations: readonly Disposable[];

	/** @param registrations - those of the resources that are only needed for the handshake and its report. */
	constructor(
		ssl: Owned<Ssl>,
		facts: ServerHandshakeFacts,
		resumption: ServerResumption,
		resources: Resources,
		registrations: readonly Disposable[],
	) {
		super(ssl, resources);
		this.#facts = facts;
		this.#resumption = resumption;
		this.#registrations = registrations;
	}

	get logMask(): number {
		return this.#facts?.verifyState.logMask ?? 0;
	}

	lookUp(done: () => void): void {
		if (this.#resumption === undefined) {
			done();
		} else {
			this.#resumption.lookUp(done);
		}
	}

	protected buildReport(): HandshakeReport {
		const facts = this.#facts;
		if (facts === undefined) {
			throw new Panic('a second report');
		}

		const report = buildServerReport(facts);
		for (const registration of this.#registrations) {
			this.release(registration);
		}

		this.#registrations = [];
		this.#facts = undefined;
		this.#resumption = undefined;
		return report;
	}

	protected handshakeStep(ssl: Ssl): number {
		return SSL_accept(ssl);
	}
}

/**
 * Prepares a connection from a client.
 *
 * @param fd - the peer's descriptor, non-blocking; borrowed, it has to outlive the connection.
 * @returns undefined when that is not possible; the reason has been logged.
 * Source: tls_server_start(), postfix src/tls/tls_server.c.
 */
export function openServerConnection(
	context: ServerContext,
	start: ServerChoice,
	fd: Fd,
): ServerConnection | undefined {
	const {namaddr} = start;
	const {features, init, params, sniChains, terms} = context.settings;
	const required = start.requirecert !== 0;
	const logMask = connectionLogMask(context.logMask, start, features) | (required ? TLS_LOG_UNTRUSTED : 0);
	if ((logMask & TLS_LOG_VERBOSE) !== 0) {
		info(`setting up TLS connection from ${namaddr}`);
	}

	const digest = start.mdalg === init.mdalg ? context.digest : fingerprintDigest(start.mdalg);
	if (digest === undefined) {
		return undefined;
	}

	ERR_clear_error();
	const made = SSL_new(context.ctx);
	if (made === null) {
		warning("Could not allocate 'TLScontext->con' with SSL_new()");
		printErrors();
		return undefined;
	}

	using ssl = new Owned(made, SSL_free);
	using resources = new Resources();
	if (setCiphers(context, made, params, start, logMask) === undefined) {
		return undefined;
	}

	if (!separate(made, terms, start.serverid)) {
		warning('Could not set TLS session ID context');
		printErrors();
		return undefined;
	}

	if (required) {
		SSL_set_security_level(made, 1);
	}

	if (features.rawPublicKeys && start.enable_rpk !== 0) {
		acceptClientKey(made);
	}

	if (!attach(made, fd, logMask, namaddr)) {
		return undefined;
	}

	const verifyState: VerifyState = {
		namaddr: lowercase(namaddr),
		peer: 'client',
		logMask,
		verifyDepth: init.verifydepth,
		mustFail: false,
		forcedFailure: '',
		reporter: undefined,
		features,
		chainCacheQuery: undefined,
		peername: undefined,
		error: undefined,
	};
	const resumption = new ServerResumption(terms, {...verifyState, serverid: start.serverid});
	const sni = sniChains && new SniRequest(sniChains, verifyState.namaddr);
	const registrations = [
		resources.use(registerVerifyState(made, verifyState)),
		resources.use(serveResumption(made, resumption)),
		...(sni === undefined ? [] : [resources.use(selectCertificate(made, sni))]),
	];
	const bareKeys = features.legacyFingerprints && params.tls_legacy_public_key_fingerprints === 1;
	return new ServerConnection(
		ssl,
		{ssl: made, features, verifyState, fingerprinting: {digest, bareKeys}, tickets: resumption, sni},
		resumption,
		resources,
		registrations,
	);
}
