/*++
/* NAME
/*	errors 3
/* SUMMARY
/*	the three kinds of failure
/* DESCRIPTION
/*	Whose fault it is decides the class. The remote peer or a local
/*	client: PeerError ends one session, with one warning. The
/*	administrator: ConfigurationError ends the process before it
/*	serves. We ourselves: Panic ends the process, and master(8)
/*	starts another.
/* SEE ALSO
/*	postfix src/util/msg.c
/*--*/

/** Bad input or a failure on one hand-off: ends that session, logged as a warning. */
export class PeerError extends Error {
	override readonly name = 'PeerError';
}

/** The configuration does not allow us to serve: ends the process, logged as fatal. */
export class ConfigurationError extends Error {
	override readonly name = 'ConfigurationError';
}

/** Violation of an interface inside this program: ends the process, logged as panic. */
export class Panic extends Error {
	override readonly name = 'Panic';
}
