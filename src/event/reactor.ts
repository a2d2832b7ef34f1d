/*++
/* NAME
/*	reactor 3
/* SUMMARY
/*	readiness of descriptors, data before handshakes
/* DESCRIPTION
/*	All descriptors are registered with one epoll(7) descriptor, each
/*	of them once, edge-triggered, for input, output and hang-up; their
/*	owners remember what they were told until a call would block.
/*	Local sockets tell of room for output each time that the other
/*	side has read something, and wake up a process that has no use for
/*	that: there, who needs room asks for it. The epoll descriptor
/*	itself is watched by libuv, so that everything runs on the main
/*	thread of Node.js, between its timers.
/*
/*	Work comes in two kinds. Moving a record costs microseconds: it is
/*	done when the event arrives. A step of a handshake costs the time
/*	of a thousand records: it waits in a queue, of which one step is
/*	done at a time, and after each step the events are looked at
/*	again. So a storm of handshakes delays established sessions by
/*	one step, not by the storm. Nor does the storm of one remote
/*	client delay the handshakes of others: tasks of one flow wait for
/*	each other, and flows take turns.
/*
/*	A turn of the loop ends after some milliseconds even when there is
/*	more to do, because timers and the watchdog want their turn too.
/*
/*	A third kind of work is not ours yet: connections that wait for
/*	whichever process accepts them. They are left to processes that
/*	have nothing else to do. When nobody has taken them for a while,
/*	there is none, and they are taken like any other work: only who is
/*	here can be served before others.
/* BUGS
/*	Node.js does not know of these calls: promises that are settled in
/*	one of them go on with the next timer or setImmediate().
/* DIAGNOSTICS
/*	What an owner throws is handed back to that owner: a fault in one
/*	session does not reach the next.
/* SEE ALSO
/*	epoll(7), postfix src/util/events.c; fair-queue(3)
/*--*/

import {Panic} from '../base/errors.ts';
import {Owned} from '../base/owned.ts';
import type {Fd, Milliseconds} from '../base/units.ts';
import {addon as koffi} from '../ffi/libc/addon.ts';
import {
	allocate,
	EPOLL_CLOEXEC,
	EPOLL_CTL_ADD,
	EPOLL_CTL_DEL,
	EPOLL_CTL_MOD,
	EPOLL_EVENT_DATA,
	EPOLL_EVENT_SIZE,
	EPOLLERR,
	EPOLLET,
	EPOLLHUP,
	EPOLLIN,
	EPOLLOUT,
	EPOLLRDHUP,
	epoll_create1,
	epoll_ctl,
	epoll_wait,
	errno,
	strerror,
} from '../ffi/libc/libc.ts';
import {now} from './deadline.ts';
import {FairQueue} from './fair-queue.ts';
import {Registration, type Registry} from './registration.ts';

/** The owner of a watched descriptor. */
export interface Watcher {
	/**
	 * The descriptor became readable or writable, or both. End-of-file and errors count as both: the
	 * next call on the descriptor tells.
	 */
	ready(readable: boolean, writable: boolean): void;
	/** A call of this owner's threw. */
	fault(reason: unknown): void;
}

/** Something that has expensive work to do, in steps. */
export interface Task {
	/** Does one step. To be called again it has to be queued again. */
	step(): void;
	/** The step threw. */
	fault(reason: unknown): void;
}

const INPUT = EPOLLIN | EPOLLRDHUP | EPOLLET;
const READABLE = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
const WRITABLE = EPOLLOUT | EPOLLHUP | EPOLLERR;

/** Events taken from the kernel at once. */
const BATCH = 256;
const events = allocate(BATCH * EPOLL_EVENT_SIZE);
/** The argument of epoll_ctl(2). */
const change = allocate(16);

/** Time after which a turn ends, in milliseconds. */
const TURN: Milliseconds = 10 as Milliseconds;

/** How long events may wait for tasks that come back soon, in milliseconds: half a step of a handshake. */
const DELAY = 0.25;

/**
 * How long a busy process leaves connections to others, in milliseconds. It cannot see whether there
 * are any, whether they are busier, or whether master(8) may start more of them.
 */
const ACCEPT_DELAY = 20;

/** One epoll descriptor and the queue of tasks. */
export class Reactor implements Disposable, Registry {
	readonly #epoll: Owned<Fd>;
	readonly #watchers: Array<Watcher | undefined> = [];
	/*
	 * A descriptor that is closed and opened again while a batch of events is
	 * being served has the same number: the generation tells them apart.
	 */
	readonly #generations: number[] = [];
	/* When it is garbage-collected, polling silently stops: keep it. */
	readonly #poll: ReturnType<typeof koffi.node.poll>;
	#soon: Task[] = [];
	/* Those of them whose turn it is, the next one last, and whether the next task is that of the queue. */
	#round: Task[] = [];
	#queueIsNext = false;
	readonly #tasks = new FairQueue<Task>();
	#continuing: NodeJS.Immediate | undefined;
	#turning = false;
	#looked = 0 as Milliseconds;
	#deferred: {readonly fd: Fd; readonly watcher: Watcher} | undefined;
	#deferredReady = false;
	#deferredSince: Milliseconds | undefined;
	#acceptNow = false;
	#observer: (started: Milliseconds, ended: Milliseconds) => void = () => undefined;

	/** @param close - closes a descriptor. */
	constructor(close: (fd: Fd) => void) {
		const epoll = epoll_create1(EPOLL_CLOEXEC);
		if (epoll < 0) {
			throw new Panic(`epoll_create1: ${strerror(errno())}`);
		}

		this.#epoll = new Owned(epoll as Fd, close);
		this.#poll = koffi.node.poll(epoll, {readable: true}, () => this.#turn());
	}

	/**
	 * Watches a connection: edge-triggered, input and output.
	 *
	 * @param fd - borrowed until the result is disposed, which has to happen before it is closed.
	 */
	watch(fd: Fd, watcher: Watcher): Disposable {
		return this.#add(fd, watcher, INPUT | EPOLLOUT);
	}

	/**
	 * Watches a connection: edge-triggered, input only, until its owner asks for room.
	 *
	 * @param fd - borrowed until the result is disposed, which has to happen before it is closed.
	 */
	watchInput(fd: Fd, watcher: Watcher): Registration {
		return this.#add(fd, watcher, INPUT);
	}

	/** Watches a descriptor for input, level-triggered: told again in each turn while there is some. */
	watchLevelTriggered(fd: Fd, watcher: Watcher): Disposable {
		return this.#add(fd, watcher, EPOLLIN);
	}

	/**
	 * Watches a descriptor for input that others can take too: told when there is nothing else to do, and
	 * like any other when there has been some for a while. One descriptor at a time.
	 */
	watchDeferred(fd: Fd, watcher: Watcher): Disposable {
		if (this.#deferred !== undefined) {
			throw new Panic('two descriptors that can wait');
		}

		this.#deferred = {fd, watcher};
		const stack = new DisposableStack();
		stack.defer(() => {
			this.#deferred = undefined;
			this.#deferredSince = undefined;
		});
		stack.use(this.#add(fd, watcher, EPOLLIN));
		return stack;
	}

	/** Has somebody told when a turn began and ended. One observer. */
	observe(observer: (started: Milliseconds, ended: Milliseconds) => void): void {
		this.#observer = observer;
	}

	/**
	 * Comes back to a task after the events at hand, before the next step of a handshake: for sessions that
	 * have more data to move than is fair to others at once, which no event would bring back, and for what
	 * takes longer than data can wait for. Events are looked at after each.
	 */
	soon(task: Task): void {
		this.#soon.push(task);
		if (!this.#turning) {
			this.#continue();
		}
	}

	/**
	 * Puts a task at the end of the queue.
	 *
	 * @param flow - those who share their turn with others of the same name; undefined: with nobody.
	 */
	queue(task: Task, key?: string): void {
		this.#tasks.add(task, key);
		if (!this.#turning) {
			this.#continue();
		}
	}

	/** Number of tasks that wait. */
	get backlog(): number {
		return this.#tasks.size;
	}

	[Symbol.dispose](): void {
		clearImmediate(this.#continuing);
		this.#poll.close();
		this.#epoll[Symbol.dispose]();
	}

	#add(fd: Fd, watcher: Watcher, interest: number): Registration {
		const generation = ((this.#generations[fd] ?? 0) + 1) >>> 0;
		this.#control(EPOLL_CTL_ADD, fd, generation, interest);
		this.#generations[fd] = generation;
		this.#watchers[fd] = watcher;
		return new Registration(this, fd, generation);
	}

	#control(operation: number, fd: Fd, generation: number, interest: number): void {
		change.view.setUint32(0, interest, true);
		change.view.setUint32(EPOLL_EVENT_DATA, fd, true);
		change.view.setUint32(EPOLL_EVENT_DATA + 4, generation, true);
		if (epoll_ctl(this.#epoll.value, operation, fd, change.address) < 0) {
			throw new Panic(`epoll_ctl: ${strerror(errno())}`);
		}
	}

	/** For Watch only. */
	change(fd: Fd, generation: number, writable: boolean): void {
		if (this.#watchers[fd] !== undefined && this.#generations[fd] === generation) {
			this.#control(EPOLL_CTL_MOD, fd, generation, writable ? INPUT | EPOLLOUT : INPUT);
		}
	}

	/** For Watch only. */
	remove(fd: Fd, generation: number): void {
		if (this.#watchers[fd] !== undefined && this.#generations[fd] === generation) {
			this.#watchers[fd] = undefined;
			epoll_ctl(this.#epoll.value, EPOLL_CTL_DEL, fd, change.address);
		}
	}

	/* Serves all events, then whatever else there is one by one, with a look at the events after each. */
	#turn(): void {
		const started = now();
		this.#turning = true;
		this.#deferredReady = false;
		this.#acceptNow = this.#deferredSince !== undefined && started - this.#deferredSince >= ACCEPT_DELAY;
		const outcome = this.#work(started);
		this.#turning = false;
		this.#serveDeferred(started, outcome === 'nothing');
		if (outcome === 'unfinished') {
			this.#continue();
		}

		this.#observer(started, now());
	}

	#work(started: Milliseconds): 'unfinished' | 'done' | 'nothing' {
		let served = this.#serve();
		while (this.#hasTasks) {
			served++;
			if (now() - started > TURN) {
				return 'unfinished';
			}

			const task = this.#next();
			if (task === undefined) {
				continue;
			}

			/* What one that comes back soon takes, data can wait for; not a step of a handshake, nor many. */
			const brief = this.#queueIsNext;
			perform(task);
			if (!brief || !this.#hasTasks || now() - this.#looked > DELAY) {
				this.#serve();
			}
		}

		return served === 0 ? 'nothing' : 'done';
	}

	get #hasTasks(): boolean {
		return this.#tasks.size > 0 || this.#soon.length > 0 || this.#round.length > 0;
	}

	/* All that want to come back soon, then one of the queue, in however many turns. */
	#next(): Task | undefined {
		if (this.#round.length === 0 && !this.#queueIsNext) {
			this.#round = this.#soon.toReversed();
			this.#soon = [];
			this.#queueIsNext = true;
		}

		const task = this.#round.pop();
		if (task === undefined) {
			this.#queueIsNext = false;
			return this.#tasks.take();
		}

		return task;
	}

	/* If others have taken it meanwhile, nothing is lost: if not, it will be told again. */
	#serveDeferred(started: Milliseconds, nothingElse: boolean): void {
		if (this.#deferred === undefined || !this.#deferredReady) {
			this.#deferredSince = undefined;
			return;
		}

		if (nothingElse) {
			tell(this.#deferred.watcher, true, false);
		} else {
			this.#deferredSince ??= started;
		}
	}

	/* Tasks are no events of libuv's: somebody has to come back for them. */
	#continue(): void {
		this.#continuing ??= setImmediate(() => {
			this.#continuing = undefined;
			this.#turn();
		});
	}

	/* Tells how many events there were, besides that of who can wait. */
	#serve(): number {
		const count = epoll_wait(this.#epoll.value, events.address, BATCH, 0);
		this.#looked = now();
		let served = 0;
		for (let index = 0; index < count; index++) {
			const at = index * EPOLL_EVENT_SIZE;
			const fd = events.view.getUint32(at + EPOLL_EVENT_DATA, true);
			const watcher = this.#watchers[fd];
			if (
				watcher === undefined ||
				this.#generations[fd] !== events.view.getUint32(at + EPOLL_EVENT_DATA + 4, true)
			) {
				continue;
			}

			if (fd === this.#deferred?.fd) {
				this.#deferredReady = true;
				if (!this.#acceptNow) {
					continue;
				}
			}

			served++;
			const flags = events.view.getUint32(at, true);
			tell(watcher, (flags & READABLE) !== 0, (flags & WRITABLE) !== 0);
		}

		return served;
	}
}

function tell(watcher: Watcher, readable: boolean, writable: boolean): void {
	try {
		watcher.ready(readable, writable);
	} catch (reason) {
		watcher.fault(reason);
	}
}

function perform(task: Task): void {
	try {
		task.step();
	} catch (reason) {
		task.fault(reason);
	}
}
