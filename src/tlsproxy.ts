/*++
/* NAME
/*	tlsproxy 3
/* SUMMARY
/*	composition: before the jail, into the jail, serve
/* DESCRIPTION
/*	The one module that knows every layer. Before the jail, as root,
/*	it reads the configuration, opens the log, and makes the
/*	applications of this service's own parameters, so that keys are
/*	read while they can be. After the jail nothing is loaded any more.
/*
/*	A request whose settings equal our own gets that application. Any
/*	other gets one that is made from its settings, with the files that
/*	can be read in the jail.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c
/*--*/

import {wordsOf} from './base/text.ts';
import {ClientRole} from './client-role.ts';
import {ClientSessionStore} from './client-session-store.ts';
import type {Configuration} from './conf/configuration.ts';
import {facilityNumber} from './conf/facility.ts';
import {libsslOf, libtlsrptOf} from './conf/linkage.ts';
import {readConfiguration} from './conf/postconf.ts';
import {type Printed, parsePrinted} from './conf/printed.ts';
import {readMasterFile} from './conf/services.ts';
import {booleanWord, limitWord, pathWord} from './conf/words.ts';
import {ConfigurationError} from './errors.ts';
import {DeadlineClock} from './event/deadline.ts';
import {Reactor} from './event/reactor.ts';
import {close, malloc_trim, tzset} from './ffi/libc.ts';
import {loadOpenssl} from './ffi/openssl.ts';
import {loadTlsrpt} from './ffi/tlsrpt.ts';
import * as log from './log.ts';
import {type Ancestry, say} from './master/ancestry.ts';
import {enterJail, mailOwner} from './master/jail.ts';
import {openJsonLog} from './master/json.ts';
import {readOffer} from './master/offer.ts';
import type {Options} from './master/options.ts';
import {Renewal} from './master/renewal.ts';
import {confine} from './master/seccomp.ts';
import {EventServer} from './master/server.ts';
import {leaveIfForgotten} from './master/status.ts';
import {postlogTransport, syslogTransport, withStderr} from './master/transport.ts';
import {Watchdog} from './master/watchdog.ts';
import {fileNames, type Material} from './materials.ts';
import {loadMidna} from './midna.ts';
import {Concurrency} from './proxy/concurrency.ts';
import type {SessionHost} from './proxy/host.ts';
import {Session} from './proxy/session.ts';
import {ServerRole} from './server-role.ts';
import {SessionStore} from './session-store.ts';
import {Keyring} from './tls/keyring.ts';
import {TlsManager} from './tlsmgr/client.ts';
import {type Fd, toMilliseconds} from './units.ts';
import {ClientSettingsParser} from './wire/client.ts';
import {profileOf} from './wire/release.ts';

/** Name under which the program logs, and by which stock Postfix knows it. */
export const PROCESS_NAME = 'tlsproxy';

/**
 * Reads the configuration, and opens the log and the library that it says.
 *
 * @param options - of the command line.
 * @param environment - of the process.
 * @param printed - what postconf(1) has printed already; without, it is run.
 * @throws {ConfigurationError} when that is not possible.
 */
export async function configure(
	options: Options,
	environment: NodeJS.ProcessEnv,
	printed?: Printed,
): Promise<Configuration> {
	const configDirectory = environment['MAIL_CONFIG'];
	const configuration = await readConfiguration({
		...(configDirectory === undefined ? {} : {configDirectory}),
		overrides: options.overrides,
		serviceName: options.serviceName ?? PROCESS_NAME,
		processName: PROCESS_NAME,
		parameters: printed?.parameters,
	});
	const utf8 = loadMidna(configuration);
	configuration.check();
	await openLog(configuration, options);
	log.printUtf8(utf8);
	loadLibrary(configuration);
	return configuration;
}

/**
 * Serves until the process ends.
 *
 * @param options - of the command line.
 * @param environment - of the process.
 * @throws {ConfigurationError} when that is not possible.
 */
export async function serve(
	options: Options,
	environment: NodeJS.ProcessEnv,
	ancestry: Ancestry,
): Promise<void> {
	const offer = environment['TLSPROXY_OFFER'];
	const printed = offer === undefined ? undefined : parsePrinted(readOffer(Number(offer) as Fd));
	/* A client waits for us: what takes time is begun before it is needed. What goes wrong is heard then. */
	const master =
		printed === undefined ? readMasterFile(environment['MAIL_CONFIG']) : Promise.resolve(printed.master);
	master.catch(() => undefined);
	const configuration = await configure(options, environment, printed);
	leaveIfForgotten(ancestry);
	const limits = {
		perClient: limitWord(options.words, 'client_handshake_count_limit'),
		total: limitWord(options.words, 'handshake_count_limit'),
	};
	const profile = profileOf(configuration.string('mail_version'));
	if (!profile.known) {
		log.warning(
			`Postfix ${profile.release} is newer than any release this program knows; talking ${profile.name} to its clients`,
		);
	}

	loadReporting(configuration);
	process.chdir(configuration.string('queue_directory'));
	const reactor = new Reactor(close);
	const clock = new DeadlineClock();
	/* Relative, as it is the same in the jail and outside. */
	const tlsmgr = new TlsManager(reactor, clock, {
		path: `private/${configuration.string('tlsmgr_service_name')}`,
		greeting: profile.greeting,
		idle: toMilliseconds(configuration.seconds('ipc_idle')),
	});
	const keyring = new Keyring();
	const server = new ServerRole(configuration, profile, keyring, new ClientSessionStore(tlsmgr, profile));
	/* From before files are read: what is half written by now will be seen to change. */
	const renewal = new Renewal();
	const watch = (materials: readonly Material[]): void => renewal.watch(fileNames(materials));
	await server.load(watch);
	const sessions = new SessionStore(tlsmgr, clock, profile);
	const client = new ClientRole(configuration, profile, keyring, sessions);
	await client.load(master, watch);
	/* What was begun and not waited for would go on in the jail, where it may not do what it needs. */
	await Promise.allSettled([master]);

	leaveIfForgotten(ancestry);
	const watchdog = new Watchdog(configuration.seconds('tlsproxy_watchdog_timeout'));
	/* Where there is no file to say so any more, the time zone has to be known. */
	tzset();
	const account = options.unprivileged ? mailOwner(configuration.string('mail_owner')) : undefined;
	enterJail(options.chroot ? configuration.string('queue_directory') : undefined, account);
	if (booleanWord(options.words, 'seccomp')) {
		const missing = confine(environment['TLSPROXY_SECCOMP'] === 'thread' ? 'thread' : 'process');
		if (missing !== undefined) {
			log.warning(missing);
		}
	}

	const host: SessionHost = {
		profile,
		settingsParser: new ClientSettingsParser(profile),
		reactor,
		clock,
		concurrency: new Concurrency(limits, clock),
		prepare: order =>
			order.role === 'client'
				? client.prepare(order.settings)
				: server.prepare(order.request, order.settings),
		serves: role => (role === 'client' ? client : server).enabled,
		ended() {
			events.ended();
		},
	};
	const events = new EventServer(
		reactor,
		clock,
		ancestry,
		{
			maxIdle: configuration.seconds('max_idle'),
			maxUse: configuration.integer('max_use'),
			retirement: options.retirement,
		},
		{
			serve(connection) {
				Session.open(host, connection);
			},
			finish(done) {
				sessions.flush(() => {
					sessions[Symbol.dispose]();
					done();
				});
			},
		},
	);
	renewal.start(reactor, clock, files => events.renew(files));
	watchdog.watchLoop();
	say(ancestry, 'ready');
	setTimeout(tidyUp, TIDY_UP_AFTER);
}

/** When the first clients have been served, in milliseconds. */
const TIDY_UP_AFTER = 2000;

/*
 * Most of what was needed to get here is needed no more. A process that waits for
 * work would keep it for good: nothing makes an idle V8 or malloc(3) look for it.
 */
function tidyUp(): void {
	globalThis.gc?.();
	malloc_trim(0);
}

/* Before anything else is asked of OpenSSL: which one. */
function loadLibrary(configuration: Configuration): void {
	const name = libsslOf(configuration);
	if (name === undefined) {
		return;
	}

	let missing: readonly string[];
	try {
		missing = loadOpenssl(name);
	} catch (reason) {
		throw new ConfigurationError(
			`cannot load ${name}, which Postfix is linked with: ${reason instanceof Error ? reason.message : String(reason)}`,
		);
	}

	if (missing.length > 0) {
		throw new ConfigurationError(`${name}, which Postfix is linked with, lacks ${missing.join(', ')}`);
	}
}

/* In the jail it would not be found. */
function loadReporting(configuration: Configuration): void {
	const name = libtlsrptOf(configuration);
	if (name === undefined) {
		return;
	}

	try {
		loadTlsrpt(name);
	} catch (reason) {
		const why = reason instanceof Error ? reason.message : String(reason);
		log.warning(`no TLSRPT: cannot load ${name}, which Postfix is linked with: ${why}`);
	}
}

/* Source: maillog_client_init(), postfix src/global/maillog_client.c. */
async function openLog(configuration: Configuration, {stderrToo, verbose, words}: Options): Promise<void> {
	const tag = `${configuration.string('syslog_name')}/${PROCESS_NAME}`;
	const transport = transportOf(configuration, tag);
	log.openLog(stderrToo ? withStderr(transport, PROCESS_NAME) : transport);
	log.setVerbosity(verbose);
	const path = pathWord(words, 'json_log');
	const json = path === undefined ? undefined : openJsonLog(path);
	if (json !== undefined) {
		const {jsonRecords} = await import('./records.ts');
		log.openSecondLog(jsonRecords(tag, json));
	}
}

function transportOf(configuration: Configuration, tag: string): log.LogTransport {
	const file = configuration.string('maillog_file');
	if (file === '') {
		return syslogTransport(
			tag,
			facilityNumber(configuration.string('syslog_facility'), configuration.configDirectory),
		);
	}

	const prefixes = wordsOf(configuration.string('maillog_file_prefixes'));
	if (!prefixes.some(prefix => file.startsWith(prefix))) {
		throw new ConfigurationError(
			`maillog_file value '${file}' does not match any prefix in maillog_file_prefixes`,
		);
	}

	const socket = `${configuration.string('queue_directory')}/public/${configuration.string('postlog_service_name')}`;
	return postlogTransport(socket, configuration.string('myhostname'), tag);
}
