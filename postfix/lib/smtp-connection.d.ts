/*
 * The part of a module of smtp-server that sink-process.ts replaces: the types that
 * others made for that library end at its front door.
 */
declare module 'smtp-server/lib/smtp-connection.js' {
	export class SMTPConnection {
		/** Called for each connection that was accepted: refuses it, or has it greeted after a while. */
		init: (this: SMTPConnection) => void;
		/** Greets, unless the connection is being closed. */
		connectionReady: (this: SMTPConnection) => void;
	}
}
