/*++
/* NAME
/*	warnings 3
/* SUMMARY
/*	what is said about a tlsmgr(8) that cannot be talked to
/* DESCRIPTION
/*	The words of stock, without the label. Stock says the first line
/*	once per attempt, of which it makes two; this program makes one.
/* SEE ALSO
/*	postfix src/util/auto_clnt.c, src/util/attr_clnt.c
/*--*/

/** Logged when there is no connection to be had; {@link problemLine} follows. */
export function connectLine(path: string, why: string): string {
	return `connect to ${path}: ${why}`;
}

/** Logged once when a request is given up. */
export function problemLine(path: string, why: string): string {
	return `problem talking to server ${path}: ${why}`;
}
