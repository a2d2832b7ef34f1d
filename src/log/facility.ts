/*++
/* NAME
/*	facility 3
/* SUMMARY
/*	syslog facilities by name
/* DESCRIPTION
/*	The names are those of the main.cf parameter syslog_facility that
/*	Linux supports. The numbers are those of <syslog.h>, shifted so
/*	that a severity can be added.
/* SEE ALSO
/*	postfix src/util/msg_syslog.c
/*--*/

import {ConfigurationError} from '../base/errors.ts';

/**
 * Returns the number of a syslog facility, for example 16 (2 << 3) for `mail`.
 *
 * @param configDirectory - directory of main.cf, for the error message.
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
