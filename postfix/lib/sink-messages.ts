/*++
/* NAME
/*	sink-messages 3
/* SUMMARY
/*	what a sink counts, and what is said to it
/*--*/

/** How the sink's server behaves. */
export interface SinkOptions {
	/** Name in the greeting and, by convention, in the certificate. */
	readonly hostName: string;
	/** 0: any free port. */
	readonly port: number;
	/** PEM files. Without, STARTTLS is not offered. */
	readonly tls?: {readonly certFile: string; readonly keyFile: string};
	readonly minVersion?: TlsVersion;
	readonly maxVersion?: TlsVersion;
	/** OpenSSL cipher list, for TLS 1.2 and below. */
	readonly ciphers?: string;
	/** Speak LMTP. */
	readonly lmtp?: boolean;
	/** Ask clients for a certificate, and accept any. */
	readonly requestCertificate?: boolean;
	/** Mechanisms offered after STARTTLS; any user with any password is let in. */
	readonly auth: ReadonlyArray<'PLAIN' | 'LOGIN'>;
	/** Time that the server takes over each message before it accepts it, in milliseconds. */
	readonly delay: number;
	/** Connections at a time; one more is refused, with 421, as servers do that have such a limit. Default: no limit. */
	readonly maxConnections?: number;
}

/** Names as node:tls has them. */
export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

/** One TCP connection. */
export interface SinkConnection {
	/** Port of the client: with the log of Postfix, tells connections apart. */
	readonly remotePort: number;
	readonly encrypted: boolean;
	/** Protocol version, once encrypted. */
	readonly protocol: string;
	readonly resumed: boolean;
	/** Common name in the client's certificate; empty when there was none. */
	readonly clientName: string;
	readonly messages: number;
	readonly closed: boolean;
	/** All that authenticated on it. More than one is an error of the client. */
	readonly users: readonly string[];
}

/** One message that was accepted. */
export interface SinkMessage {
	/** Index in the list of connections; -1 for one that was made before the last reset(). */
	readonly connection: number;
	readonly encrypted: boolean;
	readonly from: string;
	readonly to: readonly string[];
	/** Who had authenticated; empty when nobody. */
	readonly user: string;
	/** Size of the DATA content. */
	readonly bytes: number;
	/** SHA-256 of the DATA content, in hexadecimal. */
	readonly sha256: string;
	/** SHA-256 of what follows the first empty line: servers on the way change only the header. */
	readonly bodySha256: string;
	/** When it was complete, in milliseconds since the epoch. */
	readonly arrived: number;
}

/** All that a sink has seen since it started, or since reset(). */
export interface SinkCounts {
	readonly tcpConnections: number;
	readonly handshakes: number;
	readonly resumptions: number;
	readonly failedHandshakes: number;
	/** Connections that were refused; they are not among the others. */
	readonly refusals: number;
	readonly encryptedMessages: number;
	readonly clearMessages: number;
}

/** Counts, with every connection and message. */
export interface SinkReport extends SinkCounts {
	readonly connections: readonly SinkConnection[];
	readonly messages: readonly SinkMessage[];
}

/** From the owner to the process. */
export type SinkRequest =
	| {readonly name: 'start'; readonly options: SinkOptions}
	| {readonly name: 'counts' | 'report' | 'reset' | 'detach' | 'stop'; readonly serial: number};

/** From the process to its owner. */
export type SinkReply =
	| {readonly name: 'started'; readonly port: number}
	| {readonly name: 'failed'; readonly reason: string}
	| {readonly name: 'done'; readonly serial: number; readonly result?: SinkCounts | SinkReport};
