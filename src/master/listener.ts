/*++
/* NAME
/*	listener 3
/* SUMMARY
/*	accepts connections, as long as there is room for them
/* DESCRIPTION
/*	The socket is shared with master(8) and with other processes of the
/*	service. Connections are accepted one by one, and only when there
/*	is nothing else to do, or when one has waited for a while: others
/*	may have less to do.
/*
/*	A connection needs descriptors, also after it was accepted. When
/*	few are left the listener is full: who would be accepted then could
/*	not be served, and nobody else would get him. It tries again when a
/*	session has ended, and once a second. The C program counts to
/*	thirteen errors and dies of them, with all its sessions.
/* DIAGNOSTICS
/*	Warning, once: the listener is full, or accept(2) has failed.
/* SEE ALSO
/*	postfix src/master/event_server.c, src/util/sane_accept.c
/*--*/

import type {Owned} from '../base/owned.ts';
import type {Fd} from '../base/units.ts';
import type {Reactor} from '../event/reactor.ts';
import {acceptConnection, ownFd} from '../event/stream.ts';
import {duplicate, errorNumber, strerror} from '../ffi/libc/libc.ts';
import * as log from '../log/log.ts';

/** Time without accepting, in milliseconds. */
const PAUSE = 1000;

/** Descriptors that have to be free: for sessions that have been accepted and do not have all of theirs. */
const RESERVE = 64;

/** Descriptors beyond these to look for, so that not each connection has to. */
const LOOK_AHEAD = 256;

/** Who owns a listener. */
export interface ListenerOwner {
	/** A connection, non-blocking. */
	accepted(connection: Owned<Fd>): void;
	/** Whether there are sessions. The first is accepted even where it may not find room. */
	hasSessions(): boolean;
	/** The listener is full, or is not any more. */
	filled(full: boolean): void;
	/** A call of the owner's threw. */
	fault(reason: unknown): void;
}

/** The socket that clients connect to. */
export class Listener implements Disposable {
	readonly #reactor: Reactor;
	readonly #fd: Fd;
	readonly #owner: ListenerOwner;
	#watching: Disposable | undefined;
	#pause: NodeJS.Timeout | undefined;
	/* Number of the last connection, and one that a descriptor could have. */
	#last = 0;
	#reached = 0;
	#full = false;
	#disposed = false;

	/** @param fd - borrowed until disposal. */
	constructor(reactor: Reactor, fd: Fd, owner: ListenerOwner) {
		this.#reactor = reactor;
		this.#fd = fd;
		this.#owner = owner;
		this.#watch();
	}

	/** A session has ended: what it had open can be had again. */
	released(): void {
		if (this.#full && !this.#disposed) {
			clearTimeout(this.#pause);
			this.#watch();
			this.#fill(false);
		}
	}

	[Symbol.dispose](): void {
		this.#disposed = true;
		this.#stop();
	}

	#stop(): void {
		clearTimeout(this.#pause);
		this.#watching?.[Symbol.dispose]();
		this.#watching = undefined;
	}

	#watch(): void {
		this.#watching ??= this.#reactor.watchDeferred(this.#fd, {
			ready: () => this.#accept(),
			fault: reason => this.#owner.fault(reason),
		});
	}

	#accept(): void {
		if (this.#owner.hasSessions() && !this.#hasRoom()) {
			this.#wait(errorNumber('EMFILE'));
			return;
		}

		const accepted = acceptConnection(this.#fd);
		switch (accepted.kind) {
			case 'connection':
				this.#fill(false);
				this.#last = accepted.fd.value;
				this.#owner.accepted(accepted.fd);
				return;
			case 'error':
				this.#wait(accepted.code);
				return;
			case 'nobody':
				return;
			default:
				accepted satisfies never;
		}
	}

	/* The connection is still there, and we would be told again at once. */
	#wait(code: number): void {
		if (!this.#full) {
			log.warning(`accept connection: ${strerror(code)}`);
		}

		this.#stop();
		this.#pause = setTimeout(() => this.#watch(), PAUSE);
		this.#fill(true);
	}

	/*
	 * Numbers are given out from the lowest: how far it is from there to the limit only
	 * the kernel can tell. Far from the limit it need not be asked each time.
	 */
	#hasRoom(): boolean {
		if (this.#last + RESERVE < this.#reached) {
			return true;
		}

		const lowest = numberFrom(this.#fd, 0);
		const reached =
			lowest &&
			(numberFrom(this.#fd, lowest + RESERVE + LOOK_AHEAD) ?? numberFrom(this.#fd, lowest + RESERVE));
		this.#reached = reached ?? 0;
		return reached !== undefined;
	}

	#fill(full: boolean): void {
		if (full !== this.#full) {
			this.#full = full;
			this.#owner.filled(full);
		}
	}
}

/* The lowest number, from a minimum on, that a descriptor could have now. */
function numberFrom(fd: Fd, minimum: number): number | undefined {
	const number = duplicate(fd, minimum);
	if (number < 0) {
		return undefined;
	}

	ownFd(number)[Symbol.dispose]();
	return number;
}
