/*++
/* NAME
/*	handoff 3
/* SUMMARY
/*	the lists that a client sends before it passes a descriptor
/* DESCRIPTION
/*	Collects bytes from a local client until the request and, where
/*	the role has them, the settings are complete. The client waits for
/*	our status then, so bytes behind the last list are not its due.
/*
/*	A client that is still sending when its limits pass costs its own
/*	session only; the C program blocks in the middle of a list, and its
/*	watchdog ends the process.
/* DIAGNOSTICS
/*	PeerError: what came is not what a client of this release sends,
/*	or is larger than any client's. The message says which attribute.
/* SEE ALSO
/*	postfix src/tls/tls_proxy_clnt.c
/*--*/

import {PeerError} from '../base/errors.ts';
import {END, WANT_READ} from '../base/io-result.ts';
import type {Fd} from '../base/units.ts';
import type {ReleaseFeatures} from '../conf/release.ts';
import {buffer, readStream} from '../event/stream.ts';
import {fatal, info, warning} from '../log/log.ts';
import {AttributeFramer, type AttributeList} from '../wire/attribute-list.ts';
import type {ClientSettings, ClientSettingsParser, CommonSettings} from '../wire/client-settings.ts';
import {FormatError} from '../wire/field.ts';
import {BadFlagsError, parseRequest, type Request} from '../wire/request.ts';
import {parseServerSettings, type ServerSettings} from '../wire/server-settings.ts';
import {connectLine, disconnectLine, handshakeFailedLine, requestProblemLine} from './log-lines.ts';

/** How far a hand-off has come. */
export type Progress =
	/** Nothing, or not all of it, has come. */
	| 'more'
	| 'complete'
	/** It asks for what nobody can do, and is to be answered with status 0. */
	| 'refused'
	/** It is malformed, or the client is gone: there is nothing to answer. */
	| 'failed';

/** A complete hand-off. */
export type CompleteHandoff = {readonly request: Request} & (
	| {readonly role: 'client'; readonly settings: ClientSettings}
	/** Before 3.12 the settings are those of main.cf. */
	| {readonly role: 'server'; readonly settings: ServerSettings | undefined}
);

/** How the log calls a hand-off. */
export type SessionNames = Pick<Request, 'remoteEndpoint' | 'serverId'>;

/* Some settings of this process's clients were what they should be. */
let understood = false;

/** Collects one hand-off. */
export class Handoff {
	readonly #features: ReleaseFeatures;
	readonly #parser: ClientSettingsParser;
	readonly #framer = new AttributeFramer();
	#request: Request | undefined;
	#complete: CompleteHandoff | undefined;
	#names: SessionNames | undefined;
	/* The beginning of the settings, when it was known. */
	#common: CommonSettings | undefined;
	#isComplete = false;
	#announced = false;

	/**
	 * @param profile - of the release that the clients belong to.
	 * @param parser - of settings in the client role, for all hand-offs.
	 */
	constructor(features: ReleaseFeatures, parser: ClientSettingsParser) {
		this.#features = features;
		this.#parser = parser;
	}

	/** What the client asks for; undefined until that list is complete. */
	get request(): Request | undefined {
		return this.#request;
	}

	/** Names of the request, even when it cannot be served; undefined until its list is complete. */
	get names(): SessionNames | undefined {
		return this.#names;
	}

	/** All that the client asks for; undefined until complete, and when it only wants to know whether it would be served. */
	get complete(): CompleteHandoff | undefined {
		return this.#complete;
	}

	/** What has not come, or not all of it: for the log. */
	get missing(): string {
		return this.#request === undefined ? 'request attributes' : `${this.#request.role} TLS settings`;
	}

	/** Whether some of it has come. */
	get begun(): boolean {
		return this.#request !== undefined || this.#framer.pending;
	}

	/**
	 * Reads what the client has sent, until there is no more or the hand-off is complete, and logs what a
	 * stock daemon would.
	 *
	 * @param socket - of the client, non-blocking; borrowed.
	 */
	receive(socket: Fd): Progress {
		for (;;) {
			const size = readStream(socket);
			if (size === WANT_READ) {
				return 'more';
			}

			try {
				if (size < 0) {
					throw new PeerError(size === END ? 'Connection closed by client' : 'Connection reset by peer');
				}

				const complete = this.push(buffer.bytes.subarray(0, size));
				this.#announce();
				if (complete) {
					return 'complete';
				}
			} catch (reason) {
				if (reason instanceof PeerError) {
					return this.#complain(reason);
				}

				throw reason;
			}
		}
	}

	/**
	 * Takes bytes from the client.
	 *
	 * @returns whether the hand-off is complete.
	 * @throws {PeerError} when it never will be.
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
			this.#take(framed.list);
		}

		if (rest.length > 0) {
			throw new PeerError(`${rest.length} bytes behind the request`);
		}

		return true;
	}

	/* How many bytes begin the settings with what is known. */
	#recognize(bytes: Uint8Array): number {
		if (this.#request?.role !== 'client' || this.#common !== undefined || this.#framer.pending) {
			return 0;
		}

		const found = this.#parser.recognize(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
		this.#common = found?.common;
		return found?.taken ?? 0;
	}

	#take(list: AttributeList): void {
		if (this.#request === undefined) {
			const request = parseRequest(list, this.#features);
			this.#request = request;
			this.#names = request;
			/* The server role has settings in later releases only, a probe never has. */
			if (request.probeOnly) {
				this.#isComplete = true;
			} else if (request.role === 'server' && !this.#features.serverSettings) {
				this.#isComplete = true;
				this.#complete = {request, role: 'server', settings: undefined};
			}

			return;
		}

		const request = this.#request;
		this.#isComplete = true;
		this.#complete =
			request.role === 'client'
				? {request, role: 'client', settings: this.#parser.parse(list, this.#common)}
				: {request, role: 'server', settings: parseServerSettings(list, this.#features)};
		understood = true;
	}

	/* CONNECT is logged as soon as the request list is complete, whatever follows. */
	#announce(): void {
		if (this.#request !== undefined && !this.#announced) {
			this.#announced = true;
			const {role, remoteEndpoint} = this.#request;
			info(connectLine(role, remoteEndpoint));
		}
	}

	/**
	 * Logs that the hand-off is over, if it was announced.
	 *
	 * @param handshakeDone - there is no failure to be told.
	 */
	logEnd(handshakeDone: boolean): void {
		if (this.#names === undefined) {
			return;
		}

		const {remoteEndpoint, serverId} = this.#names;
		if (!handshakeDone) {
			info(handshakeFailedLine(serverId, remoteEndpoint));
		}

		info(disconnectLine(remoteEndpoint));
	}

	/* Whatever we would answer could be misread, and every other request fares the same. */
	#logForeignRelease(): void {
		const {known, format, release} = this.#features;
		if (!known) {
			const line = `requests of Postfix ${release} are not those of ${format}, the newest release that this program knows: it needs a newer version`;
			/* Sessions that were understood shall not suffer from one that is not. */
			if (!understood) {
				fatal(line);
			}

			warning(line);
			return;
		}

		warning(
			`the client does not talk as Postfix ${release} does, which mail_version says is installed: after an upgrade, run "postfix reload"`,
		);
	}

	/** Logs that a time limit has passed before all of it had come. */
	logNoRequest(): void {
		warning(requestProblemLine(this.missing, 'Connection timed out'));
		const {greeting, release} = this.#features;
		if (!greeting && !this.begun) {
			warning(
				`clients of Postfix 3.6 or later wait to be greeted; those of Postfix ${release}, which mail_version says is installed, do not: after an upgrade, run "postfix reload"`,
			);
		}
	}

	#complain(reason: PeerError): Progress {
		if (reason instanceof BadFlagsError) {
			this.#names = reason;
			info(connectLine(reason.bogusDirection ? 'none' : 'server', reason.remoteEndpoint));
			warning(`tlsp_get_request_event: ${reason.message}`);
			return 'refused';
		}

		this.#announce();
		warning(requestProblemLine(this.missing, reason.message));
		if (reason instanceof FormatError) {
			this.#logForeignRelease();
		}

		return 'failed';
	}
}
