/*++
/* NAME
/*	io-result 3
/* SUMMARY
/*	results of non-blocking calls
/* DESCRIPTION
/*	Reads, writes and handshake steps run for every packet. Therefore
/*	their results are plain numbers: a number of bytes when positive,
/*	otherwise one of these codes.
/*--*/

/** The call would block until the descriptor is readable. */
export const WANT_READ = -1;
/** The call would block until the descriptor is writable. */
export const WANT_WRITE = -2;
/** End-of-file: the other side has closed the connection. */
export const END = -3;
/** The connection is broken. */
export const FAILED = -4;
/** Progress was made, but without data. Call again: more input may be available. */
export const AGAIN = -5;
/** The handshake waits for a lookup, for example of a session. */
export const WANT_LOOKUP = -6;
