/*++
/* NAME
/*	server-connection 3
/* SUMMARY
/*	TLS connections from clients
/* DESCRIPTION
/*	openServerConnection() creates an SSL on the descriptor of a
/*	client. It sends nothing: in a handshake the client sends first,
/*	after smtpd(8) or postscreen(8) has replied to STARTTLS.
/*
/*	OpenSSL calls the callbacks of the server role only during the
/*	handshake: tickets are issued and sessions are stored before
/*	SSL_accept(3) returns 1, and renegotiation is disabled. So the
/*	report releases everything that the callbacks need.
/* DIAGNOSTICS
/*	The reason why a connection cannot be prepared is logged, with the
/*	text of stock.
/* SEE ALSO
/*	connection(3), postfix src/tls/tls_server.c, tls_server_start()
/*--*/

import {Panic} from '../../base/errors.ts';
import {type Owned, Resources} from '../../base/owned.ts';
import type {Fd} from '../../base/units.ts';
import {SSL_accept, SSL_set_security_level, type Ssl} from '../../ffi/openssl/ssl.ts';
import {warning} from '../../log/log.ts';
import type {HandshakeReport} from '../../wire/handshake-report.ts';
import type {ServerStart} from '../../wire/server-settings.ts';
import {setCiphers} from '../context/ciphers.ts';
import type {ServerContext} from '../context/server-context.ts';
import {SniRequest, selectCertificate} from '../context/sni.ts';
import {lowercase} from '../hostname.ts';
import {printErrors} from '../library.ts';
import {TLS_LOG_UNTRUSTED} from '../log-mask.ts';
import {acceptClientKey} from '../raw-public-keys.ts';
import {buildServerReport} from '../report/server-report.ts';
import {registerResumption, ServerResumption} from '../resume/server-resumption.ts';
import {setServiceSessionContext} from '../resume/server-sessions.ts';
import type {ServerHandshakeFacts} from '../verify/handshake-facts.ts';
import {registerVerifyState, type VerifyState} from '../verify/verify-callback.ts';
import {attach, Connection} from './connection.ts';
import {fingerprintingFor, logConnectionSetup, newSsl} from './new-ssl.ts';

/** The settings of one connection. */
export type ServerConnectionSettings = Pick<
	ServerStart,
	'cipher_grade' | 'cipher_exclusions' | 'enable_rpk' | 'mdalg' | 'namaddr' | 'requirecert' | 'serverid'
> &
	/* Before Postfix 3.12 they are absent, and the log level is that of the SSL_CTX. */
	Partial<Pick<ServerStart, 'log_param' | 'log_level'>>;

/** A connection from a client. */
export class ServerConnection extends Connection {
	/* The state of the handshake. The report releases it, because a session may last for hours. */
	#facts: ServerHandshakeFacts | undefined;
	#resumption: ServerResumption | undefined;
	#registrations: readonly Disposable[];

	/**
	 * @param ssl - moved in.
	 * @param resources - registrations for the SSL; moved in.
	 * @param registrations - those of the resources that are released with the report.
	 */
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
 * @param fd - the peer's descriptor, non-blocking; borrowed, must outlive the connection.
 * @returns the connection, owned by the caller; undefined if the settings cannot be applied: the reason has been
 * logged.
 * Source: tls_server_start(), postfix src/tls/tls_server.c.
 */
export function openServerConnection(
	context: ServerContext,
	start: ServerConnectionSettings,
	fd: Fd,
): ServerConnection | undefined {
	const {namaddr} = start;
	const {features, init, params, resumption: resumptionSettings, sniChains} = context.settings;
	const required = start.requirecert !== 0;
	const logMask = logConnectionSetup('from', context, start, features, required ? TLS_LOG_UNTRUSTED : 0);
	const fingerprinting = fingerprintingFor(context, context.settings, start.mdalg);
	using owned = fingerprinting && newSsl(context);
	if (fingerprinting === undefined || owned === undefined) {
		return undefined;
	}

	using resources = new Resources();
	const ssl = owned.value;
	if (setCiphers(context, ssl, params, start, logMask) === undefined) {
		return undefined;
	}

	if (!setServiceSessionContext(ssl, resumptionSettings, start.serverid)) {
		warning('Could not set TLS session ID context');
		printErrors();
		return undefined;
	}

	if (required) {
		SSL_set_security_level(ssl, 1);
	}

	if (features.rawPublicKeys && start.enable_rpk !== 0) {
		acceptClientKey(ssl);
	}

	if (!attach(ssl, fd, logMask, namaddr)) {
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
	const resumption = new ServerResumption(resumptionSettings, {
		namaddr: verifyState.namaddr,
		serverid: start.serverid,
		logMask,
	});
	const sni = sniChains && new SniRequest(sniChains, verifyState.namaddr);
	const registrations = [
		resources.use(registerVerifyState(ssl, verifyState)),
		resources.use(registerResumption(ssl, resumption)),
		...(sni === undefined ? [] : [resources.use(selectCertificate(ssl, sni))]),
	];
	return new ServerConnection(
		owned,
		{ssl, features, verifyState, fingerprinting, tickets: resumption, sni},
		resumption,
		resources,
		registrations,
	);
}
