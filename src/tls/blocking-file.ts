/*++
/* NAME
/*	blocking-file 3
/* SUMMARY
/*	checks whether a file would block the process
/* DESCRIPTION
/*	Requests and main.cf name files that OpenSSL opens and reads by
/*	name. A FIFO without a writer, a terminal, or a device without an
/*	end blocks the process, and with it all sessions. Such a file is
/*	not opened.
/*
/*	A regular file does not block. A file that does not exist, a
/*	directory and a socket are left to OpenSSL: it fails at once, and
/*	logs the same as with stock. So is the null device, which stock
/*	reads as an empty file.
/* BUGS
/*	A file that is replaced between the check and the time when
/*	OpenSSL opens it is not noticed. The files of a CApath directory
/*	are not checked: OpenSSL opens them during a handshake. In either
/*	case the watchdog ends the process, as with stock.
/* SEE ALSO
/*	fifo(7), null(4)
/*--*/

import {type Stats, statSync} from 'node:fs';

/** The reason that is logged for a file that is not opened. */
export const NOT_REGULAR = 'not a regular file';

/** The device number of /dev/null: major 1, minor 3. Source: null(4), makedev(3). */
const NULL_DEVICE = 0x103;

/**
 * Whether reading a file could block the process for an unlimited time.
 *
 * @param path - name of the file, one character per byte. Symbolic links are followed.
 */
export function isBlockingFile(path: string): boolean {
	let stat: Stats | undefined;
	try {
		stat = statSync(Buffer.from(path.split('\0', 1)[0] ?? '', 'latin1'), {throwIfNoEntry: false});
	} catch {
		/* It cannot be opened either. */
		return false;
	}

	return (
		stat !== undefined &&
		(stat.isFIFO() || stat.isBlockDevice() || (stat.isCharacterDevice() && stat.rdev !== NULL_DEVICE))
	);
}
