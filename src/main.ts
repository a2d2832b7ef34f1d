/*++
/* NAME
/*	tlsproxy 8
/* SUMMARY
/*	Postfix TLS proxy
/* SYNOPSIS
/*	tlsproxy [generic Postfix daemon options] [name=value ...]
/* DESCRIPTION
/*	tlsproxy(8) implements TLS for programs of Postfix that do not do
/*	it themselves. With smtp_tls_connection_reuse, smtp(8) passes it
/*	the connection to a remote server after STARTTLS, with the TLS
/*	policy of the destination. tlsproxy(8) does the handshake, reports
/*	the outcome, and gives back a plaintext stream. smtp(8) can store
/*	that stream in scache(8), so that other deliveries with the same
/*	policy use the same TLS connection.
/*
/*	postscreen(8) passes it the connection of a remote client that has
/*	said STARTTLS. Both roles can be served by one service.
/*
/*	This program replaces the one that comes with Postfix. It talks
/*	the protocol of the Postfix release that is installed.
/* SECURITY
/*	The program is exposed to remote servers and clients. It reads
/*	certificates and keys as root, then gives up its privileges, and can
/*	be run in a chroot jail. It applies the settings that each request
/*	carries: connections of one policy are never made with those of
/*	another.
/*
/*	From then on the process can make only the system calls that it
/*	needs to serve. It starts no program, process or thread, opens
/*	files for reading only, and makes no socket but those of the host.
/*	A process that tries something else is killed by the kernel, which
/*	leaves a record in its audit log; the supervisor logs it, and
/*	master(8) starts another. Where the service manager forbids the
/*	seccomp system call, only the main thread of the process is kept
/*	from other system calls, and a warning says so.
/*
/*	Where memory must not be writable and executable at a time, the
/*	program runs without machine code of its own. It finds that out
/*	when a process starts.
/*
/*	When a hand-off fails, smtp(8) does not do TLS itself: mail is
/*	deferred, and at security level "may" it is later sent in
/*	cleartext. Therefore a fault in one session ends that session and
/*	no other.
/* PROCESSES
/*	A process serves many sessions. It tells master(8) that it is
/*	taken while its event loop is busy, or when it runs out of file
/*	descriptors; then master(8) starts another for whoever comes next,
/*	up to the process limit. More processes than processor cores are
/*	of no use. A process that has had no session for max_idle ends.
/*
/*	After "postfix reload" new connections are served by new processes,
/*	with the new configuration; those from before end with their last
/*	session. The same happens by itself when a certificate, key, chain
/*	or CA file changes that a process has read as root: the files are
/*	looked at first, and when they cannot be used, or do not match,
/*	one error is logged, and the process goes on with what it has.
/*	A certificate and its key should be replaced within a second of
/*	each other, as certbot(1) does it.
/*
/*	"postfix stop", or SIGTERM, ends all processes with their sessions.
/*	When the service is removed from master.cf, sessions go on to their
/*	end.
/* DIAGNOSTICS
/*	Problems and transactions are logged to syslogd(8) or postlogd(8),
/*	in the words of the program that this one replaces.
/*
/*	The option -v adds what happens to each session. It does not make
/*	this program tell what stock would.
/* BUGS
/*	Tables of tls_server_sni_maps must be of a type that "postmap -s"
/*	can list, such as hash, lmdb, texthash or inline. With others
/*	(cdb, regexp, ldap, ...) the server role is refused, and a warning
/*	says so when a process starts.
/*
/*	Files that a request names, and that no service in master.cf and
/*	none of the parameters below names, are opened without privileges,
/*	in the jail if there is one.
/* CONFIGURATION PARAMETERS
/*	Parameters are read when a process starts. Processes end after
/*	max_use sessions or max_idle seconds, and at "postfix reload", which
/*	cuts no session. A release of Postfix has those parameters that its
/*	postconf(1) knows.
/*
/*	Described is what the parameters do in this program. See
/*	postconf(5) for their syntax.
/* STARTTLS GLOBAL CONTROLS
/*	In the client role the values that a request carries apply, and those
/*	of main.cf are what they are compared with. In the server role those
/*	of main.cf apply; with Postfix 3.12 those of the request.
/* .IP "\fBtls_append_default_CA (no)\fR"
/*	Trust the authorities of the system besides those in *_tls_CAfile
/*	and *_tls_CApath.
/* .IP "\fBtls_config_file (default)\fR"
/* .IP "\fBtls_config_name (empty)\fR"
/*	Configuration file of OpenSSL, and the section for this application.
/*	The first one that is needed counts for all of the process.
/* .IP "\fBtls_daemon_random_bytes (32)\fR"
/*	Compared only: OpenSSL gets its randomness from the kernel.
/* .IP "\fBtls_high_cipherlist (see 'postconf -d' output)\fR"
/* .IP "\fBtls_medium_cipherlist (see 'postconf -d' output)\fR"
/* .IP "\fBtls_low_cipherlist (see 'postconf -d' output)\fR"
/* .IP "\fBtls_export_cipherlist (see 'postconf -d' output)\fR"
/* .IP "\fBtls_null_cipherlist (see 'postconf -d' output)\fR"
/*	What the cipher grades mean. "low" and "export" mean "medium" with
/*	Postfix 3.8 and later.
/* .IP "\fBtls_eecdh_auto_curves (see 'postconf -d' output)\fR"
/* .IP "\fBtls_ffdhe_auto_groups (see 'postconf -d' output)\fR"
/*	Groups for the key exchange, most preferred first.
/* .IP "\fBtls_eecdh_strong_curve (prime256v1)\fR"
/* .IP "\fBtls_eecdh_ultra_curve (secp384r1)\fR"
/*	The curve of a grade, in the server role before Postfix 3.6.
/* .IP "\fBtls_disable_workarounds (see 'postconf -d' output)\fR"
/* .IP "\fBtls_ssl_options (empty)\fR"
/*	Options of OpenSSL that are turned off, or on.
/* .IP "\fBtls_preempt_cipherlist (no)\fR"
/*	In the server role, choose the cipher by our order.
/* .IP "\fBtls_dane_digests (sha512 sha256)\fR"
/*	Digests of TLSA records that are used, most preferred first.
/* .IP "\fBtls_dane_digest_agility (on)\fR"
/* .IP "\fBtls_dane_trust_anchor_digest_enable (yes)\fR"
/*	No release that this program supports has these.
/* .IP "\fBtls_wildcard_matches_multiple_labels (yes)\fR"
/*	Whether "*.example.com" in a certificate is a.b.example.com, too.
/* .IP "\fBtls_legacy_public_key_fingerprints (no)\fR"
/*	Fingerprints of public keys, for Postfix before 3.9: of the key
/*	alone, as Postfix 2.9.0 to 2.9.5 made them. From 3.9 on it has no
/*	effect, as with stock.
/* .IP "\fBtls_fast_shutdown_enable (yes)\fR"
/*	Compared only. A connection is always closed without waiting for the
/*	other side to say goodbye.
/* .IP "\fBtls_session_ticket_cipher (aes-256-cbc)\fR"
/*	Cipher of tickets in the server role; empty: no tickets.
/* .IP "\fBtls_server_sni_maps (empty)\fR"
/*	In the server role, keys and certificates by the name that a remote
/*	client asks for. The tables are read as a whole when a process
/*	starts, those of type proxy too; changes are seen by the next one.
/* .IP "\fBtls_trust_server_ccerts (no)\fR"
/*	Accept certificates of clients that are for servers only. Postfix
/*	3.12 and later.
/* .IP "\fBtls_trace_rate_limit (1)\fR"
/*	Not used: this program writes no traces. Postfix 3.12 and later.
/* .IP "\fBtlsmgr_service_name (tlsmgr)\fR"
/*	Where TLS sessions are kept that other processes may resume.
/* .IP "\fBopenssl_path (openssl)\fR"
/*	Not used by any daemon.
/* STARTTLS SERVER CONTROLS
/*	The service loads what smtpd(8) has, so that postscreen(8) can use
/*	it. All of it is read before the jail.
/* .IP "\fBtlsproxy_tls_security_level ($smtpd_tls_security_level)\fR"
/*	none: requests of the server role are refused. may, encrypt: they are
/*	served; whether TLS is optional is up to postscreen(8), but the
/*	mandatory parameters below apply with encrypt.
/* .IP "\fBtlsproxy_tls_chain_files ($smtpd_tls_chain_files)\fR"
/* .IP "\fBtlsproxy_tls_cert_file ($smtpd_tls_cert_file)\fR"
/* .IP "\fBtlsproxy_tls_key_file ($smtpd_tls_key_file)\fR"
/* .IP "\fBtlsproxy_tls_eccert_file ($smtpd_tls_eccert_file)\fR"
/* .IP "\fBtlsproxy_tls_eckey_file ($smtpd_tls_eckey_file)\fR"
/* .IP "\fBtlsproxy_tls_dcert_file ($smtpd_tls_dcert_file)\fR"
/* .IP "\fBtlsproxy_tls_dkey_file ($smtpd_tls_dkey_file)\fR"
/*	Certificates and keys. With the first, the others are not used. The
/*	certificate file "none" means that there is none.
/* .IP "\fBtlsproxy_tls_CAfile ($smtpd_tls_CAfile)\fR"
/* .IP "\fBtlsproxy_tls_CApath ($smtpd_tls_CApath)\fR"
/*	Authorities whose certificates of clients are trusted. The directory
/*	is searched when a client comes: in the jail, if there is one.
/* .IP "\fBtlsproxy_tls_ask_ccert ($smtpd_tls_ask_ccert)\fR"
/* .IP "\fBtlsproxy_tls_req_ccert ($smtpd_tls_req_ccert)\fR"
/*	Ask for a certificate; with encrypt, require one.
/* .IP "\fBtlsproxy_tls_ccert_verifydepth ($smtpd_tls_ccert_verifydepth)\fR"
/*	How long a chain of certificates may be.
/* .IP "\fBtlsproxy_tls_enable_rpk ($smtpd_tls_enable_rpk)\fR"
/*	Offer raw public keys. Postfix 3.9 and later.
/* .IP "\fBtlsproxy_tls_fingerprint_digest ($smtpd_tls_fingerprint_digest)\fR"
/*	Digest of fingerprints that are reported and logged.
/* .IP "\fBtlsproxy_tls_protocols ($smtpd_tls_protocols)\fR"
/* .IP "\fBtlsproxy_tls_ciphers ($smtpd_tls_ciphers)\fR"
/* .IP "\fBtlsproxy_tls_exclude_ciphers ($smtpd_tls_exclude_ciphers)\fR"
/*	Protocols, cipher grade, and exclusions at all levels.
/* .IP "\fBtlsproxy_tls_mandatory_protocols ($smtpd_tls_mandatory_protocols)\fR"
/* .IP "\fBtlsproxy_tls_mandatory_ciphers ($smtpd_tls_mandatory_ciphers)\fR"
/* .IP "\fBtlsproxy_tls_mandatory_exclude_ciphers ($smtpd_tls_mandatory_exclude_ciphers)\fR"
/*	Protocols and cipher grade with encrypt, and more exclusions.
/* .IP "\fBtlsproxy_tls_eecdh_grade ($smtpd_tls_eecdh_grade)\fR"
/*	Before Postfix 3.6, "strong" and "ultra" choose a curve; later ones
/*	do not use it.
/* .IP "\fBtlsproxy_tls_dh1024_param_file ($smtpd_tls_dh1024_param_file)\fR"
/*	Parameters of finite-field key exchange; empty: built-in ones.
/* .IP "\fBtlsproxy_tls_dh512_param_file ($smtpd_tls_dh512_param_file)\fR"
/*	Not used: there are no ciphers of export grade.
/* .IP "\fBtlsproxy_tls_always_issue_session_ids ($smtpd_tls_always_issue_session_ids)\fR"
/*	Give sessions a name, even when they are not kept.
/* .IP "\fBtlsproxy_tls_loglevel ($smtpd_tls_loglevel)\fR"
/*	How much of a connection is logged.
/* STARTTLS CLIENT CONTROLS
/*	A request carries all settings of its client, and they apply. The
/*	parameters say what is loaded before the jail besides: the files of
/*	every service in master.cf that runs smtp(8) or lmtp(8) are loaded
/*	without them, so that clients with different identities can share
/*	this service.
/* .IP "\fBtlsproxy_client_security_level ($smtp_tls_security_level)\fR"
/* .IP "\fBtlsproxy_client_policy_maps ($smtp_tls_policy_maps)\fR"
/* .IP "\fBtlsproxy_client_per_site ($smtp_tls_per_site)\fR"
/*	Whether the client role is enabled: with a level other than none, or
/*	with any table. Tables are not opened.
/* .IP "\fBtlsproxy_client_level ($smtp_tls_security_level)\fR"
/* .IP "\fBtlsproxy_client_policy ($smtp_tls_policy_maps)\fR"
/*	Names of the first two before Postfix 3.7.
/* .IP "\fBtlsproxy_client_CAfile ($smtp_tls_CAfile)\fR"
/* .IP "\fBtlsproxy_client_CApath ($smtp_tls_CApath)\fR"
/* .IP "\fBtlsproxy_client_chain_files ($smtp_tls_chain_files)\fR"
/* .IP "\fBtlsproxy_client_cert_file ($smtp_tls_cert_file)\fR"
/* .IP "\fBtlsproxy_client_key_file ($smtp_tls_key_file)\fR"
/* .IP "\fBtlsproxy_client_eccert_file ($smtp_tls_eccert_file)\fR"
/* .IP "\fBtlsproxy_client_eckey_file ($smtp_tls_eckey_file)\fR"
/* .IP "\fBtlsproxy_client_dcert_file ($smtp_tls_dcert_file)\fR"
/* .IP "\fBtlsproxy_client_dkey_file ($smtp_tls_dkey_file)\fR"
/*	Files that are read before the jail; the directory is searched when a
/*	server is verified: in the jail, if there is one. A request that
/*	names the same files gets them.
/* .IP "\fBtlsproxy_client_scert_verifydepth ($smtp_tls_scert_verifydepth)\fR"
/* .IP "\fBtlsproxy_client_fingerprint_digest ($smtp_tls_fingerprint_digest)\fR"
/* .IP "\fBtlsproxy_client_loglevel ($smtp_tls_loglevel)\fR"
/* .IP "\fBtlsproxy_client_loglevel_parameter (smtp_tls_loglevel)\fR"
/*	With what is made ready before the jail. A request with other values
/*	is served with its own.
/* OBSOLETE STARTTLS SUPPORT CONTROLS
/* .IP "\fBtlsproxy_use_tls ($smtpd_use_tls)\fR"
/* .IP "\fBtlsproxy_enforce_tls ($smtpd_enforce_tls)\fR"
/* .IP "\fBtlsproxy_client_use_tls ($smtp_use_tls)\fR"
/* .IP "\fBtlsproxy_client_enforce_tls ($smtp_enforce_tls)\fR"
/*	The levels may and encrypt, where the level of the role is empty.
/* RESOURCE CONTROLS
/* .IP "\fBtlsproxy_watchdog_timeout (10s)\fR"
/*	How long the event loop may be busy or blocked before the process
/*	ends with "fatal: watchdog timeout". Time in which the process is
/*	stopped, or its host is paused, does not count.
/* .IP "\fBmax_idle (100s)\fR"
/*	Time without a session after which the process ends.
/* .IP "\fBmax_use (100)\fR"
/*	Number of sessions after which the process ends when it has had none
/*	for five seconds, or for max_idle if that is less. Stock's ends at
/*	once; one of this program is expensive to start.
/* .IP "\fBipc_idle (5s)\fR"
/*	How long an unused connection to tlsmgr(8) is kept.
/* MISCELLANEOUS CONTROLS
/* .IP "\fBconfig_directory (see 'postconf -d' output)\fR"
/* .IP "\fBdaemon_directory (see 'postconf -d' output)\fR"
/* .IP "\fBqueue_directory (see 'postconf -d' output)\fR"
/*	Configuration, programs, and the jail.
/* .IP "\fBmail_owner (postfix)\fR"
/*	Who the process is after it has given up root.
/* .IP "\fBenable_idna2003_compatibility (no)\fR"
/*	Convert domain names that are not ASCII as IDNA2003 does.
/* .IP "\fBsmtputf8_enable (yes)\fR"
/*	Print UTF-8 text in the log as it is.
/* .IP "\fBmaillog_file (empty)\fR"
/* .IP "\fBsyslog_facility (mail)\fR"
/* .IP "\fBsyslog_name (see 'postconf -d' output)\fR"
/*	Where and under which name to log.
/* .IP "\fBprocess_id (read-only)\fR"
/* .IP "\fBprocess_name (read-only)\fR"
/* .IP "\fBservice_name (read-only)\fR"
/*	What other parameters can refer to. The process name is tlsproxy.
/* MASTER.CF WORDS
/*	Settings that Postfix does not know follow the options in
/*	master.cf, as name=value words. They apply to each process of the
/*	service.
/* .IP "\fBclient_handshake_count_limit (0)\fR"
/*	In the server role, how many handshakes may be in progress with
/*	one remote client: an IPv4 address, or an IPv6 network of 64 bits.
/*	More than that are refused, and postscreen(8) replies with 454.
/*	Zero: there is no limit. postscreen(8) has one of its own,
/*	postscreen_client_connection_count_limit. However many there are,
/*	handshakes of one remote client wait for each other, and not those
/*	of others for them.
/* .IP "\fBhandshake_count_limit (0)\fR"
/*	The same with all remote clients together. Refusals are logged at
/*	once, but no more than one line in a minute.
/* .IP "\fBjson_log (empty)\fR"
/*	A file, a named pipe that is being read, or a datagram socket, for
/*	JSON records of all that is logged, beside the log of Postfix and
/*	never instead. It is opened before the jail. Records that cannot
/*	be written at once are lost, and how many is recorded. Files are
/*	made for root only; rotate them by copying and truncating.
/* .IP "\fBseccomp (yes)\fR"
/*	Whether a process is kept from system calls that it does not need.
/*	It is for hosts on which that does harm: please report them.
/* SEE ALSO
/*	smtp(8), Postfix SMTP client
/*	scache(8), Postfix connection cache
/*	postscreen(8), Postfix zombie blocker
/*	tlsmgr(8), Postfix TLS session cache
/*	master(8), process manager
/*	postconf(5), configuration parameters
/*	postfix-tlsproxy-install(1), register this program
/*	postfix-tlsproxy-doctor(1), why connections are not reused
/* README FILES
/*	TLS_REUSE_README, who holds which connection
/* LICENSE
/*	Eclipse Public License 2.0
/*--*/

import {ConfigurationError, Panic} from './base/errors.ts';
import type {Fd, Seconds} from './base/units.ts';
import {runSupervisorRequest} from './boot/supervisor-request.ts';
import {serviceArgumentNames} from './conf/service-arguments.ts';
import {isatty} from './ffi/libc/libc.ts';
import * as log from './log/log.ts';
import {openLogFromEnvironment} from './log/open-log.ts';
import {type Options, parseOptions} from './master/options.ts';
import {notifyExit, parentProcessFrom, setInheritedCloseOnExec} from './master/parent-process.ts';
import {Watchdog} from './master/watchdog.ts';
import {configure, PROCESS_NAME, serve} from './tlsproxy.ts';

/** Seconds for the start of a process: the limit of launch.pl, but time in which the process is stopped does not count. */
const START_LIMIT = 100 as Seconds;

start().catch(end);

async function start(): Promise<void> {
	new Watchdog(START_LIMIT).restart();
	openLogFromEnvironment(process.env, PROCESS_NAME);
	const errand = process.env['TLSPROXY_ERRAND'];
	if (errand !== undefined) {
		const configuration = await configure(options(), process.env);
		process.exit(
			await runSupervisorRequest(errand, process.env['TLSPROXY_ERRAND_TEXT'] ?? '', configuration),
		);
	}

	const parentProcess = parentProcessFrom(process.env);
	log.onExit(status => notifyExit(parentProcess, status));
	if (isatty(0 as Fd) === 1) {
		throw new ConfigurationError('do not run this command by hand');
	}

	setInheritedCloseOnExec(parentProcess);
	process.on('uncaughtException', end);
	await serve(options(), process.env, parentProcess);
}

function options(): Options {
	return parseOptions(process.argv.slice(2), serviceArgumentNames);
}

function end(reason: unknown): never {
	if (reason instanceof ConfigurationError) {
		/* What exactly is wrong in main.cf is a line of its own. */
		if (reason.cause instanceof ConfigurationError) {
			log.warning(reason.cause.message);
		}

		return log.fatal(reason.message);
	}

	return log.panic(
		reason instanceof Panic
			? reason.message
			: reason instanceof Error
				? (reason.stack ?? reason.message)
				: String(reason),
	);
}
