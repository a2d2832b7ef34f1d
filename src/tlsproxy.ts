/*++
/* NAME
/*	tlsproxy 3
/* SUMMARY
/*	composition: starts the process, enters the jail, serves
/* DESCRIPTION
/*	This module imports from all folders. Before the jail, as root, it reads
/*	the configuration, opens the log, and makes the SSL_CTX of each
/*	role from the parameters of this service, because private keys
/*	cannot be read later. In the jail no configuration, library or
/*	module is loaded.
/*
/*	A request whose settings are those of the service gets that
/*	SSL_CTX. For any other request an SSL_CTX is made from its
/*	settings, with files that are readable in the jail.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c
/*--*/

import {ConfigurationError} from './base/errors.ts';
import {errorText} from './base/text.ts';
import {type Fd, toMilliseconds} from './base/units.ts';
import {readPrefetchedConfig} from './boot/prefetched-config.ts';
import type {Configuration} from './conf/configuration.ts';
import {linkedLibssl, linkedLibtlsrpt} from './conf/linkage.ts';
import {readConfiguration} from './conf/postconf.ts';
import {type PostconfOutput, parsePostconfOutput} from './conf/postconf-output.ts';
import {booleanArgument, limitArgument, pathArgument} from './conf/service-arguments.ts';
import {readMasterFile} from './conf/services.ts';
import {DeadlineClock} from './event/deadline.ts';
import {Reactor} from './event/reactor.ts';
import {close, malloc_trim, tzset} from './ffi/libc/libc.ts';
import {loadTlsrpt} from './ffi/libtlsrpt.ts';
import {loadOpenssl} from './ffi/openssl/binding.ts';
import * as log from './log/log.ts';
import {openConfiguredLog} from './log/open-log.ts';
import {EventServer} from './master/event-server.ts';
import type {Options} from './master/options.ts';
import {notifySupervisor, type ParentProcess} from './master/parent-process.ts';
import {exitIfMasterGone} from './master/status.ts';
import {Watchdog} from './master/watchdog.ts';
import {FormatErrors} from './proxy/format-errors.ts';
import {HandshakeLimiter} from './proxy/handshake-limits.ts';
import {Session} from './proxy/session.ts';
import type {SessionContext} from './proxy/session-context.ts';
import {ClientRole} from './roles/client-role.ts';
import {ClientRoleSessions} from './roles/client-role-sessions.ts';
import {type CredentialFiles, fileNames} from './roles/credential-files.ts';
import {CredentialWatch} from './roles/credential-watch.ts';
import {loadMidna} from './roles/midna.ts';
import {ServerRole} from './roles/server-role.ts';
import {ServerRoleSessions} from './roles/server-role-sessions.ts';
import {enterJail, mailOwner} from './sandbox/jail.ts';
import {installFilter} from './sandbox/seccomp.ts';
import {CredentialStore} from './tls/context/credential-store.ts';
import {TlsmgrClient} from './tlsmgr/tlsmgr-client.ts';
import {ClientSettingsParser} from './wire/client-settings.ts';

/** Process name: part of the log tag, and the value of process_name. */
export const PROCESS_NAME = 'tlsproxy';

/**
 * Reads the configuration, opens the log and loads OpenSSL.
 *
 * @param options - options of the command line.
 * @param environment - environment of the process.
 * @param postconfOutput - output of postconf(1) that was prefetched; otherwise postconf(1) is run.
 * @throws {ConfigurationError} when the configuration is not usable.
 */
export async function configure(
	options: Options,
	environment: NodeJS.ProcessEnv,
	postconfOutput?: PostconfOutput,
): Promise<Configuration> {
	const configDirectory = environment['MAIL_CONFIG'];
	const configuration = await readConfiguration({
		...(configDirectory === undefined ? {} : {configDirectory}),
		overrides: options.overrides,
		serviceName: options.serviceName ?? PROCESS_NAME,
		processName: PROCESS_NAME,
		parameters: postconfOutput?.parameters,
	});
	/* Like stock, before any value that may depend on it. */
	configuration.checkCompatibilityLevel();
	const utf8 = loadMidna(configuration);
	configuration.check();
	await openConfiguredLog({
		syslog_name: configuration.string('syslog_name'),
		syslog_facility: configuration.string('syslog_facility'),
		maillog_file: configuration.string('maillog_file'),
		maillog_file_prefixes: configuration.string('maillog_file_prefixes'),
		postlogSocket: `${configuration.string('queue_directory')}/public/${configuration.string('postlog_service_name')}`,
		myhostname: configuration.string('myhostname'),
		utf8,
		configDirectory: configuration.configDirectory,
		processName: PROCESS_NAME,
		verbosity: options.verbose,
		stderr: options.stderrToo,
		jsonLog: pathArgument(options.serviceArguments, 'json_log'),
	});
	loadLibrary(configuration);
	return configuration;
}

/**
 * Starts the server. The promise is fulfilled when it accepts connections; the process exits by itself.
 *
 * @param options - options of the command line.
 * @param environment - environment of the process.
 * @param parentProcess - process ids and inherited descriptors.
 * @throws {ConfigurationError} when the configuration is not usable.
 */
export async function serve(
	options: Options,
	environment: NodeJS.ProcessEnv,
	parentProcess: ParentProcess,
): Promise<void> {
	const prefetched = environment['TLSPROXY_PREFETCHED'];
	const postconfOutput =
		prefetched === undefined
			? undefined
			: parsePostconfOutput(readPrefetchedConfig(Number(prefetched) as Fd));
	/* A client may be waiting: slow work is started before its result is needed. Errors are reported when it is awaited. */
	const master =
		postconfOutput === undefined
			? readMasterFile(environment['MAIL_CONFIG'])
			: Promise.resolve(postconfOutput.master);
	master.catch(() => undefined);
	const configuration = await configure(options, environment, postconfOutput);
	exitIfMasterGone(parentProcess);
	const limits = {
		perClient: limitArgument(options.serviceArguments, 'client_handshake_count_limit'),
		total: limitArgument(options.serviceArguments, 'handshake_count_limit'),
	};
	/* Used by the supervisor. Here a bad value is an error. */
	booleanArgument(options.serviceArguments, 'fallback');
	const {features} = configuration;
	if (!features.known) {
		log.warning(
			`Postfix ${features.release} is newer than every release that this program knows; using the protocol of Postfix ${features.format}`,
		);
	}

	loadTlsrptLibrary(configuration);
	process.chdir(configuration.string('queue_directory'));
	const reactor = new Reactor(close);
	const clock = new DeadlineClock();
	/* A relative path is valid in the jail and outside. */
	const tlsmgr = new TlsmgrClient(reactor, clock, {
		path: `private/${configuration.string('tlsmgr_service_name')}`,
		greeting: features.greeting,
		idle: toMilliseconds(configuration.seconds('ipc_idle')),
	});
	const credentialStore = new CredentialStore();
	const server = new ServerRole(configuration, credentialStore, new ServerRoleSessions(tlsmgr, features));
	/* Started before files are read: a file that is being written now will be reported as changed. */
	const credentialWatch = new CredentialWatch();
	const watch = (credentialFiles: readonly CredentialFiles[]): void =>
		credentialWatch.watch(fileNames(credentialFiles));
	await server.load(watch);
	const sessions = new ClientRoleSessions(tlsmgr, clock, features);
	const client = new ClientRole(configuration, credentialStore, sessions);
	await client.load(master, watch);
	/* Unfinished work would continue in the jail, where its system calls are not permitted. */
	await Promise.allSettled([master]);

	exitIfMasterGone(parentProcess);
	const watchdog = new Watchdog(configuration.seconds('tlsproxy_watchdog_timeout'));
	/* The file of the time zone cannot be read in the jail. */
	tzset();
	const account = options.unprivileged ? mailOwner(configuration.string('mail_owner')) : undefined;
	enterJail(options.chroot ? configuration.string('queue_directory') : undefined, account);
	if (booleanArgument(options.serviceArguments, 'seccomp')) {
		const missing = installFilter(environment['TLSPROXY_SECCOMP'] === 'thread' ? 'thread' : 'process');
		if (missing !== undefined) {
			log.warning(missing);
		}
	}

	const context: SessionContext = {
		features,
		settingsParser: new ClientSettingsParser(features),
		formatErrors: new FormatErrors(features),
		reactor,
		clock,
		handshakeLimiter: new HandshakeLimiter(limits, clock),
		prepare: complete =>
			complete.role === 'client'
				? client.prepare(complete.settings)
				: server.prepare(complete.request, complete.settings),
		serves: role => (role === 'client' ? client : server).enabled,
		ended() {
			events.ended();
		},
	};
	const events = new EventServer(
		reactor,
		clock,
		parentProcess,
		{
			maxIdle: configuration.seconds('max_idle'),
			maxUse: configuration.integer('max_use'),
			retirement: options.retirement,
		},
		{
			serve(connection) {
				Session.open(context, connection);
			},
			finish(done) {
				sessions.flush(() => {
					sessions[Symbol.dispose]();
					done();
				});
			},
		},
	);
	credentialWatch.start(reactor, clock, files => events.filesChanged(files));
	watchdog.watchLoop();
	notifySupervisor(parentProcess, 'ready');
	setTimeout(trimMemory, TRIM_DELAY);
}

/** Time until start-up memory is released, in milliseconds: not while the first clients wait. */
const TRIM_DELAY = 2000;

/*
 * Most of the memory that start-up needs is garbage by then. An idle process would never
 * release it: neither V8 nor malloc(3) collect while nothing is allocated.
 */
function trimMemory(): void {
	globalThis.gc?.();
	malloc_trim(0);
}

/* Loads the OpenSSL that Postfix is linked with, before the first call of OpenSSL. */
function loadLibrary(configuration: Configuration): void {
	const name = linkedLibssl(configuration);
	if (name === undefined) {
		return;
	}

	let missing: readonly string[];
	try {
		missing = loadOpenssl(name);
	} catch (reason) {
		throw new ConfigurationError(`cannot load ${name}, which Postfix is linked with: ${errorText(reason)}`);
	}

	if (missing.length > 0) {
		throw new ConfigurationError(`${name}, which Postfix is linked with, lacks ${missing.join(', ')}`);
	}
}

/* The library cannot be found in the jail. */
function loadTlsrptLibrary(configuration: Configuration): void {
	const name = linkedLibtlsrpt(configuration);
	if (name === undefined) {
		return;
	}

	try {
		loadTlsrpt(name);
	} catch (reason) {
		log.warning(`no TLSRPT: cannot load ${name}, which Postfix is linked with: ${errorText(reason)}`);
	}
}
