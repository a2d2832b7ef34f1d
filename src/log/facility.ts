/*++
/* NAME
/*	facility 3
/* SUMMARY
/*	syslog facilities by name
/* DESCRIPTION
/*	The names are those of syslog_facility in main.cf that Linux has;
/*	the numbers are those of <syslog.h>, ready to be added to a
/*	severity.
/* SEE ALSO
/*	postfix src/util/msg_syslog.c
/*--*/

import {ConfigurationError} from '../base/errors.ts';

/**
 * The number of a syslog facility, for example 16 (2 << 3) for `mail`.
 *
 * @param configDirectory - directory of main.cf, for the message.
 * @throws {ConfigurationError} for an unknown name.
 */
export function facilityNumber(name: string, configDirectory: string): number {
	const code = facilities.get(name);
	if (code === undefined) {
		throw new ConfigurationError(
			`file ${configDirectory}/main.cf: parameter syslog_facility: unrecognized value: ${name}`,
		);
	}

	return code << 3;
}

const facilities: ReadonlyMap<string, number> = new Map([
	['kern', 0],
	['user', 1],
	['mail', 2],
	['daemon', 3],
	['auth', 4],
	['syslog', 5],
	['lpr', 6],
	['news', 7],
	['uucp', 8],
	['cron', 9],
	['authpriv', 10],
	['ftp', 11],
	['local0', 16],
	['local1', 17],
	['local2', 18],
	['local3', 19],
	['local4', 20],
	['local5', 21],
	['local6', 22],
	['local7', 23],
]);
