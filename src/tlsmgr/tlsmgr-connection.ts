/*++
/* NAME
/*	tlsmgr-connection 3
/* SUMMARY
/*	a connection to tlsmgr(8)
/* DESCRIPTION
/*	A connection takes one request at a time from its owner, because
/*	tlsmgr(8) replies only to the first of two requests that arrive
/*	together. It connects when there is a request, and closes after it
/*	was idle for a while.
/*
/*	tlsmgr(8) terminates when it is idle and when Postfix is reloaded,
/*	while master(8) still listens on the socket. So a connection that
/*	the server closes is replaced once, without a warning, and the
/*	pending request is sent again. All requests can be repeated safely.
/*
/*	The owner enforces time limits: it closes its connections.
/* SEE ALSO
/*	postfix src/util/auto_clnt.c
/*--*/

import {PeerError} from '../base/errors.ts';
import {END, FAILED, WANT_READ, WANT_WRITE} from '../base/io-result.ts';
import {errorText} from '../base/text.ts';
import type {Fd, Milliseconds} from '../base/units.ts';
import type {Deadline, DeadlineClock} from '../event/deadline.ts';
import type {Reactor} from '../event/reactor.ts';
import {buffer, connectUnix, readStream, writeStream} from '../event/stream.ts';
import {logException, warning} from '../log/log.ts';
import {AttributeFramer, type AttributeList} from '../wire/attribute-list.ts';
import {isGreeting} from './message.ts';
import {connectFailed} from './warnings.ts';

/** A request. `complete` is called exactly once, on failure without a reply; it must not throw. */
export interface TlsmgrRequest {
	readonly bytes: Uint8Array;
	readonly complete: (reply: AttributeList | undefined) => void;
}

/** The owner of a connection, and the source of its requests. */
export interface TlsmgrConnectionOwner {
	/** Removes the next request from the queue. The connection completes it. */
	take(): TlsmgrRequest | undefined;
	/** Whether the queue has a request. */
	readonly hasRequest: boolean;
	/** Reports that communication with the server has failed. Must close the connection. */
	failed(reason: string): void;
}

/** The environment of a connection; borrowed. */
export interface TlsmgrConnectionOptions {
	readonly reactor: Reactor;
	readonly clock: DeadlineClock;
	/** The pathname of the server socket. */
	readonly path: string;
	/** The server sends a greeting. */
	readonly greeting: boolean;
	/** Time without a request after which the connection is closed. */
	readonly idle: Milliseconds;
}

const noBytes = new Uint8Array();

/** A connection, which is established on demand. */
export class TlsmgrConnection {
	readonly #owner: TlsmgrConnectionOwner;
	readonly #options: TlsmgrConnectionOptions;
	readonly #idleTimer: Deadline;
	#resources: DisposableStack | undefined;
	#fd: Fd | undefined;
	#framer = new AttributeFramer();
	#greeted = false;
	/* The server has closed the previous connection, and has not replied on this one. */
	#replaced = false;
	#request: TlsmgrRequest | undefined;
	/* The request was sent, at least in part. */
	#sent = false;
	#unsent: Uint8Array = noBytes;

	constructor(owner: TlsmgrConnectionOwner, options: TlsmgrConnectionOptions) {
		this.#owner = owner;
		this.#options = options;
		this.#idleTimer = options.clock.deadline(() => this.#idleTimeout());
	}

	get closed(): boolean {
		return this.#fd === undefined;
	}

	/** Connected, without a pending request. */
	get idle(): boolean {
		return this.#fd !== undefined && this.#greeted && this.#request === undefined;
	}

	/** Connects if necessary, and sends the next request unless one is pending. */
	next(): void {
		if (this.#fd === undefined) {
			this.#connect();
		}

		if (this.#fd === undefined || !this.#greeted || this.#sent) {
			return;
		}

		this.#request ??= this.#owner.take();
		if (this.#request === undefined) {
			this.#idleTimer.arm(this.#options.idle);
			return;
		}

		this.#idleTimer[Symbol.dispose]();
		this.#sent = true;
		this.#unsent = this.#request.bytes;
		this.#send(this.#fd);
	}

	/** Closes the connection. A pending request completes without a reply. */
	close(): void {
		this.#release();
		this.#replaced = false;
		const request = this.#request;
		this.#request = undefined;
		request?.complete(undefined);
	}

	#release(): void {
		this.#idleTimer[Symbol.dispose]();
		this.#fd = undefined;
		this.#resources?.dispose();
		this.#resources = undefined;
		this.#sent = false;
		this.#unsent = noBytes;
	}

	#connect(): void {
		const {reactor, path, greeting, idle} = this.#options;
		const connected = connectUnix(path);
		if (typeof connected === 'string') {
			warning(connectFailed(path, connected));
			this.#owner.failed(connected);
			return;
		}

		const resources = new DisposableStack();
		const fd = resources.use(connected).value;
		this.#resources = resources;
		this.#fd = fd;
		this.#framer = new AttributeFramer();
		this.#greeted = !greeting;
		/* The other connection may take the request before this one has its greeting. */
		this.#idleTimer.arm(idle);
		/* The limit of epoll watches of the mail owner may be reached. That must not end the session. */
		try {
			resources.use(
				reactor.watch(fd, {
					ready: (readable, writable) => {
						if (readable) {
							this.#receive(fd);
						}

						if (writable && this.#fd === fd) {
							this.#send(fd);
						}
					},
					fault: reason => this.#fault(reason),
				}),
			);
		} catch (reason) {
			this.#release();
			this.#owner.failed(errorText(reason));
		}
	}

	#send(fd: Fd): void {
		while (this.#unsent.length > 0) {
			const count = writeStream(fd, this.#unsent, this.#unsent.length);
			if (count === WANT_WRITE) {
				return;
			}

			if (count === FAILED) {
				this.#ended('Broken pipe');
				return;
			}

			this.#unsent = this.#unsent.subarray(count);
		}
	}

	#receive(fd: Fd): void {
		while (this.#fd === fd) {
			const size = readStream(fd);
			if (size === WANT_READ) {
				return;
			}

			if (size < 0) {
				this.#ended(size === END ? 'Connection closed by server' : 'Connection reset by peer');
				return;
			}

			const framed = this.#framer.push(buffer.bytes.subarray(0, size));
			if (framed !== undefined) {
				if (framed.taken !== size) {
					throw new PeerError('unexpected data after a reply');
				}

				this.#reply(framed.list);
			}
		}
	}

	#reply(list: AttributeList): void {
		if (!this.#greeted) {
			if (!isGreeting(list)) {
				throw new PeerError('unexpected greeting');
			}

			this.#greeted = true;
			this.next();
			return;
		}

		const request = this.#request;
		if (request === undefined || this.#unsent.length > 0) {
			throw new PeerError('reply without a request');
		}

		const fd = this.#fd;
		this.#request = undefined;
		this.#sent = false;
		this.#replaced = false;
		request.complete(list);
		/* The callback may have closed this connection. */
		if (this.#fd === fd) {
			this.next();
		}
	}

	/* The timer also runs while the greeting is awaited. */
	#idleTimeout(): void {
		if (this.#request !== undefined || this.#owner.hasRequest) {
			this.#idleTimer.arm(this.#options.idle);
		} else {
			this.close();
		}
	}

	#ended(reason: string): void {
		if (this.#request === undefined && (this.#greeted || !this.#owner.hasRequest)) {
			this.close();
		} else if (this.#replaced) {
			this.#owner.failed(reason);
		} else {
			this.#release();
			this.#replaced = true;
			this.next();
		}
	}

	/* A mistake of this program costs resumption, and no session. */
	#fault(reason: unknown): void {
		if (!(reason instanceof PeerError)) {
			logException(reason);
		}

		this.#owner.failed(errorText(reason));
	}
}
