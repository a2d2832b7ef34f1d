/*++
/* NAME
/*	reactor 3
/* SUMMARY
/*	event loop that serves data before handshakes
/* DESCRIPTION
/*	All descriptors are registered with one epoll(7) descriptor, each
/*	of them once, edge-triggered, for input, output and hang-up. The
/*	owner remembers readiness until a call would block. Local sockets
/*	are an exception: they report EPOLLOUT whenever the other side has
/*	read, and would wake up the process for nothing. There, a session
/*	that needs to write enables EPOLLOUT. libuv watches the epoll
/*	descriptor, so that everything runs on the main thread of Node.js,
/*	between its timers.
/*
/*	There are two kinds of work. Moving a record takes microseconds:
/*	this is done when the event arrives. A handshake step takes as
/*	long as a thousand records: it waits in a queue, and after each
/*	step pending events are served first. Therefore a storm of
/*	handshakes delays established sessions by one step, not by the
/*	storm. Nor does a storm from one remote client delay the
/*	handshakes of others: the tasks of one fairness key wait for each
/*	other, and keys take turns.
/*
/*	An iteration of the loop ends after some milliseconds even when
/*	work is left, so that timers and the watchdog run in time.
/*
/*	New connections are a third kind of work. All processes of a
/*	service may accept them, and a process with other work leaves them
/*	to idle processes. When a connection is still waiting after a
/*	while, no process is idle, and the connection is accepted in
/*	addition to the other work: only then can its session be
/*	scheduled fairly.
/* BUGS
/*	Node.js is not aware of these callbacks: a promise that is settled
/*	in one of them continues with the next timer or setImmediate().
/* DIAGNOSTICS
/*	An exception in a callback is passed to fault() of the same
/*	owner: a fault in one session does not reach another. An exception
/*	in fault() is logged, and the loop continues.
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
import {logException} from '../log/log.ts';
import {now} from './deadline.ts';
import {FairQueue} from './fair-queue.ts';
import {Registration, type Registry} from './registration.ts';

/** The owner of a watched descriptor. */
export interface Watcher {
	/**
	 * The descriptor became readable or writable, or both. End-of-file and errors are reported as both: the
	 * next call on the descriptor returns them.
	 */
	ready(readable: boolean, writable: boolean): void;
	/** ready() has thrown. */
	fault(reason: unknown): void;
}

/** Expensive work that is done in steps. */
export interface Task {
	/** Does one step. The task has to be queued again for the next one. */
	step(): void;
	/** step() has thrown. */
	fault(reason: unknown): void;
}

const INPUT = EPOLLIN | EPOLLRDHUP | EPOLLET;
const READABLE = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
const WRITABLE = EPOLLOUT | EPOLLHUP | EPOLLERR;

/** Largest number of events per epoll_wait(2). */
const EVENT_LIMIT = 256;
const events = allocate(EVENT_LIMIT * EPOLL_EVENT_SIZE);
/** The event argument of epoll_ctl(2). */
const registrationEvent = allocate(16);

/** Time after which an iteration of the loop ends, in milliseconds. */
const ITERATION_LIMIT = 10;

/** Time that urgent tasks may take before events are served, in milliseconds: half a handshake step. */
const URGENT_LIMIT = 0.25;

/**
 * How long a process with other work leaves connections to other processes, in milliseconds. It cannot see
 * whether other processes exist or are idle, or whether master(8) may start more of them.
 */
const ACCEPT_DELAY = 20;

/** One epoll descriptor and the queues of tasks. */
export class Reactor implements Disposable, Registry {
	readonly #epoll: Owned<Fd>;
	readonly #watchers: Array<Watcher | undefined> = [];
	/*
	 * A descriptor that is closed and opened again while a batch of events is
	 * being served has the same number: the generation distinguishes the two.
	 */
	readonly #generations: number[] = [];
	/* Referenced, because polling silently stops when the handle is garbage-collected. */
	readonly #poll: ReturnType<typeof koffi.node.poll>;
	#urgent: Task[] = [];
	/* The urgent tasks of the current round, in reverse order. */
	#round: Task[] = [];
	/* The next task is that of the fair queue, when the round is over. */
	#tasksAreNext = false;
	readonly #tasks = new FairQueue<Task>();
	#immediate: NodeJS.Immediate | undefined;
	#iterating = false;
	/* When events were last served. */
	#servedAt = 0 as Milliseconds;
	#deferred: {readonly fd: Fd; readonly watcher: Watcher} | undefined;
	#deferredReady = false;
	/* Since when a connection has been waiting. */
	#deferredSince: Milliseconds | undefined;
	#acceptNow = false;
	#observer: (started: Milliseconds, ended: Milliseconds) => void = () => undefined;

	/** @param close - closes the epoll descriptor. */
	constructor(close: (fd: Fd) => void) {
		const epoll = epoll_create1(EPOLL_CLOEXEC);
		if (epoll < 0) {
			throw new Panic(`epoll_create1: ${strerror(errno())}`);
		}

		this.#epoll = new Owned(epoll as Fd, close);
		this.#poll = koffi.node.poll(epoll, {readable: true}, () => this.#iterate());
	}

	/**
	 * Watches a connection: edge-triggered, input and output.
	 *
	 * @param fd - borrowed. The result has to be disposed before it is closed.
	 * @throws {Panic} when epoll_ctl(2) fails.
	 */
	watch(fd: Fd, watcher: Watcher): Disposable {
		return this.#add(fd, watcher, INPUT | EPOLLOUT);
	}

	/**
	 * Watches a connection: edge-triggered, input only until {@link Registration.writeInterest} is set.
	 *
	 * @param fd - borrowed. The result has to be disposed before it is closed.
	 * @throws {Panic} when epoll_ctl(2) fails.
	 */
	watchInput(fd: Fd, watcher: Watcher): Registration {
		return this.#add(fd, watcher, INPUT);
	}

	/**
	 * Watches a descriptor for input, level-triggered: input is reported in every iteration until it is read.
	 *
	 * @param fd - borrowed. The result has to be disposed before it is closed.
	 * @throws {Panic} when epoll_ctl(2) fails.
	 */
	watchLevelTriggered(fd: Fd, watcher: Watcher): Disposable {
		return this.#add(fd, watcher, EPOLLIN);
	}

	/**
	 * Watches a listening socket that is shared with other processes. Input is reported when the process has
	 * no other work, or after {@link ACCEPT_DELAY}. One descriptor at a time.
	 *
	 * @param fd - borrowed. The result has to be disposed before it is closed.
	 * @throws {Panic} when epoll_ctl(2) fails.
	 */
	watchDeferred(fd: Fd, watcher: Watcher): Disposable {
		if (this.#deferred !== undefined) {
			throw new Panic('two deferred descriptors');
		}

		const registration = this.#add(fd, watcher, EPOLLIN);
		this.#deferred = {fd, watcher};
		const stack = new DisposableStack();
		stack.defer(() => {
			this.#deferred = undefined;
			this.#deferredSince = undefined;
		});
		stack.use(registration);
		return stack;
	}

	/** Sets the function that is called with the start and the end of each iteration. */
	observe(observer: (started: Milliseconds, ended: Milliseconds) => void): void {
		this.#observer = observer;
	}

	/**
	 * Queues a task that runs after pending events and before the next task of {@link queue}. For sessions
	 * that have used their share and have more data to move (no event would resume them), and for work that
	 * would delay data if it were done within an event. Events are served between urgent tasks.
	 */
	queueUrgent(task: Task): void {
		this.#urgent.push(task);
		if (!this.#iterating) {
			this.#schedule();
		}
	}

	/**
	 * Queues a task.
	 *
	 * @param key - tasks with the same key share their turn; a task without a key has its turn alone.
	 */
	queue(task: Task, key?: string): void {
		this.#tasks.add(task, key);
		if (!this.#iterating) {
			this.#schedule();
		}
	}

	/** Number of tasks in the queue, without urgent ones. */
	get backlog(): number {
		return this.#tasks.size;
	}

	[Symbol.dispose](): void {
		clearImmediate(this.#immediate);
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
		registrationEvent.view.setUint32(0, interest, true);
		registrationEvent.view.setUint32(EPOLL_EVENT_DATA, fd, true);
		registrationEvent.view.setUint32(EPOLL_EVENT_DATA + 4, generation, true);
		if (epoll_ctl(this.#epoll.value, operation, fd, registrationEvent.address) < 0) {
			throw new Panic(`epoll_ctl: ${strerror(errno())}`);
		}
	}

	/** For {@link Registration} only. */
	change(fd: Fd, generation: number, writable: boolean): void {
		if (this.#watchers[fd] !== undefined && this.#generations[fd] === generation) {
			this.#control(EPOLL_CTL_MOD, fd, generation, writable ? INPUT | EPOLLOUT : INPUT);
		}
	}

	/** For {@link Registration} only. */
	remove(fd: Fd, generation: number): void {
		if (this.#watchers[fd] !== undefined && this.#generations[fd] === generation) {
			this.#watchers[fd] = undefined;
			epoll_ctl(this.#epoll.value, EPOLL_CTL_DEL, fd, registrationEvent.address);
		}
	}

	#iterate(): void {
		const started = now();
		this.#iterating = true;
		this.#deferredReady = false;
		this.#acceptNow = this.#deferredSince !== undefined && started - this.#deferredSince >= ACCEPT_DELAY;
		const outcome = this.#work(started);
		this.#iterating = false;
		this.#serveDeferred(started, outcome === 'idle');
		if (outcome === 'unfinished') {
			this.#schedule();
		}

		this.#observer(started, now());
	}

	/* Serves all events, then tasks one by one, with pending events after each. */
	#work(started: Milliseconds): 'unfinished' | 'done' | 'idle' {
		let served = this.#serveEvents();
		while (this.#hasTasks) {
			served++;
			if (now() - started > ITERATION_LIMIT) {
				return 'unfinished';
			}

			const task = this.#nextTask();
			if (task === undefined) {
				continue;
			}

			/* Urgent tasks are short: epoll_wait(2) after each of them would cost more than it gains. */
			const urgent = this.#tasksAreNext;
			runTask(task);
			if (!urgent || !this.#hasTasks || now() - this.#servedAt > URGENT_LIMIT) {
				this.#serveEvents();
			}
		}

		return served === 0 ? 'idle' : 'done';
	}

	get #hasTasks(): boolean {
		return this.#tasks.size > 0 || this.#urgent.length > 0 || this.#round.length > 0;
	}

	/* All tasks that are urgent now, then one of the fair queue; this may take several iterations. */
	#nextTask(): Task | undefined {
		if (this.#round.length === 0 && !this.#tasksAreNext) {
			this.#round = this.#urgent.toReversed();
			this.#urgent = [];
			this.#tasksAreNext = true;
		}

		const task = this.#round.pop();
		if (task === undefined) {
			this.#tasksAreNext = false;
			return this.#tasks.take();
		}

		return task;
	}

	/* If another process has accepted meanwhile, accept(2) would block. Otherwise the next iteration reports it again. */
	#serveDeferred(started: Milliseconds, idle: boolean): void {
		if (this.#deferred === undefined || !this.#deferredReady) {
			this.#deferredSince = undefined;
			return;
		}

		if (idle) {
			notify(this.#deferred.watcher, true, false);
		} else {
			this.#deferredSince ??= started;
		}
	}

	/* libuv does not know about tasks. */
	#schedule(): void {
		this.#immediate ??= setImmediate(() => {
			this.#immediate = undefined;
			this.#iterate();
		});
	}

	/* Returns the number of events, without a deferred one that is not served yet. */
	#serveEvents(): number {
		const count = epoll_wait(this.#epoll.value, events.address, EVENT_LIMIT, 0);
		this.#servedAt = now();
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
			notify(watcher, (flags & READABLE) !== 0, (flags & WRITABLE) !== 0);
		}

		return served;
	}
}

function notify(watcher: Watcher, readable: boolean, writable: boolean): void {
	try {
		watcher.ready(readable, writable);
	} catch (reason) {
		reportFault(watcher, reason);
	}
}

function runTask(task: Task): void {
	try {
		task.step();
	} catch (reason) {
		reportFault(task, reason);
	}
}

/* An exception that left the loop would end the process, with the sessions of all others. */
function reportFault(owner: Watcher | Task, reason: unknown): void {
	try {
		owner.fault(reason);
	} catch (second) {
		logException(second);
	}
}
