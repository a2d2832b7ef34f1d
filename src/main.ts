/*++
/* NAME
/*	tlsproxy 8
/* SUMMARY
/*	Postfix TLS proxy
/* SYNOPSIS
/*	tlsproxy [generic Postfix daemon options] [name=value ...]
/* DESCRIPTION
/*	tlsproxy(8) implements TLS for Postfix programs that do not
/*	implement it themselves. With smtp_tls_connection_reuse, smtp(8)
/*	passes it the connection to a remote server after STARTTLS,
/*	together with the TLS policy of the destination. tlsproxy(8) makes
/*	the TLS handshake, reports the result, and returns a plaintext
/*	stream. smtp(8) can store that stream in scache(8), so that other
/*	deliveries with the same policy use the same TLS connection.
/*
/*	postscreen(8) passes it the connection of a remote client after
/*	the client has sent STARTTLS. One service can serve both roles.
/*
/*	This program replaces the tlsproxy(8) that is part of Postfix. It
/*	speaks the protocol of the installed Postfix release.
/* SECURITY
/*	The program is exposed to remote servers and clients. It reads
/*	certificates and keys as root, then drops privileges, and can run
/*	in a chroot jail. It applies the settings of each request: a
/*	connection that was made for one policy is never used for another.
/*
/*	After that, a process can make only the system calls that it needs
/*	to serve. It starts no program, process or thread, opens files for
/*	reading only, and creates no sockets except UNIX-domain sockets.
/*	When a process makes any other system call, the kernel kills it
/*	and writes an audit record, the supervisor logs a fatal error, and
/*	master(8) starts another process. If the service manager forbids
/*	the seccomp system call, the filter covers only the main thread,
/*	and each process logs a warning when it starts.
/*
/*	If the system forbids memory that is writable and executable, the
/*	JIT compiler is turned off (--jitless). This is detected at process
/*	start.
/*
/*	When a hand-off fails, smtp(8) does not make the TLS handshake
/*	itself: mail is deferred, and at security level "may" it is sent
/*	in cleartext later. Therefore a fault in one session ends only
/*	that session.
/* PROCESSES
/*	One process serves many sessions. It reports itself as busy to
/*	master(8) while its event loop is busy, or when it runs out of file
/*	descriptors; master(8) then starts another process for the next
/*	connection, up to the process limit. More processes than processor
/*	cores do not increase the throughput. A process terminates after
/*	max_idle without a session.
/*
/*	After "postfix reload" new processes serve new connections with
/*	the new configuration; old processes terminate after their last
/*	session. The same happens without a reload when a certificate,
/*	key, chain or CA file changes that a process has read as root: the
/*	new files are checked first, and if they cannot be loaded or do
/*	not match, each process logs an error, and continues with the
/*	files that it has loaded. A process that starts later reads the
/*	files as they are then. Replace a certificate and its key within
/*	one second, as certbot(1) does. CApath directories are not
/*	watched: they are searched during each handshake.
/*
/*	"postfix stop", or SIGTERM, terminates all processes and their
/*	sessions. When the service is removed from master.cf, open
/*	sessions continue to their end.
/*
/*	A supervisor starts each process, and replaces it once, immediately,
/*	when it crashes or is killed: its sessions end, and the next client
/*	is served. The log contains the cause.
/*
/*	If no process can start (damaged files, a missing library, a memory
/*	limit, an error in a setting that only this program has), the
/*	supervisor logs a warning and executes the tlsproxy(8) program of
/*	Postfix in daemon_directory. That program serves one client identity
/*	only: the one of the tlsproxy_client_* parameters. It terminates
/*	after 100 sessions, or 100 seconds without a session, and the next
/*	process is one of this program again. The service argument
/*	fallback=no turns this off.
/*
/*	The replacement and the fallback need Perl (/usr/bin/perl), without
/*	any modules. Without Perl, a crash ends the supervisor, too, and
/*	master(8) starts another process or waits for
/*	service_throttle_time.
/* DIAGNOSTICS
/*	Problems and transactions are logged to syslogd(8) or postlogd(8),
/*	with the same text as the program that this one replaces.
/*
/*	While the log is not read, for example because postlogd(8) is
/*	stopped, sessions continue, and a process queues up to 10000 log
/*	records or one megabyte. Further records are lost; a warning with
/*	their number is logged when the log is read again.
/*
/*	-v logs every state change of a session. The output differs from
/*	that of stock -v.
/* BUGS
/*	Tables of tls_server_sni_maps must have a type that "postmap -s"
/*	can list, such as hash, lmdb, texthash or inline. With other types
/*	(cdb, regexp, ldap, ...) the server role is disabled, and a warning
/*	is logged when a process starts.
/*
/*	If a request names a file that is not configured in master.cf or in
/*	the parameters below, the file is opened after privileges have been
/*	dropped, and inside the chroot jail.
/*
/*	A FIFO or a device in place of a file is not opened: the effect is
/*	that of a file that cannot be read. The files of a *_tls_CApath
/*	directory are not checked: if one of them is a FIFO, the process
/*	blocks until tlsproxy_watchdog_timeout, as with the program that
/*	this one replaces.
/* CONFIGURATION PARAMETERS
/*	Parameters are read when a process starts. A process terminates
/*	after max_use sessions or max_idle seconds, and after "postfix
/*	reload", which does not end any session. Each release of Postfix
/*	has the parameters that its postconf(1) lists.
/*
/*	The text below describes the effect of each parameter in this
/*	program. See postconf(5) for the syntax.
/* STARTTLS GLOBAL CONTROLS
/*	In the client role, the values in a request apply; they are
/*	compared with those in main.cf. In the server role, the values in
/*	main.cf apply; with Postfix 3.12, those in the request.
/* .IP "\fBtls_append_default_CA (no)\fR"
/*	Trust the CA certificates of the system in addition to those in
/*	*_tls_CAfile and *_tls_CApath.
/* .IP "\fBtls_config_file (default)\fR"
/* .IP "\fBtls_config_name (empty)\fR"
/*	Configuration file of OpenSSL, and the section for this application.
/*	OpenSSL reads its configuration once: the first settings that are
/*	used apply for the lifetime of the process.
/* .IP "\fBtls_daemon_random_bytes (32)\fR"
/*	Only compared with the request: OpenSSL gets random data from the
/*	kernel.
/* .IP "\fBtls_high_cipherlist (see 'postconf -d' output)\fR"
/* .IP "\fBtls_medium_cipherlist (see 'postconf -d' output)\fR"
/* .IP "\fBtls_low_cipherlist (see 'postconf -d' output)\fR"
/* .IP "\fBtls_export_cipherlist (see 'postconf -d' output)\fR"
/* .IP "\fBtls_null_cipherlist (see 'postconf -d' output)\fR"
/*	The OpenSSL cipher list of each cipher grade. "low" and "export"
/*	mean "medium" with Postfix 3.8 and later.
/* .IP "\fBtls_eecdh_auto_curves (see 'postconf -d' output)\fR"
/* .IP "\fBtls_ffdhe_auto_groups (see 'postconf -d' output)\fR"
/*	Key exchange groups, most preferred first.
/* .IP "\fBtls_eecdh_strong_curve (prime256v1)\fR"
/* .IP "\fBtls_eecdh_ultra_curve (secp384r1)\fR"
/*	The curve of a grade, in the server role before Postfix 3.6.
/* .IP "\fBtls_disable_workarounds (see 'postconf -d' output)\fR"
/* .IP "\fBtls_ssl_options (empty)\fR"
/*	OpenSSL bug workarounds to turn off, and options to turn on.
/* .IP "\fBtls_preempt_cipherlist (no)\fR"
/*	In the server role, prefer the cipher order of the server.
/* .IP "\fBtls_dane_digests (sha512 sha256)\fR"
/*	Digest algorithms of TLSA records, most preferred first.
/* .IP "\fBtls_dane_digest_agility (on)\fR"
/* .IP "\fBtls_dane_trust_anchor_digest_enable (yes)\fR"
/*	Not present in any supported release of Postfix.
/* .IP "\fBtls_wildcard_matches_multiple_labels (yes)\fR"
/*	Whether "*.example.com" in a certificate matches a.b.example.com.
/* .IP "\fBtls_legacy_public_key_fingerprints (no)\fR"
/*	Compute public key fingerprints as Postfix 2.9.0 to 2.9.5 did, over
/*	the key only. Effective before Postfix 3.9, as with stock.
/* .IP "\fBtls_fast_shutdown_enable (yes)\fR"
/*	Only compared with the request. A connection is always closed
/*	without waiting for the close_notify alert of the peer.
/* .IP "\fBtls_session_ticket_cipher (aes-256-cbc)\fR"
/*	Cipher of session tickets in the server role; empty: no tickets.
/* .IP "\fBtls_server_sni_maps (empty)\fR"
/*	In the server role, keys and certificates by the server name that a
/*	remote client requests. The tables, including those of type proxy,
/*	are read completely when a process starts; changes take effect in
/*	the next process.
/* .IP "\fBtls_trust_server_ccerts (no)\fR"
/*	Accept client certificates that are valid for servers only. Postfix
/*	3.12 and later.
/* .IP "\fBtls_trace_rate_limit (1)\fR"
/*	Not used: this program writes no traces. Postfix 3.12 and later.
/* .IP "\fBtlsmgr_service_name (tlsmgr)\fR"
/*	The service that stores TLS sessions for all processes.
/* .IP "\fBopenssl_path (openssl)\fR"
/*	Not used by any daemon.
/* STARTTLS SERVER CONTROLS
/*	The service loads the settings of smtpd(8) for use by
/*	postscreen(8). All files are read before the process enters the
/*	jail.
/* .IP "\fBtlsproxy_tls_security_level ($smtpd_tls_security_level)\fR"
/*	none: requests for the server role are refused. may, encrypt: they
/*	are served. postscreen(8) decides whether TLS is required; with
/*	encrypt, the mandatory parameters below apply.
/* .IP "\fBtlsproxy_tls_chain_files ($smtpd_tls_chain_files)\fR"
/* .IP "\fBtlsproxy_tls_cert_file ($smtpd_tls_cert_file)\fR"
/* .IP "\fBtlsproxy_tls_key_file ($smtpd_tls_key_file)\fR"
/* .IP "\fBtlsproxy_tls_eccert_file ($smtpd_tls_eccert_file)\fR"
/* .IP "\fBtlsproxy_tls_eckey_file ($smtpd_tls_eckey_file)\fR"
/* .IP "\fBtlsproxy_tls_dcert_file ($smtpd_tls_dcert_file)\fR"
/* .IP "\fBtlsproxy_tls_dkey_file ($smtpd_tls_dkey_file)\fR"
/*	Certificates and keys. With chain files, the other parameters are
/*	ignored. The certificate file "none" means: no certificate.
/* .IP "\fBtlsproxy_tls_CAfile ($smtpd_tls_CAfile)\fR"
/* .IP "\fBtlsproxy_tls_CApath ($smtpd_tls_CApath)\fR"
/*	CA certificates to verify client certificates. The directory is
/*	searched during the handshake, inside the chroot jail.
/* .IP "\fBtlsproxy_tls_ask_ccert ($smtpd_tls_ask_ccert)\fR"
/* .IP "\fBtlsproxy_tls_req_ccert ($smtpd_tls_req_ccert)\fR"
/*	Ask for a client certificate; with encrypt, require one.
/* .IP "\fBtlsproxy_tls_ccert_verifydepth ($smtpd_tls_ccert_verifydepth)\fR"
/*	The maximum length of a certificate chain.
/* .IP "\fBtlsproxy_tls_enable_rpk ($smtpd_tls_enable_rpk)\fR"
/*	Offer raw public keys. Postfix 3.9 and later.
/* .IP "\fBtlsproxy_tls_fingerprint_digest ($smtpd_tls_fingerprint_digest)\fR"
/*	Digest algorithm of the fingerprints in reports and in the log.
/* .IP "\fBtlsproxy_tls_protocols ($smtpd_tls_protocols)\fR"
/* .IP "\fBtlsproxy_tls_ciphers ($smtpd_tls_ciphers)\fR"
/* .IP "\fBtlsproxy_tls_exclude_ciphers ($smtpd_tls_exclude_ciphers)\fR"
/*	Protocols, cipher grade, and exclusions at all levels.
/* .IP "\fBtlsproxy_tls_mandatory_protocols ($smtpd_tls_mandatory_protocols)\fR"
/* .IP "\fBtlsproxy_tls_mandatory_ciphers ($smtpd_tls_mandatory_ciphers)\fR"
/* .IP "\fBtlsproxy_tls_mandatory_exclude_ciphers ($smtpd_tls_mandatory_exclude_ciphers)\fR"
/*	Protocols and cipher grade with encrypt, and additional exclusions.
/* .IP "\fBtlsproxy_tls_eecdh_grade ($smtpd_tls_eecdh_grade)\fR"
/*	Before Postfix 3.6, "strong" and "ultra" select a curve. Not used
/*	by later releases.
/* .IP "\fBtlsproxy_tls_dh1024_param_file ($smtpd_tls_dh1024_param_file)\fR"
/*	Parameters of finite-field key exchange; empty: built-in ones.
/* .IP "\fBtlsproxy_tls_dh512_param_file ($smtpd_tls_dh512_param_file)\fR"
/*	Not used: export-grade ciphers are not supported.
/* .IP "\fBtlsproxy_tls_always_issue_session_ids ($smtpd_tls_always_issue_session_ids)\fR"
/*	Issue session ids even when sessions are not stored.
/* .IP "\fBtlsproxy_tls_loglevel ($smtpd_tls_loglevel)\fR"
/*	The log level of TLS activity.
/* STARTTLS CLIENT CONTROLS
/*	A request contains all settings of its client, and they apply.
/*	These parameters name additional files to load before the process
/*	enters the jail. The files of every service in master.cf that runs
/*	smtp(8) or lmtp(8) are loaded in any case, so that clients with
/*	different identities can share this service.
/* .IP "\fBtlsproxy_client_security_level ($smtp_tls_security_level)\fR"
/* .IP "\fBtlsproxy_client_policy_maps ($smtp_tls_policy_maps)\fR"
/* .IP "\fBtlsproxy_client_per_site ($smtp_tls_per_site)\fR"
/*	The client role is enabled when the level is not "none", or when
/*	one of the tables is configured. The tables are not opened.
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
/*	Files that are read before the process enters the jail. The
/*	directory is searched when a server is verified, inside the chroot
/*	jail. A request that names the same files uses them.
/* .IP "\fBtlsproxy_client_scert_verifydepth ($smtp_tls_scert_verifydepth)\fR"
/* .IP "\fBtlsproxy_client_fingerprint_digest ($smtp_tls_fingerprint_digest)\fR"
/* .IP "\fBtlsproxy_client_loglevel ($smtp_tls_loglevel)\fR"
/* .IP "\fBtlsproxy_client_loglevel_parameter (smtp_tls_loglevel)\fR"
/*	Settings of the SSL_CTX that is created before the process enters
/*	the jail. For a request with other values, another SSL_CTX is
/*	created.
/* OBSOLETE STARTTLS SUPPORT CONTROLS
/* .IP "\fBtlsproxy_use_tls ($smtpd_use_tls)\fR"
/* .IP "\fBtlsproxy_enforce_tls ($smtpd_enforce_tls)\fR"
/* .IP "\fBtlsproxy_client_use_tls ($smtp_use_tls)\fR"
/* .IP "\fBtlsproxy_client_enforce_tls ($smtp_enforce_tls)\fR"
/*	Obsolete. When the security level is empty, *_use_tls means "may"
/*	and *_enforce_tls means "encrypt".
/* RESOURCE CONTROLS
/* .IP "\fBtlsproxy_watchdog_timeout (10s)\fR"
/*	The time after which a busy or blocked event loop ends the
/*	process, with "fatal: watchdog timeout". Time during which the
/*	process is stopped, or its host is paused, does not count.
/* .IP "\fBmax_idle (100s)\fR"
/*	The time without a session after which the process terminates.
/* .IP "\fBmax_use (100)\fR"
/*	The number of sessions after which the process terminates, as soon
/*	as it has had no session for five seconds, or for max_idle if that
/*	is less. Stock terminates at once; a process of this program costs
/*	more to start.
/* .IP "\fBipc_idle (5s)\fR"
/*	The time after which an unused connection to tlsmgr(8) is closed.
/* MISCELLANEOUS CONTROLS
/* .IP "\fBconfig_directory (see 'postconf -d' output)\fR"
/* .IP "\fBdaemon_directory (see 'postconf -d' output)\fR"
/* .IP "\fBqueue_directory (see 'postconf -d' output)\fR"
/*	Directories of the configuration, the programs, and the jail.
/* .IP "\fBmail_owner (postfix)\fR"
/*	The user of the process after it has dropped root privileges.
/* .IP "\fBenable_idna2003_compatibility (no)\fR"
/*	Convert non-ASCII domain names as specified by IDNA2003.
/* .IP "\fBsmtputf8_enable (see 'postconf -d' output)\fR"
/*	Log UTF-8 text as it is.
/* .IP "\fBmaillog_file (empty)\fR"
/* .IP "\fBsyslog_facility (mail)\fR"
/* .IP "\fBsyslog_name (see 'postconf -d' output)\fR"
/*	The destination of the log, and the name in it.
/* .IP "\fBprocess_id (read-only)\fR"
/* .IP "\fBprocess_name (read-only)\fR"
/* .IP "\fBservice_name (read-only)\fR"
/*	Values that other parameters can refer to. The process name is
/*	tlsproxy.
/* SERVICE ARGUMENTS
/*	Settings of this program that Postfix does not have. They follow
/*	the options in master.cf as name=value arguments, and apply to each
/*	process of the service.
/* .IP "\fBclient_handshake_count_limit (0)\fR"
/*	In the server role, the number of handshakes that may be in
/*	progress with one remote client: an IPv4 address, or an IPv6
/*	network of 64 bits. More handshakes are refused, and postscreen(8)
/*	replies with 454. Zero: no limit. postscreen(8) has a similar limit,
/*	postscreen_client_connection_count_limit. With any value, handshakes
/*	of one remote client wait for each other, and do not delay those of
/*	other clients.
/* .IP "\fBfallback (yes)\fR"
/*	If no process of this program can start, use the tlsproxy(8)
/*	program of Postfix in daemon_directory instead; see PROCESSES.
/* .IP "\fBhandshake_count_limit (0)\fR"
/*	The same limit for all remote clients together. The first refusal
/*	is logged immediately, further ones in one line per minute.
/* .IP "\fBjson_log (empty)\fR"
/*	A file, a named pipe that has a reader, or a datagram socket, for
/*	JSON records of all log records. It is used in addition to the log
/*	of Postfix, and opened before the process enters the jail. Records
/*	that cannot be written immediately are dropped and counted. Files
/*	are created with access for root only; rotate them by copying and
/*	truncating.
/* .IP "\fBseccomp (yes)\fR"
/*	Limit the process to the system calls that it needs. Use "no" only
/*	on a host where this causes failures, and report the failure.
/* SEE ALSO
/*	smtp(8), Postfix SMTP client
/*	scache(8), Postfix connection cache
/*	postscreen(8), Postfix zombie blocker
/*	tlsmgr(8), Postfix TLS session cache
/*	master(8), process manager
/*	postconf(5), configuration parameters
/*	postfix-tlsproxy-install(1), register this program
/*	postfix-tlsproxy-doctor(1), find obstacles to connection reuse
/* README FILES
/*	TLS_REUSE_README, how TLS connections are reused
/* LICENSE
/*	Eclipse Public License 2.0
/*--*/

import {ConfigurationError, Panic} from './base/errors.ts';
import {stackText} from './base/text.ts';
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
	process.on('exit', log.drainLog);
	const request = process.env['TLSPROXY_REQUEST'];
	if (request !== undefined) {
		const configuration = await configure(options(), process.env);
		process.exit(
			await runSupervisorRequest(request, process.env['TLSPROXY_REQUEST_TEXT'] ?? '', configuration),
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
		/* The cause is the error in main.cf. Stock logs it as a separate line, too. */
		if (reason.cause instanceof ConfigurationError) {
			log.warning(reason.cause.message);
		}

		return log.fatal(reason.message);
	}

	return log.panic(reason instanceof Panic ? reason.message : stackText(reason));
}
