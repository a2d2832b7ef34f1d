/*++
/* NAME
/*	server 3
/* SUMMARY
/*	event-driven server under master(8)
/* DESCRIPTION
/*	Accepts connections on the descriptor that master(8) listens on
/*	too, tells it when this process is taken and available, and ends
/*	the process when master(8) or the limits say so.
/*
/*	The status channel is shared by all processes of a service. A
/*	report is twelve bytes: the process id that master(8) knows - that
/*	of the supervisor, not ours -, the generation, and the state. At
/*	the first connection the process reports itself taken and then
/*	available again, after it has accepted and never before: master(8)
/*	would start one process after the other. From that pair it also
/*	learns that the program works, and does not hold a later crash
/*	against the whole service.
/*
/*	End-of-file on the status channel: master(8) is gone, or has
/*	reloaded its configuration. The process accepts nothing more,
/*	lets go of the supervisor, which ends at once so that a successor
/*	can start, serves its sessions to their end, and exits.
/*
/*	The same happens when the supervisor is gone.
/* SEE ALSO
/*	postfix src/master/event_server.c, src/master/master_proto.h
/*--*/

import {Panic} from '../errors.ts';
import type {Deadline, DeadlineClock} from '../event/deadline.ts';
import type {Reactor} from '../event/reactor.ts';
import {acceptConnection, ownFd} from '../event/stream.ts';
import {
	EAGAIN,
	errno,
	MSG_NOSIGNAL,
	read,
	send,
	setCloseOnExec,
	setNonBlocking,
	strerror,
	write,
} from '../ffi/libc.ts';
import * as log from '../log.ts';
import type {Owned} from '../owned.ts';
import {type Fd, type Milliseconds, type Seconds, toMilliseconds} from '../units.ts';

/* Descriptors that master(8) leaves open. Source: postfix src/master/master_proto.h. */
const MASTER_FLOW_READ = 3 as Fd;
const MASTER_FLOW_WRITE = 4 as Fd;
const MASTER_STATUS_FD = 5 as Fd;
const MASTER_LISTEN_FD = 6 as Fd;

const MASTER_STAT_TAKEN = 0;
const MASTER_STAT_AVAIL = 1;

/** Longest life of a process. Source: postfix src/master/event_server.c. */
const RETIREMENT_LIMIT = 18_000;

/** Time without accepting after accept(2) has failed, in milliseconds. */
const ACCEPT_PAUSE = 1000;

/** How the process stands to those who started it. */
export interface Ancestry {
	/** Process id that master(8) knows. */
	readonly pid: number;
	/** Number of this process among all that master(8) has started. */
	readonly generation: number;
	/** Pipe to the supervisor, if there is one: its end ends with ours, and the other way round. */
	readonly supervisor: Fd | undefined;
}

/**
 * Reads the ancestry from the environment.
 *
 * @throws {Panic} when GENERATION is not octal: nobody but master(8) sets it.
 */
export function ancestryFrom(environment: NodeJS.ProcessEnv): Ancestry {
	const generation = environment['GENERATION'] ?? '0';
	if (!/^[0-7]+$/.test(generation)) {
		throw new Panic(`bad generation: ${generation}`);
	}

	const pid = Number(environment['TLSPROXY_SUPERVISOR_PID'] ?? process.pid);
	const pipe = environment['TLSPROXY_SUPERVISOR_FD'];
	return {
		pid,
		generation: Number.parseInt(generation, 8),
		supervisor: pipe === undefined ? undefined : (Number(pipe) as Fd),
	};
}

/** Keeps what master(8) left open from programs that we start: the first thing to do. */
export function keepDescriptors(ancestry: Ancestry): void {
	for (const fd of [MASTER_FLOW_READ, MASTER_FLOW_WRITE, MASTER_STATUS_FD, MASTER_LISTEN_FD]) {
		setCloseOnExec(fd);
	}

	if (ancestry.supervisor !== undefined) {
		setCloseOnExec(ancestry.supervisor);
	}
}

/** Tells the supervisor how the process ends. Without a word it is taken for a crash. */
export function farewell(ancestry: Ancestry, status: number): void {
	if (ancestry.supervisor !== undefined) {
		const word = Buffer.from(`${status}\n`);
		write(ancestry.supervisor, word, word.length);
	}
}

/** Limits of a process. */
export interface ServerLimits {
	/** Time without a session after which it ends. */
	readonly maxIdle: Seconds;
	/** Sessions after which it ends as soon as it has none. */
	readonly maxUse: number;
	/** Time after which it takes no more; undefined: as the other two say. */
	readonly retirement: Seconds | undefined;
}

/** One process of a service. */
export class EventServer {
	readonly #reactor: Reactor;
	readonly #ancestry: Ancestry;
	readonly #limits: ServerLimits;
	readonly #serve: (connection: Owned<Fd>) => void;
	readonly #idle: Deadline;
	readonly #retire: Deadline;
	readonly #listening = new DisposableStack();
	#listens = true;
	#pauseAccept: () => void = () => undefined;
	#reported = false;
	#sessions = 0;
	#served = 0;

	/**
	 * Starts to accept.
	 *
	 * @param serve - gets each connection, non-blocking; it becomes its owner, and must call ended() when
	 * it is through with it.
	 */
	constructor(
		reactor: Reactor,
		clock: DeadlineClock,
		ancestry: Ancestry,
		limits: ServerLimits,
		serve: (connection: Owned<Fd>) => void,
	) {
		this.#reactor = reactor;
		this.#ancestry = ancestry;
		this.#limits = limits;
		this.#serve = serve;
		this.#idle = clock.deadline(() => this.#leave());
		this.#retire = clock.deadline(() => this.drain());
		this.#listen();
		this.#idle.arm(toMilliseconds(limits.maxIdle));
		this.#retire.arm(toMilliseconds(retirement(limits)));
	}

	/** A session has ended. */
	ended(): void {
		this.#sessions--;
		this.#served++;
		if (this.#sessions > 0) {
			return;
		}

		if (!this.#listens || this.#served >= this.#limits.maxUse) {
			/* Not from within the session that ends. */
			setImmediate(() => {
				if (this.#sessions === 0) {
					this.#leave();
				}
			});
			return;
		}

		this.#idle.arm(toMilliseconds(this.#limits.maxIdle));
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

	#listen(): void {
		setNonBlocking(MASTER_STATUS_FD);
		/* What is released first is acquired last: first stop watching, then close. */
		if (this.#ancestry.supervisor !== undefined) {
			const supervisor = this.#listening.use(ownFd(this.#ancestry.supervisor)).value;
			this.#listening.defer(() => {
				farewell(this.#ancestry, 0);
				/* Soon the number may be that of a session's descriptor: no more words to it. */
				log.onExit(() => undefined);
			});
			this.#listening.use(this.#reactor.watchHangup(supervisor, {ready: () => this.drain(), fault}));
		}

		for (const fd of [MASTER_FLOW_READ, MASTER_FLOW_WRITE]) {
			ownFd(fd)[Symbol.dispose]();
		}

		const status = this.#listening.use(ownFd(MASTER_STATUS_FD)).value;
		this.#listening.use(this.#reactor.watchInput(status, {ready: () => this.#statusReady(), fault}));
		this.#listening.use(ownFd(MASTER_LISTEN_FD));
		const watch = (): Disposable =>
			this.#reactor.watchInput(MASTER_LISTEN_FD, {ready: () => this.#accept(), fault});
		let watched = watch();
		this.#listening.defer(() => watched[Symbol.dispose]());
		this.#pauseAccept = () => {
			watched[Symbol.dispose]();
			setTimeout(() => {
				if (this.#listens) {
					watched = watch();
				}
			}, ACCEPT_PAUSE);
		};
	}

	/* Nothing ever comes on the status channel but its end. */
	#statusReady(): void {
		const size = read(MASTER_STATUS_FD, new Uint8Array(128), 1);
		if (size === 0 || (size < 0 && errno() !== EAGAIN)) {
			this.drain();
		}
	}

	/* One connection per turn: others may want to serve the next. */
	#accept(): void {
		const accepted = acceptConnection(MASTER_LISTEN_FD);
		if (accepted.kind === 'error') {
			/*
			 * The connection is still there, and we would be told again at once. The
			 * C program counts to thirteen and dies of it, with all its sessions: wait
			 * instead for some of them to end.
			 */
			log.warning(`accept connection: ${strerror(accepted.code)}`);
			this.#pauseAccept();
			return;
		}

		if (accepted.kind === 'nobody') {
			return;
		}

		this.#sessions++;
		this.#idle[Symbol.dispose]();
		if (!this.#reported) {
			this.#reported = true;
			this.#report(MASTER_STAT_TAKEN);
			this.#report(MASTER_STAT_AVAIL);
		}

		this.#serve(accepted.fd);
	}

	#report(state: number): void {
		const message = Buffer.alloc(12);
		message.writeInt32LE(this.#ancestry.pid, 0);
		message.writeUInt32LE(this.#ancestry.generation, 4);
		message.writeInt32LE(state, 8);
		send(MASTER_STATUS_FD, message, message.length, MSG_NOSIGNAL);
	}

	#leave(): never {
		if (this.#listens) {
			farewell(this.#ancestry, 0);
		}

		process.exit(0);
	}
}

/* Source: postfix src/master/event_server.c. */
function retirement({maxIdle, maxUse, retirement: set}: ServerLimits): Seconds {
	return set ?? (Math.min(maxIdle * maxUse, RETIREMENT_LIMIT) as Seconds);
}

/** Milliseconds between two signs of life, for a limit of the watchdog. Source: postfix src/util/watchdog.c. */
export function watchdogStep(limit: Seconds): Milliseconds {
	return toMilliseconds(Math.trunc(limit / 3) as Seconds);
}

/* Nothing that the server does itself may fail. */
function fault(reason: unknown): never {
	return log.panic(reason instanceof Error ? (reason.stack ?? reason.message) : String(reason));
}
