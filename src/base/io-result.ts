/*++
/* NAME
/*	io-result 3
/* SUMMARY
/*	what a call that does not block came to
/* DESCRIPTION
/*	Reads, writes and handshake steps happen for every packet, so
/*	their results are plain numbers: bytes when positive, otherwise
/*	one of these.
/*--*/

/** Nothing can be done before the descriptor is readable. */
export const WANT_READ = -1;
/** Nothing can be done before the descriptor is writable. */
export const WANT_WRITE = -2;
/** The other side has finished, or is gone. */
export const END = -3;
/** The connection is broken. */
export const FAILED = -4;
/** Something was done that counts for nothing, and there may be more to do at once. */
export const AGAIN = -5;
/** Nothing can be done before something is looked up. */
export const WANT_LOOKUP = -6;
