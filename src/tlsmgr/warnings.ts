/*++
/* NAME
/*	warnings 3
/* SUMMARY
/*	log lines about failures to communicate with tlsmgr(8)
/* DESCRIPTION
/*	The lines of stock, without the label. Stock makes two attempts and
/*	logs the first line for each of them; this program makes one.
/* SEE ALSO
/*	postfix src/util/auto_clnt.c, src/util/attr_clnt.c
/*--*/

/** Logged when a connection cannot be established; {@link requestFailed} follows. */
export function connectFailed(path: string, reason: string): string {
	return `connect to ${path}: ${reason}`;
}

/** Logged once when pending requests are abandoned. */
export function requestFailed(path: string, reason: string): string {
	return `problem talking to server ${path}: ${reason}`;
}
