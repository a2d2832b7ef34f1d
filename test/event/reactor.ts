import {closeSync, openSync} from 'node:fs';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {Panic} from '../../src/base/errors.ts';
import type {Fd} from '../../src/base/units.ts';
import {Reactor, type Task, type Watcher} from '../../src/event/reactor.ts';
import {readStream} from '../../src/event/stream.ts';
import {close, read, send} from '../../src/ffi/libc/libc.ts';
import {Held, openDescriptors, socketPair} from '../helpers/descriptors.ts';
import {collectLog} from '../helpers/openssl.ts';

/*
 * Several iterations of the event loop: afterwards everything that was pending has been reported. One long
 * wait is not enough: on a busy machine a timer can be due before descriptors have been polled.
 */
async function iterations(): Promise<void> {
	for (let turn = 0; turn < 6; turn++) {
		await delay(5);
	}
}

/** Waits until all tasks are done: on a busy machine that takes many iterations. */
async function queueEmpty(reactor: Reactor): Promise<void> {
	for (let round = 0; round < 500 && reactor.backlog > 0; round++) {
		await iterations();
	}
}

function reactorFor(t: ExecutionContext): Reactor {
	const reactor = new Reactor(close);
	t.teardown(() => reactor[Symbol.dispose]());
	return reactor;
}

function sendText(socket: Held, text = 'x'): void {
	const bytes = Buffer.from(text);
	send(socket.fd, bytes, bytes.length, 0);
}

/** Works for a number of milliseconds. */
function spin(milliseconds: number): void {
	for (const end = performance.now() + milliseconds; performance.now() < end; );
}

/** A watcher that records what is reported to it. */
function recordingWatcher(log: string[], name = ''): Watcher {
	return {
		ready(readable, writable) {
			log.push(`${name}${readable ? 'r' : ''}${writable ? 'w' : ''}`);
		},
		fault(reason) {
			log.push(`${name}fault ${String(reason)}`);
		},
	};
}

/** A watcher that reads, and then runs a function. */
function readingWatcher(t: ExecutionContext, socket: Held, run: () => void): Watcher {
	return {
		ready() {
			readStream(socket.fd);
			run();
		},
		fault: reason => t.fail(String(reason)),
	};
}

/** A task that records its name, and then runs a function. */
function recordingTask(log: string[], name: string, run: () => void = () => undefined): Task {
	return {
		step() {
			log.push(name);
			run();
		},
		fault(reason) {
			log.push(`${name} fault ${String(reason)}`);
		},
	};
}

test('watch reports at once that a new connection is writable', async t => {
	const [mine] = socketPair(t);
	const log: string[] = [];
	using _ = reactorFor(t).watch(mine.fd, recordingWatcher(log));
	await iterations();
	t.deepEqual(log, ['w']);
});

test('watch is edge-triggered: unread input is reported once, and new input again', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactorFor(t).watch(mine.fd, recordingWatcher(log));
	await iterations();
	sendText(theirs);
	await iterations();
	await iterations();
	t.deepEqual(log, ['w', 'rw']);
	sendText(theirs);
	await iterations();
	t.deepEqual(log, ['w', 'rw', 'rw']);
});

test('watch reports EPOLLOUT again after a write that would have blocked', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactorFor(t).watch(mine.fd, recordingWatcher(log));
	const block = Buffer.alloc(65_536);
	while (send(mine.fd, block, block.length, 0) > 0);
	await iterations();
	log.length = 0;
	while (read(theirs.fd, block, block.length) > 0);
	await iterations();
	t.deepEqual(log, ['w']);
});

test('watch reports end-of-file as readable and writable', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactorFor(t).watch(mine.fd, recordingWatcher(log));
	await iterations();
	theirs.close();
	await iterations();
	t.deepEqual(log, ['w', 'rw']);
	t.is(readStream(mine.fd), -3);
});

test('watchInput does not report EPOLLOUT until writeInterest is set', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using watch = reactorFor(t).watchInput(mine.fd, recordingWatcher(log));
	sendText(mine);
	read(theirs.fd, new Uint8Array(128), 1);
	await iterations();
	t.deepEqual(log, []);
	sendText(theirs);
	await iterations();
	t.deepEqual(log, ['r']);
	read(mine.fd, new Uint8Array(128), 1);
	log.length = 0;

	watch.writeInterest = true;
	await iterations();
	t.deepEqual(log, ['w']);
	watch.writeInterest = false;
	sendText(mine);
	read(theirs.fd, new Uint8Array(128), 1);
	await iterations();
	t.deepEqual(log, ['w']);
});

test('watchInput reports EPOLLOUT while writeInterest is set, after each write that would have blocked', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using watch = reactorFor(t).watchInput(mine.fd, recordingWatcher(log));
	const block = Buffer.alloc(65_536);
	for (let round = 0; round < 3; round++) {
		while (send(mine.fd, block, block.length, 0) > 0);
		watch.writeInterest = true;
		await iterations();
		t.deepEqual(log, []);
		while (read(theirs.fd, block, block.length) > 0);
		await iterations();
		t.true(log.length > 0 && log.every(event => event === 'w'));
		log.length = 0;
	}

	/* Space that became free before writeInterest was set is reported, too. */
	watch.writeInterest = false;
	while (send(mine.fd, block, block.length, 0) > 0);
	while (read(theirs.fd, block, block.length) > 0);
	await iterations();
	t.deepEqual(log, []);
	watch.writeInterest = true;
	await iterations();
	t.deepEqual(log, ['w']);
});

test('watchInput reports end-of-file as readable and writable without writeInterest', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using watch = reactorFor(t).watchInput(mine.fd, recordingWatcher(log));
	theirs.close();
	await iterations();
	t.deepEqual(log, ['rw']);
	watch[Symbol.dispose]();
	watch.writeInterest = true;
	await iterations();
	t.deepEqual(log, ['rw']);
});

test('watchLevelTriggered reports input until it is read, and never EPOLLOUT', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactorFor(t).watchLevelTriggered(mine.fd, {
		ready(readable, writable) {
			t.true(readable);
			t.false(writable);
			/* Read one byte of three each time. */
			log.push('input');
			if (log.length <= 3) {
				read(mine.fd, new Uint8Array(128), 1);
			}
		},
		fault: reason => t.fail(String(reason)),
	});
	await iterations();
	t.is(log.length, 0);
	sendText(theirs, 'abc');
	for (let round = 0; round < 50 && log.length < 3; round++) {
		await iterations();
	}

	await iterations();
	t.is(log.length, 3);
});

test('watchDeferred reports input when there is no other work', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactorFor(t).watchDeferred(mine.fd, {
		ready() {
			log.push(`read ${readStream(mine.fd)}`);
		},
		fault: reason => t.fail(String(reason)),
	});
	sendText(theirs, 'abc');
	await iterations();
	t.deepEqual(log, ['read 3']);
});

test('watchDeferred waits until events and tasks are served', async t => {
	const reactor = reactorFor(t);
	const [deferred, deferredEnd] = socketPair(t);
	const [other, otherEnd] = socketPair(t);
	const log: string[] = [];
	using _ = reactor.watchDeferred(deferred.fd, {
		ready() {
			readStream(deferred.fd);
			log.push('deferred');
		},
		fault: reason => t.fail(String(reason)),
	});
	const registration = reactor.watchLevelTriggered(other.fd, {
		ready() {
			readStream(other.fd);
			log.push('other');
			reactor.queue(recordingTask(log, 'task', () => reactor.queue(recordingTask(log, 'last'))));
		},
		fault: reason => t.fail(String(reason)),
	});
	t.teardown(() => registration[Symbol.dispose]());
	sendText(deferredEnd);
	sendText(otherEnd);
	for (let round = 0; round < 50 && log.length < 4; round++) {
		await iterations();
	}

	t.deepEqual(log, ['other', 'task', 'last', 'deferred']);
});

/* These two occupy the event loop. */
test.serial('watchDeferred reports input after 20 ms of other work, and then between tasks', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const times: number[] = [];
	let working = true;
	const started = performance.now();
	using _ = reactor.watchDeferred(mine.fd, {
		ready() {
			if (working) {
				times.push(performance.now() - started);
			}
		},
		fault: reason => t.fail(String(reason)),
	});
	/* The input is not read: after the delay it is reported before each task. */
	await new Promise<void>(resolve => {
		const task = recordingTask([], '', () => {
			spin(1);
			if (times.length < 10 && performance.now() - started < 60_000) {
				reactor.queue(task);
			} else {
				working = false;
				resolve();
			}
		});
		sendText(theirs);
		reactor.queue(task);
	});
	t.true((times[0] ?? 0) >= 20, times.join(' '));
	t.true(times.length >= 10, 'not before the work is done');
});

test('watchDeferred accepts one descriptor at a time', t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const first = reactor.watchDeferred(mine.fd, recordingWatcher([]));
	t.throws(() => reactor.watchDeferred(theirs.fd, recordingWatcher([])), {instanceOf: Panic});
	first[Symbol.dispose]();
	/* After a failure the next call succeeds. */
	t.throws(() => reactor.watchDeferred(-1 as Fd, recordingWatcher([])), {
		instanceOf: Panic,
		message: 'epoll_ctl: Bad file descriptor',
	});
	reactor.watchDeferred(theirs.fd, recordingWatcher([]))[Symbol.dispose]();
});

test.serial('observe reports the duration of each iteration', async t => {
	const reactor = reactorFor(t);
	let worked = 0;
	reactor.observe((started, ended) => {
		worked += ended - started;
	});
	reactor.queue(
		recordingTask([], '', () => {
			spin(20);
		}),
	);
	await iterations();
	t.true(worked >= 20);
	const before = worked;
	await iterations();
	t.is(worked, before);
});

test('nothing is reported after the registration was disposed', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	const registration = reactorFor(t).watch(mine.fd, recordingWatcher(log));
	await iterations();
	registration[Symbol.dispose]();
	registration[Symbol.dispose]();
	sendText(theirs);
	await iterations();
	t.deepEqual(log, ['w']);
});

test('a descriptor can be watched again after its registration was disposed', async t => {
	const [mine, theirs] = socketPair(t);
	const reactor = reactorFor(t);
	const log: string[] = [];
	reactor.watch(mine.fd, recordingWatcher(log, 'first '))[Symbol.dispose]();
	using _ = reactor.watch(mine.fd, recordingWatcher(log, 'second '));
	sendText(theirs);
	await iterations();
	t.deepEqual(log, ['second rw']);
});

test.serial('events of a closed descriptor do not reach the next owner of its number', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const [other, otherEnd] = socketPair(t);
	const number = mine.fd;
	const log: string[] = [];
	const registrations: Disposable[] = [];
	const reopened: Held[] = [];
	/* The first of the two that is reported replaces the other one, whose event is in the same batch. */
	const replace = (name: string, victim: Held, at: number): Watcher => ({
		ready() {
			log.push(name);
			if (reopened.length > 0) {
				return;
			}

			const gone = victim.fd;
			registrations[at]?.[Symbol.dispose]();
			victim.close();
			const [fresh, peer] = socketPair(t);
			reopened.push(fresh, peer);
			const reused = [fresh, peer].find(({fd}) => fd === gone);
			t.truthy(reused, 'the kernel gives the lowest free number');
			if (reused !== undefined) {
				/* Level-triggered for input only: without input nothing may be reported. */
				registrations.push(reactor.watchLevelTriggered(reused.fd, recordingWatcher(log, 'stale ')));
			}
		},
		fault: reason => t.fail(String(reason)),
	});
	sendText(theirs);
	sendText(otherEnd);
	registrations.push(
		reactor.watchLevelTriggered(number, replace('mine', other, 1)),
		reactor.watchLevelTriggered(other.fd, replace('other', mine, 0)),
	);
	await iterations();
	t.is(reopened.length, 2);
	t.deepEqual(
		log.filter(line => line.startsWith('stale')),
		[],
	);
	for (const registration of registrations) {
		registration[Symbol.dispose]();
	}
});

test.serial('disposal of an outdated registration does not affect the new owner of the number', async t => {
	const reactor = reactorFor(t);
	const [mine] = socketPair(t);
	const number = mine.fd;
	const old = reactor.watch(number, recordingWatcher([]));
	/* The kernel removes a closed descriptor from the epoll set. */
	mine.close();
	const [fresh, peer] = socketPair(t);
	const [reused, end] = fresh.fd === number ? [fresh, peer] : [peer, fresh];
	t.is(reused.fd, number);
	const log: string[] = [];
	using _ = reactor.watchLevelTriggered(reused.fd, recordingWatcher(log));
	old[Symbol.dispose]();
	sendText(end);
	await iterations();
	t.true(log.length > 0);
	t.true(log.every(line => line === 'r'));
});

test('watch panics on a descriptor that cannot be watched', async t => {
	const reactor = reactorFor(t);
	const file = openSync('/proc/self/status', 'r') as Fd;
	t.throws(() => reactor.watch(-1 as Fd, recordingWatcher([])), {
		instanceOf: Panic,
		message: 'epoll_ctl: Bad file descriptor',
	});
	closeSync(file);
	const directory = openSync('/', 'r') as Fd;
	t.throws(() => reactor.watch(directory, recordingWatcher([])), {
		instanceOf: Panic,
		message: 'epoll_ctl: Operation not permitted',
	});
	closeSync(directory);
});

test('a second watch of the same descriptor panics, and the first continues', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactor.watch(mine.fd, recordingWatcher(log));
	t.throws(() => reactor.watch(mine.fd, recordingWatcher([])), {
		instanceOf: Panic,
		message: 'epoll_ctl: File exists',
	});
	sendText(theirs);
	await iterations();
	t.deepEqual(log, ['rw']);
});

test('an exception in ready() is passed to fault() of the same watcher only', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	const ends = Array.from({length: 5}, () => socketPair(t));
	for (const [index, [mine]] of ends.entries()) {
		reactor.watch(mine.fd, {
			ready() {
				if (index % 2 === 0) {
					throw new Error(`trouble ${index}`);
				}

				log.push(`ready ${index}`);
			},
			fault(reason) {
				log.push(`fault ${index}: ${reason instanceof Error ? reason.message : ''}`);
			},
		});
	}

	await iterations();
	t.deepEqual(log.toSorted(), [
		'fault 0: trouble 0',
		'fault 2: trouble 2',
		'fault 4: trouble 4',
		'ready 1',
		'ready 3',
	]);
	const before = log.length;
	for (const [, theirs] of ends) {
		sendText(theirs);
	}

	await iterations();
	t.is(log.length, before + 5);
});

function fail(): never {
	throw new Error('trouble');
}

test('an exception in step() is passed to fault() of the same task only', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	reactor.queue(recordingTask(log, 'one', fail));
	reactor.queue(recordingTask(log, 'two'));
	reactor.queueUrgent(recordingTask(log, 'three', fail));
	reactor.queueUrgent(recordingTask(log, 'four'));
	await iterations();
	t.deepEqual(log, ['three', 'three fault Error: trouble', 'four', 'one', 'one fault Error: trouble', 'two']);
});

test.serial('an exception in fault() is logged, and the loop continues', async t => {
	const log = collectLog();
	const reactor = reactorFor(t);
	const served: string[] = [];
	const faulty = {
		fault(reason: unknown) {
			served.push(String(reason));
			throw new Error('second trouble');
		},
	};
	const pairs = Array.from({length: 3}, () => socketPair(t));
	for (const [index, [mine]] of pairs.entries()) {
		reactor.watch(mine.fd, index === 1 ? recordingWatcher(served) : {ready: fail, ...faulty});
	}

	reactor.queue({step: fail, ...faulty});
	reactor.queueUrgent({step: fail, ...faulty});
	reactor.queue(recordingTask(served, 'task'));
	reactor.queueUrgent(recordingTask(served, 'urgent task'));
	await queueEmpty(reactor);
	await iterations();
	const trouble = 'Error: trouble';
	t.deepEqual(served.toSorted(), [trouble, trouble, trouble, trouble, 'task', 'urgent task', 'w']);
	t.is(log.length, 4);
	t.true(
		log.every(line => line.startsWith('error: unexpected exception: Error: second trouble')),
		log.join('\n'),
	);
});

test('queue runs tasks in order, each once', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	const names = Array.from({length: 3000}, (_, index) => `task ${index}`);
	for (const name of names) {
		reactor.queue(recordingTask(log, name));
	}

	t.is(reactor.backlog, 3000);
	t.deepEqual(log, [], 'not within the call');
	await queueEmpty(reactor);
	t.deepEqual(log, names);
	t.is(reactor.backlog, 0);
});

test('a task that is queued again runs after the waiting ones', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	let rounds = 0;
	const again: Task = recordingTask(log, 'again', () => {
		if (++rounds < 3) {
			reactor.queue(again);
		}
	});
	reactor.queue(again);
	reactor.queue(recordingTask(log, 'other'));
	await iterations();
	t.deepEqual(log, ['again', 'other', 'again', 'again']);
});

test('queue lets keys take turns: a key with thousands of tasks does not delay another', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	for (let count = 0; count < 2000; count++) {
		reactor.queue(
			recordingTask([], 'storm', () => log.push('storm')),
			'storm',
		);
	}

	const single: Task = recordingTask(log, 'single', () => {
		if (log.filter(name => name === 'single').length < 3) {
			reactor.queue(single, 'single');
		}
	});
	reactor.queue(single, 'single');
	t.is(reactor.backlog, 2001);
	await queueEmpty(reactor);
	t.deepEqual(log.slice(0, 6), ['storm', 'single', 'storm', 'single', 'storm', 'single']);
	t.is(log.length, 2003);
});

test('queue gives each task without a key a separate turn', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	for (const name of ['1', '2', '3']) {
		reactor.queue(recordingTask(log, `storm ${name}`), 'storm');
		reactor.queue(recordingTask(log, `single ${name}`));
	}

	await iterations();
	t.deepEqual(log, ['storm 1', 'single 1', 'single 2', 'single 3', 'storm 2', 'storm 3']);
});

test('events are served between two urgent tasks when the first takes long', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactor.watchLevelTriggered(
		mine.fd,
		readingWatcher(t, mine, () => log.push('data')),
	);
	/* A task that takes less than 0.25 ms is not followed by epoll_wait(2). */
	reactor.queueUrgent(
		recordingTask(log, 'busy 1', () => {
			sendText(theirs);
			spin(2);
		}),
	);
	reactor.queueUrgent(recordingTask(log, 'busy 2'));
	await iterations();
	t.deepEqual(log, ['busy 1', 'data', 'busy 2']);
});

test('events are served between two tasks: data before handshakes', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactor.watchLevelTriggered(
		mine.fd,
		readingWatcher(t, mine, () => log.push('data')),
	);
	for (let index = 1; index <= 3; index++) {
		reactor.queue(recordingTask(log, `handshake ${index}`, () => sendText(theirs)));
	}

	await iterations();
	t.deepEqual(log, ['handshake 1', 'data', 'handshake 2', 'data', 'handshake 3', 'data']);
});

test('pending events are served before the first task', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactor.watch(mine.fd, recordingWatcher(log));
	sendText(theirs);
	reactor.queue(recordingTask(log, 'handshake'));
	await iterations();
	t.deepEqual(log, ['rw', 'handshake']);
});

test('urgent tasks run after pending events and before the next task', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactor.watchLevelTriggered(
		mine.fd,
		readingWatcher(t, mine, () => {
			log.push('data');
			reactor.queueUrgent(recordingTask(log, 'more data'));
		}),
	);
	reactor.queue(recordingTask(log, 'handshake 1', () => sendText(theirs)));
	reactor.queue(recordingTask(log, 'handshake 2'));
	await iterations();
	t.deepEqual(log, ['handshake 1', 'data', 'more data', 'handshake 2']);
});

test('urgent tasks take turns with tasks: a busy session does not stop handshakes', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	let rounds = 0;
	const greedy: Task = recordingTask(log, 'more', () => {
		if (++rounds < 4) {
			reactor.queueUrgent(greedy);
		}
	});
	reactor.queueUrgent(greedy);
	reactor.queue(recordingTask(log, 'handshake 1'));
	reactor.queue(recordingTask(log, 'handshake 2'));
	await iterations();
	t.deepEqual(log, ['more', 'handshake 1', 'more', 'handshake 2', 'more', 'more']);
});

test('timers run while tasks are queued without end', async t => {
	const reactor = reactorFor(t);
	let fired = false;
	const limit = performance.now() + 60_000;
	await new Promise<void>(resolve => {
		const endless: Task = recordingTask([], '', () => {
			if (fired || performance.now() > limit) {
				resolve();
			} else {
				reactor.queue(endless);
			}
		});
		setTimeout(() => {
			fired = true;
		}, 1);
		reactor.queue(endless);
	});
	t.true(fired);
});

test('timers run while many urgent tasks are queued, which run before the next task', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	const spinning = (name: string): Task =>
		recordingTask(log, name, () => {
			spin(1);
		});
	for (let count = 0; count < 400; count++) {
		reactor.queueUrgent(spinning('soon'));
	}

	reactor.queue(recordingTask(log, 'task'));
	await delay(20);
	t.true(log.length < 400, `${log.length} without a timer`);
	/* It waits for the tasks that were queued before it. */
	reactor.queueUrgent(recordingTask(log, 'later'));
	for (let round = 0; round < 500 && log.length < 402; round++) {
		await iterations();
	}

	t.deepEqual(log.slice(400), ['task', 'later']);
});

test.serial('disposal closes the epoll descriptor', t => {
	const before = openDescriptors();
	const reactor = new Reactor(close);
	t.true(openDescriptors() > before);
	reactor[Symbol.dispose]();
	t.is(openDescriptors(), before);
});
