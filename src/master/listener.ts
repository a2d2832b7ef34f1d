/*++
/* NAME
/*	listener 3
/* SUMMARY
/*	accepts connections while the process has resources for them
/* DESCRIPTION
/*	The listening socket is shared with master(8) and with other
/*	processes of the service. Connections are accepted one by one, and
/*	only when the process has no other work, or when a connection has
/*	waited for a while: other processes may have less to do.
/*
/*	A session needs more descriptors than the accepted connection. When
/*	few descriptors are left, the listener is full and stops accepting:
/*	the session could not be served, and no other process would get it.
/*	It tries again when a session has ended, and once per second.
/*	The C program ends after thirteen errors, with all its sessions.
/* DIAGNOSTICS
/*	Warning: the listener is full, accept(2) has failed, or the socket
/*	cannot be watched. Logged once, until a connection is accepted.
/* SEE ALSO
/*	postfix src/master/event_server.c, src/util/sane_accept.c
/*--*/

import type {Owned} from '../base/owned.ts';
import {errorText} from '../base/text.ts';
import type {Fd} from '../base/units.ts';
import type {Reactor} from '../event/reactor.ts';
import {acceptConnection, ownFd} from '../event/stream.ts';
import {duplicate, errorNumber, strerror} from '../ffi/libc/libc.ts';
import * as log from '../log/log.ts';

/** Time until the listener tries again, in milliseconds. */
const RETRY_DELAY = 1000;

/** Number of descriptors that have to be free, for sessions that do not have all of their descriptors yet. */
const DESCRIPTOR_RESERVE = 64;

/** Number of further descriptors to check for, so that not every connection needs a check. */
const DESCRIPTOR_LOOKAHEAD = 256;

/** The owner of a listener. */
export interface ListenerOwner {
	/** A connection has been accepted; non-blocking, moved in. */
	accepted(connection: Owned<Fd>): void;
	/** Whether there are sessions. Without sessions a connection is accepted even if few descriptors are left. */
	hasSessions(): boolean;
	/** The listener has become full, or is no longer full. */
	fullChanged(full: boolean): void;
	/** One of the other functions has thrown. */
	fault(reason: unknown): void;
}

/** The socket that clients connect to. Disposal stops accepting, and leaves the socket open. */
export class Listener implements Disposable {
	readonly #reactor: Reactor;
	readonly #fd: Fd;
	readonly #owner: ListenerOwner;
	#registration: Disposable | undefined;
	#retryTimer: NodeJS.Timeout | undefined;
	/* Descriptor of the last connection, and a number up to which the limit permits descriptors. */
	#lastDescriptor = 0;
	#checkedUpTo = 0;
	#full = false;
	#disposed = false;

	/** @param fd - borrowed until disposal. */
	constructor(reactor: Reactor, fd: Fd, owner: ListenerOwner) {
		this.#reactor = reactor;
		this.#fd = fd;
		this.#owner = owner;
		this.#watch();
	}

	/** A session has ended and released its descriptors. */
	released(): void {
		if (this.#full && !this.#disposed) {
			clearTimeout(this.#retryTimer);
			if (this.#watch()) {
				this.#setFull(false);
			}
		}
	}

	[Symbol.dispose](): void {
		this.#disposed = true;
		this.#unwatch();
	}

	#unwatch(): void {
		clearTimeout(this.#retryTimer);
		this.#registration?.[Symbol.dispose]();
		this.#registration = undefined;
	}

	/*
	 * Returns whether the socket is watched. epoll(7) has a limit, fs.epoll.max_user_watches,
	 * that all programs of the mail owner share: the sessions of this process go on without it.
	 */
	#watch(): boolean {
		try {
			this.#registration ??= this.#reactor.watchDeferred(this.#fd, {
				ready: () => this.#accept(),
				fault: reason => this.#owner.fault(reason),
			});
			return true;
		} catch (reason) {
			this.#retryLater(errorText(reason));
			return false;
		}
	}

	#accept(): void {
		if (this.#owner.hasSessions() && !this.#hasDescriptors()) {
			this.#retryLater(strerror(errorNumber('EMFILE')));
			return;
		}

		const accepted = acceptConnection(this.#fd);
		switch (accepted.kind) {
			case 'connection':
				this.#setFull(false);
				this.#lastDescriptor = accepted.fd.value;
				this.#owner.accepted(accepted.fd);
				return;
			case 'error':
				this.#retryLater(strerror(accepted.code));
				return;
			case 'none':
				return;
			default:
				accepted satisfies never;
		}
	}

	/* Stops watching meanwhile: the waiting connection would be reported again at once. */
	#retryLater(reason: string): void {
		if (!this.#full) {
			log.warning(`accept connection: ${reason}`);
		}

		this.#unwatch();
		this.#retryTimer = setTimeout(() => this.#watch(), RETRY_DELAY);
		this.#setFull(true);
	}

	/*
	 * The kernel assigns the lowest free number. Only the kernel knows how many numbers are
	 * free below the limit; far from the limit the check is not repeated for each connection.
	 */
	#hasDescriptors(): boolean {
		if (this.#lastDescriptor + DESCRIPTOR_RESERVE < this.#checkedUpTo) {
			return true;
		}

		const lowest = freeDescriptor(this.#fd, 0);
		const checked =
			lowest &&
			(freeDescriptor(this.#fd, lowest + DESCRIPTOR_RESERVE + DESCRIPTOR_LOOKAHEAD) ??
				freeDescriptor(this.#fd, lowest + DESCRIPTOR_RESERVE));
		this.#checkedUpTo = checked ?? 0;
		return checked !== undefined;
	}

	#setFull(full: boolean): void {
		if (full !== this.#full) {
			this.#full = full;
			this.#owner.fullChanged(full);
		}
	}
}

/* The lowest free descriptor number that is not below a minimum; undefined when the limit is reached. */
function freeDescriptor(fd: Fd, minimum: number): number | undefined {
	const number = duplicate(fd, minimum);
	if (number < 0) {
		return undefined;
	}

	ownFd(number)[Symbol.dispose]();
	return number;
}
