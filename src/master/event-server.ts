/*++
/* NAME
/*	event-server 3
/* SUMMARY
/*	event-driven server under master(8)
/* DESCRIPTION
/*	Accepts connections on the descriptor that master(8) listens on
/*	too, tells it when this process is taken and available, and ends
/*	the process when master(8) or the limits say so.
/*
/*	The process is taken while it is busy, or cannot accept. When all
/*	processes are taken and somebody waits, master(8) starts another,
/*	up to the process limit. A process that is taken accepts
/*	nevertheless, but leaves who waits to others for a while: whether
/*	there are any it cannot see.
/*
/*	End-of-file on the status channel: master(8) is gone, or has
/*	reloaded its configuration. The process accepts nothing more,
/*	lets go of the supervisor, which ends at once so that a successor
/*	can start, serves its sessions to their end, and exits.
/*
/*	The same happens when the supervisor is gone. When it was told to
/*	terminate, the process ends at once with all its sessions, unless
/*	that came with the end of the status channel: then the service was
/*	removed, and what it has begun it may finish.
/* SEE ALSO
/*	postfix src/master/event_server.c, src/master/master_proto.h
/*--*/

import type {Owned} from '../base/owned.ts';
import {type Fd, type Seconds, toMilliseconds} from '../base/units.ts';
import {type Deadline, type DeadlineClock, now} from '../event/deadline.ts';
import type {Reactor} from '../event/reactor.ts';
import {ownFd} from '../event/stream.ts';
import {read} from '../ffi/libc/libc.ts';
import * as log from '../log/log.ts';
import {Listener} from './listener.ts';
import {Load} from './load.ts';
import {
	MASTER_LISTEN_FD,
	MASTER_STATUS_FD,
	notifyExit,
	notifySupervisor,
	type ParentProcess,
	type SupervisorPipes,
} from './parent-process.ts';
import {StatusChannel} from './status.ts';

/** Longest life of a process. Source: postfix src/master/event_server.c. */
const RETIREMENT_LIMIT = 18_000;

/**
 * Idle time of a process with all the sessions that it may have, in seconds. Stock's ends at once, and
 * another costs it little. One of ours costs as much as some hundreds of handshakes, until V8 has
 * compiled what is used often: those who come in bursts should find the same one.
 */
const USED_UP_IDLE = 5;

/** Limits of a process. */
export interface ServerLimits {
	/** Time without a session after which it ends. */
	readonly maxIdle: Seconds;
	/** Sessions after which it ends as soon as it has had none for a moment. */
	readonly maxUse: number;
	/** Time after which it takes no more; undefined: as the other two say. */
	readonly retirement: Seconds | undefined;
}

/** What the process is there for. */
export interface ServerWork {
	/** Gets each connection, non-blocking; becomes its owner, and must call ended() when it is through with it. */
	serve(connection: Owned<Fd>): void;
	/** Does what is left to do for others when a process that drains has no session any more; must call `done` soon. */
	finish(done: () => void): void;
}

/** One process of a service. */
export class EventServer {
	readonly #reactor: Reactor;
	readonly #parentProcess: ParentProcess;
	readonly #limits: ServerLimits;
	readonly #work: ServerWork;
	readonly #idle: Deadline;
	readonly #retire: Deadline;
	readonly #status: StatusChannel;
	readonly #load: Load;
	readonly #listening = new DisposableStack();
	#listens = true;
	#listener: Listener | undefined;
	#full = false;
	#sessions = 0;
	#served = 0;

	/** Starts to accept. */
	constructor(
		reactor: Reactor,
		clock: DeadlineClock,
		parentProcess: ParentProcess,
		limits: ServerLimits,
		work: ServerWork,
	) {
		this.#reactor = reactor;
		this.#parentProcess = parentProcess;
		this.#limits = limits;
		this.#work = work;
		this.#idle = clock.deadline(() => this.#leave());
		this.#retire = clock.deadline(() => this.drain());
		this.#status = new StatusChannel(MASTER_STATUS_FD, parentProcess);
		this.#load = new Load(now, () => this.#tell());
		this.#listen();
		this.#idle.arm(toMilliseconds(limits.maxIdle));
		this.#retire.arm(toMilliseconds(retirement(limits)));
	}

	/** A session has ended. */
	ended(): void {
		this.#sessions--;
		this.#served++;
		this.#listener?.released();
		if (this.#sessions > 0) {
			return;
		}

		if (!this.#listens) {
			/* Not from within the session that ends. */
			setImmediate(() => {
				if (this.#sessions === 0) {
					this.#leave();
				}
			});
			return;
		}

		const usedUp = this.#served >= this.#limits.maxUse;
		const idle = usedUp ? Math.min(this.#limits.maxIdle, USED_UP_IDLE) : this.#limits.maxIdle;
		this.#idle.arm(toMilliseconds(idle as Seconds));
	}

	/** Accepts nothing more, and ends the process with its last session. */
	drain(): void {
		if (!this.#listens) {
			return;
		}

		this.#listens = false;
		this.#listening.dispose();
		if (this.#sessions === 0) {
			this.#leave();
		}
	}

	/**
	 * Files that were read before the jail have changed: if they are good, the supervisor ends, and with
	 * that we drain.
	 */
	renew(files: readonly string[]): void {
		if (this.#listens) {
			notifySupervisor(this.#parentProcess, 'check', JSON.stringify(files));
		}
	}

	/* What is released first is acquired last: first stop watching, then close. */
	#listen(): void {
		if (this.#parentProcess.supervisor !== undefined) {
			this.#listenTo(this.#parentProcess.supervisor);
		}

		this.#listening.use(ownFd(MASTER_STATUS_FD));
		const statusReady = (): void => {
			if (this.#status.ended()) {
				this.drain();
			}
		};
		this.#listening.use(this.#reactor.watchLevelTriggered(MASTER_STATUS_FD, {ready: statusReady, fault}));
		this.#listening.use(ownFd(MASTER_LISTEN_FD));
		this.#listener = this.#listening.use(
			new Listener(this.#reactor, MASTER_LISTEN_FD, {
				accepted: connection => this.#accepted(connection),
				hasSessions: () => this.#sessions > 0,
				filled: full => {
					this.#full = full;
					this.#tell();
				},
				fault,
			}),
		);
		this.#listening.use(this.#load);
		this.#listening.defer(() => this.#reactor.observe(() => undefined));
		this.#reactor.observe((started, ended) => this.#load.worked(started, ended));
	}

	#listenTo({toSupervisor: words, fromSupervisor: orders}: SupervisorPipes): void {
		this.#listening.use(ownFd(words));
		this.#listening.defer(() => {
			notifyExit(this.#parentProcess, 0);
			/* Soon the number may be that of a session's descriptor: no more words to it. */
			log.onExit(() => undefined);
		});
		this.#listening.use(ownFd(orders));
		const heard = (): void => {
			/* There is only one: to terminate. */
			if (read(orders, new Uint8Array(128), 128) > 0 && !this.#status.ended()) {
				process.exit(0);
			}

			this.drain();
		};
		this.#listening.use(this.#reactor.watchLevelTriggered(orders, {ready: heard, fault}));
	}

	#tell(): void {
		this.#status.tell(this.#load.busy || this.#full);
	}

	#accepted(connection: Owned<Fd>): void {
		this.#sessions++;
		this.#idle[Symbol.dispose]();
		this.#status.works();
		this.#work.serve(connection);
	}

	#leave(): void {
		if (!this.#listens) {
			/* Master and supervisor are gone, nobody waits for us. */
			this.#work.finish(() => process.exit(0));
			return;
		}

		/* Nothing has happened for so long that nothing can be left to do. */
		notifyExit(this.#parentProcess, 0);
		process.exit(0);
	}
}

/* Source: postfix src/master/event_server.c. */
function retirement({maxIdle, maxUse, retirement: set}: ServerLimits): Seconds {
	return set ?? (Math.min(maxIdle * maxUse, RETIREMENT_LIMIT) as Seconds);
}

/* Nothing that the server does itself may fail. */
function fault(reason: unknown): never {
	return log.panic(reason instanceof Error ? (reason.stack ?? reason.message) : String(reason));
}
