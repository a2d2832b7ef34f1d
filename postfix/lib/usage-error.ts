/*++
/* NAME
/*	usage-error 3
/* SUMMARY
/*	a condition that the administrator must correct
/* DESCRIPTION
/*	The commands in this directory throw a UsageError before they
/*	change anything. Its message is printed without a stack trace.
/*--*/

/** A condition that the administrator must correct: wrong arguments, or a configuration that a command cannot change safely. */
export class UsageError extends Error {
	override readonly name = 'UsageError';
}
