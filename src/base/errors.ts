/*++
/* NAME
/*	errors 3
/* SUMMARY
/*	the three classes of failure
/* DESCRIPTION
/*	The class of an error depends on its cause. PeerError: bad input
/*	from the remote peer or from a local client. It ends one session,
/*	with one warning. ConfigurationError: the configuration is wrong.
/*	It ends the process before the process serves. Panic: a mistake in
/*	this program. It ends the session or the process in which it is
/*	thrown; master(8) replaces a process.
/* SEE ALSO
/*	postfix src/util/msg.c
/*--*/

/** Bad input or a broken connection: ends one session, logged as a warning. */
export class PeerError extends Error {
	override readonly name = 'PeerError';
}

/** The process cannot serve with this configuration: ends the process, logged as fatal. */
export class ConfigurationError extends Error {
	override readonly name = 'ConfigurationError';
}

/** An interface inside this program is violated. Outside a session it ends the process, logged as panic. */
export class Panic extends Error {
	override readonly name = 'Panic';
}
