/*++
/* NAME
/*	sink-process 1
/* SUMMARY
/*	the process of an SMTP sink
/* DESCRIPTION
/*	Accepts all mail, stores its digests, and counts. It is a separate
/*	process, so that its handshakes and its garbage collector do not
/*	affect measurements. sink(3) starts it and exchanges messages with
/*	it. The process ends when its owner ends, unless it was detached.
/*
/*	smtp-server waits 100 milliseconds before its greeting, to detect
/*	clients that send early. This delay would distort a measurement of
/*	one connection per message: the sink sends the greeting immediately.
/*--*/

import {createHash} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import {TLSSocket} from 'node:tls';
import {SMTPServer, type SMTPServerDataStream, type SMTPServerSession} from 'smtp-server';
import {SMTPConnection} from 'smtp-server/lib/smtp-connection.js';
import type {
	SinkConnection,
	SinkCounts,
	SinkMessage,
	SinkOptions,
	SinkReply,
	SinkRequest,
} from './sink-messages.ts';

type Writable<T> = {-readonly [Key in keyof T]: T[Key]};

/** A connection, and its state so far. */
interface Connection extends Writable<Omit<SinkConnection, 'users'>> {
	readonly users: string[];
}

let connections: Connection[] = [];
let messages: SinkMessage[] = [];
let failedHandshakes = 0;
/** Number of accepted TCP connections, including those that the server then rejects. */
let accepted = 0;
let detached = false;
let delay = 0;
const bySession = new Map<string, Connection>();

process.on('message', (request: SinkRequest) => {
	switch (request.name) {
		case 'start':
			start(request.options);
			break;
		case 'counts':
			reply({name: 'done', serial: request.serial, result: counts()});
			break;
		case 'report':
			reply({name: 'done', serial: request.serial, result: {...counts(), connections, messages}});
			break;
		case 'reset':
			/* Connections that are still open are not counted again. */
			connections = [];
			messages = [];
			failedHandshakes = 0;
			accepted = 0;
			reply({name: 'done', serial: request.serial});
			break;
		case 'detach':
			detached = true;
			reply({name: 'done', serial: request.serial});
			break;
		case 'stop':
			process.exit(0);
	}
});
process.on('disconnect', () => {
	if (!detached) {
		process.exit(0);
	}
});

function reply(message: SinkReply): void {
	/* If the owner has just ended, the error is ignored. */
	process.send?.(message, undefined, undefined, () => undefined);
}

const {init, connectionReady} = SMTPConnection.prototype;
const greeted = new WeakSet<SMTPConnection>();

/* connectionReady() does nothing if init() has rejected the connection. */
SMTPConnection.prototype.init = function greetAtOnce(this: SMTPConnection): void {
	init.call(this);
	this.connectionReady();
};

/* It is called once more when the time has passed. */
SMTPConnection.prototype.connectionReady = function greetOnce(this: SMTPConnection): void {
	if (!greeted.has(this)) {
		greeted.add(this);
		connectionReady.call(this);
	}
};

function start(options: SinkOptions): void {
	delay = options.delay;
	const server = new SMTPServer({
		name: options.hostName,
		banner: 'sink',
		lmtp: options.lmtp ?? false,
		disableReverseLookup: true,
		...(options.maxConnections === undefined ? {} : {maxClients: options.maxConnections}),
		authMethods: [...options.auth],
		authOptional: true,
		disabledCommands: [
			...(options.auth.length > 0 ? [] : ['AUTH']),
			...(options.tls === undefined ? ['STARTTLS'] : []),
		],
		...(options.tls === undefined
			? {}
			: {key: readFileSync(options.tls.keyFile), cert: readFileSync(options.tls.certFile)}),
		...(options.minVersion === undefined ? {} : {minVersion: options.minVersion}),
		...(options.maxVersion === undefined ? {} : {maxVersion: options.maxVersion}),
		...(options.ciphers === undefined ? {} : {ciphers: options.ciphers}),
		...(options.requestCertificate === true ? {requestCert: true, rejectUnauthorized: false} : {}),
		/* In milliseconds. Sufficient for a message of 100 MB on a busy machine. */
		socketTimeout: 600_000,
		onConnect(session, callback) {
			connectionOf(session);
			callback();
		},
		onSecure(socket, session, callback) {
			const connection = connectionOf(session);
			connection.encrypted = true;
			if (socket instanceof TLSSocket) {
				connection.protocol = socket.getProtocol() ?? '';
				connection.resumed = socket.isSessionReused();
				/* Without a certificate, this is an empty object. */
				const {subject} = socket.getPeerCertificate() as {
					readonly subject?: {readonly CN?: string | string[]};
				};
				connection.clientName = String(subject?.CN ?? '');
			}

			callback();
		},
		onAuth(authentication, session, callback) {
			const user = authentication.username ?? '';
			connectionOf(session).users.push(user);
			callback(null, {user});
		},
		onData(stream, session, callback) {
			void acknowledge(stream, session, callback);
		},
		onClose(session) {
			const connection = bySession.get(session.id);
			bySession.delete(session.id);
			if (connection !== undefined) {
				connection.closed = true;
			}
		},
	});
	server.on('error', (error: Error & {readonly code?: string}) => {
		if (!server.server.listening) {
			reply({name: 'failed', reason: error.message});
			return;
		}

		/* Tests reset connections and break handshakes deliberately. */
		if (/SSL|TLS/i.test(`${error.code} ${error.message}`)) {
			failedHandshakes++;
		}
	});
	server.server.on('connection', () => {
		accepted++;
	});
	server.listen(options.port, '127.0.0.1', () => {
		const address = server.server.address();
		reply({name: 'started', port: typeof address === 'object' && address !== null ? address.port : 0});
	});
}

function connectionOf(session: SMTPServerSession): Connection {
	const known = bySession.get(session.id);
	if (known !== undefined) {
		return known;
	}

	const connection: Connection = {
		remotePort: session.remotePort,
		encrypted: false,
		protocol: '',
		resumed: false,
		clientName: '',
		messages: 0,
		closed: false,
		users: [],
	};
	connections.push(connection);
	bySession.set(session.id, connection);
	return connection;
}

async function acknowledge(
	stream: SMTPServerDataStream,
	session: SMTPServerSession,
	callback: (error?: Error) => void,
): Promise<void> {
	callback(await receive(stream, session));
}

/* Returns an error if the message is incomplete, because the client disconnected. */
async function receive(stream: SMTPServerDataStream, session: SMTPServerSession): Promise<Error | undefined> {
	const whole = createHash('sha256');
	const body = createHash('sha256');
	let bytes = 0;
	/* The empty line can be split across chunks: the header is searched as a whole. */
	let header: Buffer | undefined = Buffer.alloc(0);
	try {
		for await (const chunk of stream as AsyncIterable<Buffer>) {
			bytes += chunk.length;
			whole.update(chunk);
			if (header === undefined) {
				body.update(chunk);
				continue;
			}

			header = Buffer.concat([header, chunk]);
			const end = header.indexOf('\r\n\r\n');
			if (end >= 0) {
				body.update(header.subarray(end + 4));
				header = undefined;
			}
		}
	} catch (reason) {
		return reason instanceof Error ? reason : new Error(String(reason));
	}

	if (delay > 0) {
		await sleep(delay);
	}

	const connection = connectionOf(session);
	connection.messages++;
	messages.push({
		connection: connections.indexOf(connection),
		encrypted: session.secure,
		from: session.envelope.mailFrom === false ? '' : session.envelope.mailFrom.address,
		to: session.envelope.rcptTo.map(recipient => recipient.address),
		user: typeof session.user === 'string' ? session.user : '',
		bytes,
		sha256: whole.digest('hex'),
		bodySha256: body.digest('hex'),
		arrived: Date.now(),
	});
	return undefined;
}

function counts(): SinkCounts {
	return {
		tcpConnections: connections.length,
		handshakes: connections.filter(connection => connection.encrypted).length,
		resumptions: connections.filter(connection => connection.resumed).length,
		failedHandshakes,
		refusals: accepted - connections.length,
		encryptedMessages: messages.filter(message => message.encrypted).length,
		clearMessages: messages.filter(message => !message.encrypted).length,
	};
}
