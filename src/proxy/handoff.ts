/*++
/* NAME
/*	handoff 3
/* SUMMARY
/*	receives the request and the settings of a hand-off
/* DESCRIPTION
/*	Collects bytes from a local client until the request is complete,
/*	and the settings, if the role has any. The client then waits for
/*	the status: bytes after the last list are a protocol error.
/*
/*	If a client is still sending when its time limit expires, only that
/*	session ends. Stock tlsproxy(8) blocks in the middle of a list, and
/*	its watchdog ends the process.
/* DIAGNOSTICS
/*	PeerError: the input is not a request of this Postfix release, or
/*	exceeds a size limit. The message contains the attribute.
/* SEE ALSO
/*	postfix src/tls/tls_proxy_clnt.c
/*--*/

import {PeerError} from '../base/errors.ts';
import {END, WANT_READ} from '../base/io-result.ts';
import type {Fd} from '../base/units.ts';
import type {ReleaseFeatures} from '../conf/release.ts';
import {buffer, readStream} from '../event/stream.ts';
import {info, warning} from '../log/log.ts';
import {AttributeFramer, type AttributeList} from '../wire/attribute-list.ts';
import type {ClientSettings, ClientSettingsParser, CommonSettings} from '../wire/client-settings.ts';
import {FormatError} from '../wire/field.ts';
import {BadFlagsError, parseRequest, type Request} from '../wire/request.ts';
import {parseServerSettings, type ServerSettings} from '../wire/server-settings.ts';
import type {FormatErrors} from './format-errors.ts';
import {connectLine, disconnectLine, handshakeFailedLine, requestProblemLine} from './log-lines.ts';

/** Result of receiving a hand-off. */
export type HandoffProgress =
	/** More input is needed. */
	| 'incomplete'
	| 'complete'
	/** The request cannot be served by any process: the client gets status 0. */
	| 'refused'
	/** The request is malformed, or the client has disconnected: no status is sent. */
	| 'failed';

/** A complete hand-off. */
export type CompleteHandoff = {readonly request: Request} & (
	| {readonly role: 'client'; readonly settings: ClientSettings}
	/** Undefined before 3.12: the settings of main.cf apply. */
	| {readonly role: 'server'; readonly settings: ServerSettings | undefined}
);

/** The attributes of a request that identify it in the log. */
export type HandoffIdentity = Pick<Request, 'remoteEndpoint' | 'serverId'>;

/** The context in which hand-offs are received. All hand-offs of a process share it. */
export interface HandoffContext {
	/** Of the Postfix release that the clients belong to. */
	readonly features: ReleaseFeatures;
	/** Parser for settings of the client role. */
	readonly settingsParser: ClientSettingsParser;
	readonly formatErrors: FormatErrors;
}

/** Receives one hand-off. */
export class Handoff {
	readonly #context: HandoffContext;
	readonly #framer = new AttributeFramer();
	#request: Request | undefined;
	#complete: CompleteHandoff | undefined;
	#identity: HandoffIdentity | undefined;
	/* The parsed prefix of the settings, when the parser has recognized it. */
	#common: CommonSettings | undefined;
	#isComplete = false;
	#connectLogged = false;

	constructor(context: HandoffContext) {
		this.#context = context;
	}

	/** The request; undefined until its list is complete. */
	get request(): Request | undefined {
		return this.#request;
	}

	/** Identity of the request, even if it cannot be served; undefined until its list is complete. */
	get identity(): HandoffIdentity | undefined {
		return this.#identity;
	}

	/** Request and settings; undefined until they are complete, and for a request that only asks for availability. */
	get complete(): CompleteHandoff | undefined {
		return this.#complete;
	}

	/** Name of the list that is not complete yet, for the log. */
	get missing(): string {
		return this.#request === undefined ? 'request attributes' : `${this.#request.role} TLS settings`;
	}

	/** Whether any input has been received. */
	get started(): boolean {
		return this.#request !== undefined || this.#framer.pending;
	}

	/**
	 * Reads from the client until reading would block or the hand-off is complete, and logs the same lines as
	 * stock.
	 *
	 * @param socket - connection to the client, non-blocking; borrowed.
	 */
	receive(socket: Fd): HandoffProgress {
		for (;;) {
			const size = readStream(socket);
			if (size === WANT_READ) {
				return 'incomplete';
			}

			try {
				if (size < 0) {
					throw new PeerError(size === END ? 'Connection closed by client' : 'Connection reset by peer');
				}

				const complete = this.push(buffer.bytes.subarray(0, size));
				this.#logConnect();
				if (complete) {
					return 'complete';
				}
			} catch (reason) {
				if (reason instanceof PeerError) {
					return this.#logFailure(reason);
				}

				throw reason;
			}
		}
	}

	/**
	 * Parses bytes from the client.
	 *
	 * @returns whether the hand-off is complete.
	 * @throws {PeerError} when the bytes are not part of a hand-off.
	 */
	push(bytes: Uint8Array): boolean {
		let rest = bytes;
		while (!this.#isComplete) {
			rest = rest.subarray(this.#recognize(rest));
			const framed = this.#framer.push(rest);
			if (framed === undefined) {
				return false;
			}

			rest = rest.subarray(framed.taken);
			this.#parse(framed.list);
		}

		if (rest.length > 0) {
			throw new PeerError(`${rest.length} bytes after the request`);
		}

		return true;
	}

	/* Returns the number of bytes that the parser recognizes as the beginning of the settings. */
	#recognize(bytes: Uint8Array): number {
		if (this.#request?.role !== 'client' || this.#common !== undefined || this.#framer.pending) {
			return 0;
		}

		const found = this.#context.settingsParser.recognize(
			Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
		);
		this.#common = found?.common;
		return found?.taken ?? 0;
	}

	#parse(list: AttributeList): void {
		const {features, settingsParser, formatErrors} = this.#context;
		if (this.#request === undefined) {
			const request = parseRequest(list, features);
			this.#request = request;
			this.#identity = request;
			/* The server role has settings since 3.12 only; a request for availability never has settings. */
			if (request.probeOnly) {
				this.#isComplete = true;
			} else if (request.role === 'server' && !features.serverSettings) {
				this.#isComplete = true;
				this.#complete = {request, role: 'server', settings: undefined};
			}

			return;
		}

		const request = this.#request;
		this.#isComplete = true;
		this.#complete =
			request.role === 'client'
				? {request, role: 'client', settings: settingsParser.parse(list, this.#common)}
				: {request, role: 'server', settings: parseServerSettings(list, features)};
		formatErrors.parsed();
	}

	/* Logged as soon as the request list is complete, whatever follows. */
	#logConnect(): void {
		if (this.#request !== undefined && !this.#connectLogged) {
			this.#connectLogged = true;
			const {role, remoteEndpoint} = this.#request;
			info(connectLine(role, remoteEndpoint));
		}
	}

	/**
	 * Logs the end of the hand-off, if its CONNECT line was logged.
	 *
	 * @param handshakeDone - no handshake failure is logged.
	 */
	logEnd(handshakeDone: boolean): void {
		if (this.#identity === undefined) {
			return;
		}

		const {remoteEndpoint, serverId} = this.#identity;
		if (!handshakeDone) {
			info(handshakeFailedLine(serverId, remoteEndpoint));
		}

		info(disconnectLine(remoteEndpoint));
	}

	/** Logs that a time limit has expired before the hand-off was complete. */
	logTimeout(): void {
		warning(requestProblemLine(this.missing, 'Connection timed out'));
		const {greeting, release} = this.#context.features;
		if (!greeting && !this.started) {
			warning(
				`clients of Postfix 3.6 or later wait for a greeting; those of Postfix ${release}, which is the installed release according to mail_version, do not: after an upgrade, run "postfix reload"`,
			);
		}
	}

	#logFailure(reason: PeerError): HandoffProgress {
		if (reason instanceof BadFlagsError) {
			this.#identity = reason;
			info(connectLine(reason.bogusDirection ? 'none' : 'server', reason.remoteEndpoint));
			warning(`tlsp_get_request_event: ${reason.message}`);
			return 'refused';
		}

		this.#logConnect();
		warning(requestProblemLine(this.missing, reason.message));
		if (reason instanceof FormatError) {
			this.#context.formatErrors.log();
		}

		return 'failed';
	}
}
