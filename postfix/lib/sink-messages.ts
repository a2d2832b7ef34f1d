/*++
/* NAME
/*	sink-messages 3
/* SUMMARY
/*	options, counts and messages of an SMTP sink
/* DESCRIPTION
/*	The types that sink(3) and its process share.
/*--*/

/** Options of the server. */
export interface SinkOptions {
	/** Name in the greeting and, by convention, in the certificate. */
	readonly hostName: string;
	/** TCP port on 127.0.0.1. 0: any free port. */
	readonly port: number;
	/** PEM files. Without them, the server does not offer STARTTLS. */
	readonly tls?: {readonly certFile: string; readonly keyFile: string};
	readonly minVersion?: TlsVersion;
	readonly maxVersion?: TlsVersion;
	/** OpenSSL cipher list, for TLS 1.2 and below. */
	readonly ciphers?: string;
	/** Speak LMTP. */
	readonly lmtp?: boolean;
	/** Request client certificates, and accept any. */
	readonly requestCertificate?: boolean;
	/** SASL mechanisms that the server offers after STARTTLS. It accepts any user and password. */
	readonly auth: ReadonlyArray<'PLAIN' | 'LOGIN'>;
	/** Time before the server accepts a message, in milliseconds. */
	readonly delay: number;
	/** Maximum number of concurrent connections. The server rejects further ones with 421. Default: no limit. */
	readonly maxConnections?: number;
}

/** Protocol versions, as node:tls names them. */
export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

/** One TCP connection. */
export interface SinkConnection {
	/** TCP port of the client. It identifies the connection in the log of Postfix. */
	readonly remotePort: number;
	readonly encrypted: boolean;
	/** Protocol version; empty before the handshake. */
	readonly protocol: string;
	readonly resumed: boolean;
	/** Common name in the client certificate; empty without a certificate. */
	readonly clientName: string;
	readonly messages: number;
	readonly closed: boolean;
	/** Users that authenticated on this connection. More than one is a fault of the client. */
	readonly users: readonly string[];
}

/** One accepted message. */
export interface SinkMessage {
	/** Index in the list of connections; -1 for a connection from before the last reset(). */
	readonly connection: number;
	readonly encrypted: boolean;
	readonly from: string;
	readonly to: readonly string[];
	/** The authenticated user; empty without authentication. */
	readonly user: string;
	/** Size of the DATA content in bytes. */
	readonly bytes: number;
	/** SHA-256 of the DATA content, in hexadecimal. */
	readonly sha256: string;
	/** SHA-256 of the content after the first empty line, in hexadecimal. Mail servers change only the header. */
	readonly bodySha256: string;
	/** Time at which the message was complete, in milliseconds since the epoch. */
	readonly arrived: number;
}

/** Counts since the start of the sink, or since reset(). */
export interface SinkCounts {
	readonly tcpConnections: number;
	readonly handshakes: number;
	readonly resumptions: number;
	readonly failedHandshakes: number;
	/** Rejected connections. They are not counted in tcpConnections. */
	readonly refusals: number;
	readonly encryptedMessages: number;
	readonly clearMessages: number;
}

/** Counts, with every connection and message. */
export interface SinkReport extends SinkCounts {
	readonly connections: readonly SinkConnection[];
	readonly messages: readonly SinkMessage[];
}

/** A message from the owner to the process. */
export type SinkRequest =
	| {readonly name: 'start'; readonly options: SinkOptions}
	| {readonly name: 'counts' | 'report' | 'reset' | 'detach' | 'stop'; readonly serial: number};

/** A message from the process to its owner. */
export type SinkReply =
	| {readonly name: 'started'; readonly port: number}
	| {readonly name: 'failed'; readonly reason: string}
	| {readonly name: 'done'; readonly serial: number; readonly result?: SinkCounts | SinkReport};
