/*++
/* NAME
/*	tlsproxy 3
/* SUMMARY
/*	composition: before the jail, into the jail, serve
/* DESCRIPTION
/*	The one module that knows every layer. Before the jail, as root,
/*	it reads the configuration, opens the log, and makes the client
/*	application of this service's own parameters, so that keys are
/*	read while they can be. After the jail nothing is loaded any more.
/*
/*	A request whose settings equal our own gets that application. Any
/*	other gets one that is made from its settings, with the files that
/*	can be read in the jail.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c
/*--*/

import type {Configuration} from './conf/configuration.ts';
import {facilityNumber} from './conf/facility.ts';
import {compareReleases} from './conf/parameters.ts';
import {readConfiguration} from './conf/postconf.ts';
import {readMailClients} from './conf/services.ts';
import {ConfigurationError} from './errors.ts';
import {DeadlineClock} from './event/deadline.ts';
import {Reactor} from './event/reactor.ts';
import {alarm, close, tzset} from './ffi/libc.ts';
import * as log from './log.ts';
import {enterJail, mailOwner} from './master/jail.ts';
import type {Options} from './master/options.ts';
import {type Ancestry, EventServer, watchdogStep} from './master/server.ts';
import {postlogTransport, syslogTransport} from './master/transport.ts';
import {Session, type SessionHost} from './proxy/session.ts';
import {type Application, ApplicationCache, clientApplication} from './tls/application.ts';
import {namedFiles} from './tls/certificates.ts';
import {Keyring, type MaterialFiles} from './tls/keyring.ts';
import {startLibrary} from './tls/library.ts';
import {policyComplaint} from './tls/policy.ts';
import {
	type ClientInit,
	type ClientParams,
	type ClientSettings,
	initText,
	paramsText,
} from './wire/client.ts';
import {type Profile, profileOf} from './wire/release.ts';

/** Name under which the program logs, and by which stock Postfix knows it. */
export const PROCESS_NAME = 'tlsproxy';

/** Applications that are kept. More than any site has of policies; the rest is made again when needed. */
const APPLICATION_LIMIT = 100;

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
	const configDirectory = environment['MAIL_CONFIG'];
	const configuration = await readConfiguration({
		...(configDirectory === undefined ? {} : {configDirectory}),
		overrides: options.overrides,
		serviceName: options.serviceName ?? PROCESS_NAME,
		processName: PROCESS_NAME,
	});
	configuration.check();
	openLog(configuration);

	const profile = profileOf(configuration.string('mail_version'));
	if (!profile.known) {
		log.warning(
			`Postfix ${profile.release} is newer than any release this program knows; talking ${profile.name} to its clients`,
		);
	}

	process.chdir(configuration.string('queue_directory'));
	/* Later releases say so when somebody asks. */
	if (!serverRoleEnabled(configuration) && compareReleases(configuration.release, '3.11') < 0) {
		log.warning('TLS server role is disabled with tlsproxy_tls_security_level or tlsproxy_use_tls');
	}

	const applications = new ApplicationCache(APPLICATION_LIMIT);
	const enabled = clientRoleEnabled(configuration);
	const keyring = new Keyring();
	if (enabled) {
		await loadKeyring(configuration, keyring);
		loadOwnApplication(configuration, profile, applications, keyring);
	}

	/* Where there is no file to say so any more, the time zone has to be known. */
	tzset();
	const account = options.unprivileged ? mailOwner(configuration.string('mail_owner')) : undefined;
	enterJail(options.chroot ? configuration.string('queue_directory') : undefined, account);

	const reactor = new Reactor(close);
	const clock = new DeadlineClock();
	const host: SessionHost = {
		profile,
		reactor,
		clock,
		clientApplication(settings) {
			if (!enabled) {
				log.warning('TLS client role is disabled by configuration');
				return undefined;
			}

			return applicationFor(settings, profile, applications, keyring);
		},
		serverRole() {
			if (!serverRoleEnabled(configuration)) {
				return false;
			}

			log.warning(
				'the TLS server role is not implemented by this program: use stock tlsproxy(8) for postscreen(8)',
			);
			return false;
		},
		ended() {
			server.ended();
		},
	};
	const server = new EventServer(
		reactor,
		clock,
		ancestry,
		{
			maxIdle: configuration.seconds('max_idle'),
			maxUse: configuration.integer('max_use'),
			retirement: options.retirement,
		},
		connection => Session.open(host, connection),
	);
	startWatchdog(configuration);
}

/* Source: maillog_client_init(), postfix src/global/maillog_client.c. */
function openLog(configuration: Configuration): void {
	const tag = `${configuration.string('syslog_name')}/${PROCESS_NAME}`;
	const file = configuration.string('maillog_file');
	if (file === '') {
		log.openLog(
			syslogTransport(
				tag,
				facilityNumber(configuration.string('syslog_facility'), configuration.configDirectory),
			),
		);
		return;
	}

	const prefixes = configuration.string('maillog_file_prefixes').split(/[\s,]+/);
	if (!prefixes.some(prefix => prefix !== '' && file.startsWith(prefix))) {
		throw new ConfigurationError(
			`maillog_file value '${file}' does not match any prefix in maillog_file_prefixes`,
		);
	}

	const socket = `${configuration.string('queue_directory')}/public/${configuration.string('postlog_service_name')}`;
	log.openLog(postlogTransport(socket, configuration.string('myhostname'), tag));
}

/* Source: pre_jail_init_client(), postfix src/tlsproxy/tlsproxy.c. */
function clientRoleEnabled(configuration: Configuration): boolean {
	const [levelName, policyName] = configuration.has('tlsproxy_client_security_level')
		? (['tlsproxy_client_security_level', 'tlsproxy_client_policy_maps'] as const)
		: (['tlsproxy_client_level', 'tlsproxy_client_policy'] as const);
	const level = configuration.string(levelName).toLowerCase();
	if (
		level === ''
			? configuration.boolean('tlsproxy_client_use_tls') ||
				configuration.boolean('tlsproxy_client_enforce_tls')
			: level !== 'none'
	) {
		return true;
	}

	return configuration.string('tlsproxy_client_per_site') !== '' || configuration.string(policyName) !== '';
}

/* Source: pre_jail_init_server(), postfix src/tlsproxy/tlsproxy.c. */
function serverRoleEnabled(configuration: Configuration): boolean {
	const level = configuration.string('tlsproxy_tls_security_level').toLowerCase();
	return level === ''
		? configuration.boolean('tlsproxy_use_tls') || configuration.boolean('tlsproxy_enforce_tls')
		: level !== 'none';
}

/*
 * Whatever a client of this service may name in its requests. That one of them has
 * files that cannot be read is the trouble of its mail alone.
 */
async function loadKeyring(configuration: Configuration, keyring: Keyring): Promise<void> {
	/* Before anything else is asked of OpenSSL, its configuration has to be applied. */
	const {config_file, config_name} = ownParams(configuration);
	if (!startLibrary(config_file ?? 'default', config_name ?? '')) {
		return;
	}

	const appendDefault = configuration.boolean('tls_append_default_CA');
	for (const {service, program, configuration: theirs} of await readMailClients(configuration)) {
		if (!keyring.load(filesOf(theirs, `${program}_tls`), appendDefault)) {
			log.warning(`${service}: its certificates cannot be used, and this service refuses its requests`);
		}
	}
}

function filesOf(
	configuration: Configuration,
	prefix: 'smtp_tls' | 'lmtp_tls' | 'tlsproxy_client',
): MaterialFiles {
	return {
		chain_files: configuration.string(`${prefix}_chain_files`),
		cert_file: configuration.string(`${prefix}_cert_file`),
		key_file: configuration.string(`${prefix}_key_file`),
		dcert_file: configuration.string(`${prefix}_dcert_file`),
		dkey_file: configuration.string(`${prefix}_dkey_file`),
		eccert_file: configuration.string(`${prefix}_eccert_file`),
		eckey_file: configuration.string(`${prefix}_eckey_file`),
		CAfile: configuration.string(`${prefix}_CAfile`),
		CApath: configuration.string(`${prefix}_CApath`),
	};
}

function loadOwnApplication(
	configuration: Configuration,
	profile: Profile,
	applications: ApplicationCache,
	keyring: Keyring,
): void {
	const params = ownParams(configuration);
	const init = ownInit(configuration);
	const application = keyring.load(init, params.tls_append_default_CA !== 0)
		? clientApplication(params, init, keyring)
		: undefined;
	if (application === undefined) {
		log.warning('TLS client initialization failed');
	} else {
		applications.add(keyOf({params, init}, profile), application);
	}
}

function keyOf({params, init}: Pick<ClientSettings, 'params' | 'init'>, profile: Profile): string {
	/* Some defaults end in a blank that clients send and postconf(1) does not print. */
	return (paramsText(params, profile) + initText(init, profile)).replaceAll(/ +$/gm, '');
}

function applicationFor(
	settings: ClientSettings,
	profile: Profile,
	applications: ApplicationCache,
	keyring: Keyring,
): Application | undefined {
	const complaint = policyComplaint(settings.start);
	if (complaint !== undefined) {
		log.warning(`${settings.start.namaddr}: ${complaint}`);
		return undefined;
	}

	const key = keyOf(settings, profile);
	const found = applications.find(key);
	if (found !== undefined) {
		return found;
	}

	const {params, init} = settings;
	if (!keyring.has(init, params.tls_append_default_CA !== 0)) {
		const files = [...namedFiles(init), init.CAfile, init.CApath].filter(name => name !== '');
		/* Administrators search for the first line of stock's warning. */
		log.warning('request from tlsproxy client with unexpected settings');
		log.warning(`files are opened without privileges: ${files.join(', ')}`);
		log.warning(
			'to avoid this, let smtp_tls_* parameters in main.cf or master.cf name them, or run another tlsproxy service with tlsproxy_client_* settings that match the client, and name it in tlsproxy_service_name',
		);
	}

	const made = clientApplication(params, init, keyring);
	if (made !== undefined) {
		applications.add(key, made);
	}

	return made;
}

/* What a client whose parameters equal ours would send. Names are those of main.cf, but for the first two. */
function ownParams(configuration: Configuration): ClientParams {
	const text = (name: Parameters<Configuration['string']>[0]): string =>
		configuration.has(name) ? configuration.string(name) : '';
	const flag = (name: Parameters<Configuration['boolean']>[0]): number =>
		configuration.has(name) && configuration.boolean(name) ? 1 : 0;
	return {
		config_file: text('tls_config_file'),
		config_name: text('tls_config_name'),
		tls_high_cipherlist: text('tls_high_cipherlist'),
		tls_medium_cipherlist: text('tls_medium_cipherlist'),
		tls_low_cipherlist: text('tls_low_cipherlist'),
		tls_export_cipherlist: text('tls_export_cipherlist'),
		tls_null_cipherlist: text('tls_null_cipherlist'),
		tls_eecdh_auto_curves: text('tls_eecdh_auto_curves'),
		tls_eecdh_strong_curve: text('tls_eecdh_strong_curve'),
		tls_eecdh_ultra_curve: text('tls_eecdh_ultra_curve'),
		tls_ffdhe_auto_groups: text('tls_ffdhe_auto_groups'),
		tls_disable_workarounds: text('tls_disable_workarounds'),
		tls_ssl_options: text('tls_ssl_options'),
		tls_dane_digests: text('tls_dane_digests'),
		tlsmgr_service_name: text('tlsmgr_service_name'),
		tls_session_ticket_cipher: text('tls_session_ticket_cipher'),
		tls_daemon_random_bytes: configuration.integer('tls_daemon_random_bytes'),
		tls_append_default_CA: flag('tls_append_default_CA'),
		tls_legacy_public_key_fingerprints: flag('tls_legacy_public_key_fingerprints'),
		tls_preempt_cipherlist: flag('tls_preempt_cipherlist'),
		tls_wildcard_matches_multiple_labels: flag('tls_wildcard_matches_multiple_labels'),
		tls_fast_shutdown_enable: flag('tls_fast_shutdown_enable'),
	};
}

function ownInit(configuration: Configuration): ClientInit {
	return {
		log_param: configuration.has('tlsproxy_client_loglevel_parameter')
			? configuration.string('tlsproxy_client_loglevel_parameter')
			: 'smtp_tls_loglevel',
		log_level: configuration.string('tlsproxy_client_loglevel'),
		verifydepth: configuration.integer('tlsproxy_client_scert_verifydepth'),
		cache_type: 'smtp',
		...filesOf(configuration, 'tlsproxy_client'),
		mdalg: configuration.string('tlsproxy_client_fingerprint_digest'),
	};
}

/*
 * The kernel watches the event loop. As long as the loop turns it is told to wait
 * a little longer; when it stands still, SIGALRM ends the process, the supervisor
 * ends without a farewell, and master(8) starts another pair.
 */
function startWatchdog(configuration: Configuration): void {
	const limit = configuration.seconds('tlsproxy_watchdog_timeout');
	alarm(limit);
	setInterval(() => alarm(limit), watchdogStep(limit));
}
