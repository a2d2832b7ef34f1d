/*++
/* NAME
/*	event-server 3
/* SUMMARY
/*	event-driven server under master(8)
/* DESCRIPTION
/*	Accepts connections on the socket that is shared with master(8),
/*	reports to master(8) whether the process is taken or available, and
/*	ends the process when master(8) or the limits require it.
/*
/*	The process is taken while it is busy or cannot accept. When all
/*	processes are taken and a connection waits, master(8) starts
/*	another process, up to the process limit. A taken process still
/*	accepts, but with a delay, because it cannot see whether another
/*	process is idle and could accept.
/*
/*	End-of-file on the status channel means that master(8) has ended,
/*	or has been reloaded. The process then drains: it stops accepting,
/*	closes the pipes to the supervisor, which ends at once so that a
/*	successor can be started, serves its sessions to their end, and
/*	exits.
/*
/*	The process also drains when the supervisor has ended. When the
/*	supervisor has received SIGTERM, the process exits at once with
/*	all its sessions, unless the status channel has reached
/*	end-of-file, too: then the service was removed, and the process
/*	drains.
/* DIAGNOSTICS
/*	Panic: an exception in the server itself. Exceptions in a session
/*	do not reach the server.
/* SEE ALSO
/*	postfix src/master/event_server.c, src/master/master_proto.h
/*--*/

import type {Owned} from '../base/owned.ts';
import {stackText} from '../base/text.ts';
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

/** Largest default of the retirement time, in seconds. Source: postfix src/master/event_server.c. */
const RETIREMENT_LIMIT = 18_000;

/**
 * Idle time of a process that has reached max_use, in seconds. A stock process ends at once, because the next
 * one costs little. A process of this program costs as much as some hundreds of handshakes, until V8 has
 * compiled hot code: a burst of connections should be served by the same process.
 */
const USED_UP_IDLE_LIMIT = 5;

/** Size of the file names in one request to the supervisor, in bytes. Half of the limit in supervisor.pl. */
const NAMES_LIMIT = 32_768;

/** Limits of a process. */
export interface ServerLimits {
	/** Time without a session after which the process ends. */
	readonly maxIdle: Seconds;
	/** Number of sessions after which the process ends when it is idle for a short time. */
	readonly maxUse: number;
	/** Time after which the process drains; undefined: calculated from the other limits. */
	readonly retirement: Seconds | undefined;
}

/** Serves the connections of an event server. */
export interface ConnectionHandler {
	/** Serves a connection, non-blocking, moved in. Must not throw. Must call {@link EventServer.ended} at the end. */
	serve(connection: Owned<Fd>): void;
	/** Completes pending work when a draining process has no more sessions. Must call `done` soon. */
	finish(done: () => void): void;
}

/** One process of a service. */
export class EventServer {
	readonly #reactor: Reactor;
	readonly #parentProcess: ParentProcess;
	readonly #limits: ServerLimits;
	readonly #handler: ConnectionHandler;
	readonly #idle: Deadline;
	readonly #retire: Deadline;
	readonly #status: StatusChannel;
	readonly #load: Load;
	/* Everything that is released when the process drains. */
	readonly #resources = new DisposableStack();
	#draining = false;
	#listener: Listener | undefined;
	#full = false;
	#sessions = 0;
	#served = 0;

	/** Starts to accept. The descriptors of master(8) and the supervisor are moved in. */
	constructor(
		reactor: Reactor,
		clock: DeadlineClock,
		parentProcess: ParentProcess,
		limits: ServerLimits,
		handler: ConnectionHandler,
	) {
		this.#reactor = reactor;
		this.#parentProcess = parentProcess;
		this.#limits = limits;
		this.#handler = handler;
		this.#idle = clock.deadline(() => panicOnFault(() => this.#exit()));
		this.#retire = clock.deadline(() => panicOnFault(() => this.drain()));
		this.#status = new StatusChannel(MASTER_STATUS_FD, parentProcess);
		this.#load = new Load(now, () => this.#notifyMaster());
		this.#listen();
		this.#idle.arm(toMilliseconds(limits.maxIdle));
		this.#retire.arm(toMilliseconds(retirementTime(limits)));
	}

	/** A session has ended. Must be called once for each connection. */
	ended(): void {
		this.#sessions--;
		this.#served++;
		this.#listener?.released();
		if (this.#sessions > 0) {
			return;
		}

		if (this.#draining) {
			/* Not from within the session, which is still being closed. */
			setImmediate(() => {
				if (this.#sessions === 0) {
					this.#exit();
				}
			});
			return;
		}

		const usedUp = this.#served >= this.#limits.maxUse;
		const idle = usedUp ? Math.min(this.#limits.maxIdle, USED_UP_IDLE_LIMIT) : this.#limits.maxIdle;
		this.#idle.arm(toMilliseconds(idle as Seconds));
	}

	/** Stops accepting, and ends the process with its last session. */
	drain(): void {
		if (this.#draining) {
			return;
		}

		this.#draining = true;
		this.#resources.dispose();
		if (this.#sessions === 0) {
			this.#exit();
		}
	}

	/**
	 * Files that were read before the jail have changed: the supervisor checks them. If they are usable, the
	 * supervisor ends, and the process drains.
	 */
	filesChanged(files: readonly string[]): void {
		if (!this.#draining) {
			notifySupervisor(this.#parentProcess, 'check', JSON.stringify(firstNames(files)));
		}
	}

	/* Resources are released in reverse order: a descriptor is closed after its watch has ended. */
	#listen(): void {
		if (this.#parentProcess.supervisor !== undefined) {
			this.#watchSupervisor(this.#parentProcess.supervisor);
		}

		this.#resources.use(ownFd(MASTER_STATUS_FD));
		const statusReady = (): void => {
			if (this.#status.ended()) {
				this.drain();
			}
		};
		this.#resources.use(this.#reactor.watchLevelTriggered(MASTER_STATUS_FD, {ready: statusReady, fault}));
		this.#resources.use(ownFd(MASTER_LISTEN_FD));
		this.#listener = this.#resources.use(
			new Listener(this.#reactor, MASTER_LISTEN_FD, {
				accepted: connection => this.#accepted(connection),
				hasSessions: () => this.#sessions > 0,
				fullChanged: full => {
					this.#full = full;
					this.#notifyMaster();
				},
				fault,
			}),
		);
		this.#resources.use(this.#load);
		this.#resources.defer(() => this.#reactor.observe(() => undefined));
		this.#reactor.observe((started, ended) => this.#load.worked(started, ended));
	}

	#watchSupervisor({toSupervisor, fromSupervisor}: SupervisorPipes): void {
		this.#resources.use(ownFd(toSupervisor));
		this.#resources.defer(() => {
			notifyExit(this.#parentProcess, 0);
			/* The pipe is closed, and its number may soon be that of a session's descriptor. */
			log.onExit(() => undefined);
		});
		this.#resources.use(ownFd(fromSupervisor));
		const ready = (): void => {
			/* Any input is the command to terminate. */
			if (read(fromSupervisor, new Uint8Array(128), 128) > 0 && !this.#status.ended()) {
				process.exit(0);
			}

			this.drain();
		};
		this.#resources.use(this.#reactor.watchLevelTriggered(fromSupervisor, {ready, fault}));
	}

	#notifyMaster(): void {
		this.#status.notify(this.#load.busy || this.#full);
	}

	#accepted(connection: Owned<Fd>): void {
		this.#sessions++;
		this.#idle[Symbol.dispose]();
		this.#status.accepted();
		this.#handler.serve(connection);
	}

	#exit(): void {
		if (this.#draining) {
			/* The pipes to master and supervisor are closed: no exit status is sent. */
			this.#handler.finish(() => process.exit(0));
			return;
		}

		/* After the idle time no work can be pending. */
		notifyExit(this.#parentProcess, 0);
		process.exit(0);
	}
}

/* The supervisor limits the length of a line. If the first files are usable, a new process reads all files. */
function firstNames(files: readonly string[]): readonly string[] {
	let size = 0;
	return files.filter(name => {
		size += Buffer.byteLength(JSON.stringify(name)) + 1;
		return size < NAMES_LIMIT;
	});
}

/* Source: postfix src/master/event_server.c. */
function retirementTime({maxIdle, maxUse, retirement}: ServerLimits): Seconds {
	return retirement ?? (Math.min(maxIdle * maxUse, RETIREMENT_LIMIT) as Seconds);
}

/* A deadline logs exceptions, and the process would never end. */
function panicOnFault(run: () => void): void {
	try {
		run();
	} catch (reason) {
		fault(reason);
	}
}

/* After an exception in the server itself its state is unknown. master(8) starts another process. */
function fault(reason: unknown): never {
	return log.panic(stackText(reason));
}
