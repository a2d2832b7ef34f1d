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
/*	This program replaces the one that comes with Postfix. It talks
/*	the protocol of the Postfix release that is installed.
/* SECURITY
/*	The program is exposed to remote servers. It reads certificates
/*	and keys as root, then gives up its privileges, and can be run in
/*	a chroot jail. It applies the settings that each request carries:
/*	connections of one policy are never made with those of another.
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
/* DIAGNOSTICS
/*	Problems and transactions are logged to syslogd(8) or postlogd(8),
/*	in the words of the program that this one replaces.
/*
/*	The option -v adds what happens to each session. It does not make
/*	this program tell what stock would.
/* BUGS
/*	The server role is not implemented: requests for it are refused.
/*
/*	TLS sessions are not resumed: a connection is reused as a whole,
/*	or made anew.
/*
/*	Files that a request names and that are not those of this
/*	service's own parameters are opened without privileges, in the
/*	jail if there is one.
/* CONFIGURATION PARAMETERS
/*	Parameters are read when a process starts; processes end after
/*	max_use sessions or max_idle seconds, and at "postfix reload".
/* .IP "\fBtlsproxy_client_security_level ($smtp_tls_security_level)\fR"
/*	Whether the client role is enabled.
/* .IP "\fBtlsproxy_client_CAfile ($smtp_tls_CAfile)\fR"
/* .IP "\fBtlsproxy_client_CApath ($smtp_tls_CApath)\fR"
/* .IP "\fBtlsproxy_client_cert_file ($smtp_tls_cert_file)\fR"
/* .IP "\fBtlsproxy_client_key_file ($smtp_tls_key_file)\fR"
/* .IP "\fBtlsproxy_client_chain_files ($smtp_tls_chain_files)\fR"
/*	Files that are read before the jail. A request that names the same
/*	files, with the same other settings, is served with them.
/* .IP "\fBtlsproxy_client_loglevel ($smtp_tls_loglevel)\fR"
/*	Log level of the settings that are made before the jail.
/* .IP "\fBtlsproxy_watchdog_timeout (10s)\fR"
/*	How long the event loop may stand still before the process ends.
/* .IP "\fBmax_idle (100s)\fR"
/*	Time without a session after which the process ends.
/* .IP "\fBmax_use (100)\fR"
/*	Number of sessions after which the process ends when it has none.
/* .IP "\fBmaillog_file (empty)\fR"
/* .IP "\fBsyslog_facility (mail)\fR"
/* .IP "\fBsyslog_name (see 'postconf -d' output)\fR"
/*	Where and under which name to log.
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
/*	master(8), process manager
/*	postconf(5), configuration parameters
/* LICENSE
/*	Eclipse Public License 2.0
/*--*/

import {isatty} from 'node:tty';
import {wordNames} from './conf/words.ts';
import {ConfigurationError, Panic} from './errors.ts';
import * as log from './log.ts';
import {parseOptions} from './master/options.ts';
import {ancestryFrom, farewell, keepDescriptors} from './master/server.ts';
import {postlogTransport, syslogTransport} from './master/transport.ts';
import {PROCESS_NAME, serve} from './tlsproxy.ts';

/** Facility of records from before main.cf is read. Source: LOG_MAIL, syslog(3). */
const LOG_MAIL = 2 << 3;

try {
	openFirstLog();
	const ancestry = ancestryFrom(process.env);
	log.onExit(status => farewell(ancestry, status));
	if (isatty(0)) {
		throw new ConfigurationError('do not run this command by hand');
	}

	keepDescriptors(ancestry);
	process.on('uncaughtException', end);
	await serve(parseOptions(process.argv.slice(2), wordNames), process.env, ancestry);
} catch (reason) {
	end(reason);
}

/* Until main.cf has been read the environment says where records go. Source: postfix src/global/maillog_client.c. */
function openFirstLog(): void {
	const tag = `${process.env['MAIL_LOGTAG'] ?? 'postfix'}/${PROCESS_NAME}`;
	const postlog = process.env['POSTLOG_SERVICE'] ?? '';
	log.openLog(
		postlog === ''
			? syslogTransport(tag, LOG_MAIL)
			: postlogTransport(postlog, process.env['POSTLOG_HOSTNAME'] ?? 'amnesiac', tag),
	);
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
