/*++
/* NAME
/*	open-log 3
/* SUMMARY
/*	opens the log according to the environment or main.cf
/* DESCRIPTION
/*	Until main.cf has been read, environment variables that master(8)
/*	sets select the log. Then the parameters of main.cf apply, and the
/*	service argument json_log.
/* DIAGNOSTICS
/*	ConfigurationError: maillog_file is not below one of
/*	maillog_file_prefixes, or the facility is unknown.
/* SEE ALSO
/*	postfix src/global/maillog_client.c
/*--*/

import {ConfigurationError} from '../base/errors.ts';
import {splitList} from '../base/text.ts';
import {facilityNumber} from './facility.ts';
import {openJsonLog} from './json-file.ts';
import {addRecordListener, allowUtf8, type LogTransport, openLog, setVerbosity} from './log.ts';
import {postlogTransport, syslogTransport, withStderr} from './transport.ts';

/** Facility of records that are logged before main.cf is read. Source: LOG_MAIL, syslog(3). */
const LOG_MAIL = 2 << 3;

/** Opens the log that the environment variables of master(8) select. */
export function openLogFromEnvironment(environment: NodeJS.ProcessEnv, processName: string): void {
	const tag = `${environment['MAIL_LOGTAG'] ?? 'postfix'}/${processName}`;
	const postlog = environment['POSTLOG_SERVICE'] ?? '';
	openLog(
		postlog === ''
			? syslogTransport(tag, LOG_MAIL)
			: postlogTransport(postlog, environment['POSTLOG_HOSTNAME'] ?? 'amnesiac', tag),
	);
}

/** Log settings. Names with underscores are those of parameters in main.cf. */
export interface LogSettings {
	readonly syslog_name: string;
	readonly syslog_facility: string;
	readonly maillog_file: string;
	readonly maillog_file_prefixes: string;
	/** The socket of postlogd(8), an absolute path. */
	readonly postlogSocket: string;
	readonly myhostname: string;
	/** Whether UTF-8 is logged as it is: smtputf8_enable, if Postfix is built with it. */
	readonly utf8: boolean;
	/** Directory of main.cf, for error messages. */
	readonly configDirectory: string;
	readonly processName: string;
	/** Number of -v options. */
	readonly verbosity: number;
	/** Whether to log to standard error as well. */
	readonly stderr: boolean;
	/** The service argument json_log, a path; undefined when it is not set. */
	readonly jsonLog: string | undefined;
}

/**
 * Opens the log with the settings of main.cf and master.cf.
 *
 * @throws {ConfigurationError} for settings that stock refuses as well.
 */
export async function openConfiguredLog(settings: LogSettings): Promise<void> {
	const tag = `${settings.syslog_name}/${settings.processName}`;
	const transport = transportFor(settings, tag);
	openLog(settings.stderr ? withStderr(transport, settings.processName) : transport);
	allowUtf8(settings.utf8);
	setVerbosity(settings.verbosity);
	const json = settings.jsonLog === undefined ? undefined : openJsonLog(settings.jsonLog);
	if (json !== undefined) {
		/* Few services have a JSON log, and clients wait while a process starts. */
		const {jsonRecords} = await import('./json-record.ts');
		addRecordListener(jsonRecords(tag, json));
	}
}

function transportFor(settings: LogSettings, tag: string): LogTransport {
	const {maillog_file: file, maillog_file_prefixes: prefixes, postlogSocket, myhostname} = settings;
	if (file === '') {
		return syslogTransport(tag, facilityNumber(settings.syslog_facility, settings.configDirectory));
	}

	if (!splitList(prefixes).some(prefix => file.startsWith(prefix))) {
		throw new ConfigurationError(
			`maillog_file value '${file}' does not match any prefix in maillog_file_prefixes`,
		);
	}

	return postlogTransport(postlogSocket, myhostname, tag);
}
