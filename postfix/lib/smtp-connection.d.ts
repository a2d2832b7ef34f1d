/*
 * The part of an internal module of smtp-server that sink-process.ts replaces. The published types
 * describe the public interface only.
 */
declare module 'smtp-server/lib/smtp-connection.js' {
	export class SMTPConnection {
		/** Called for each accepted connection: rejects it, or sends the greeting after a delay. */
		init: (this: SMTPConnection) => void;
		/** Sends the greeting, unless the connection is being closed. */
		connectionReady: (this: SMTPConnection) => void;
	}
}
