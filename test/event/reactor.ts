import {closeSync, openSync} from 'node:fs';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {Panic} from '../../src/base/errors.ts';
import type {Fd} from '../../src/base/units.ts';
import {Reactor, type Task, type Watcher} from '../../src/event/reactor.ts';
import {readStream} from '../../src/event/stream.ts';
import {close, read, send} from '../../src/ffi/libc/libc.ts';
import {Held, openDescriptors, socketPair} from '../helpers/descriptors.ts';

/** Time in which a reactor has told all there is to tell. */
/* Not one long wait: on a busy machine a timer can be due before descriptors have been looked at. */
async function settled(): Promise<void> {
	for (let turn = 0; turn < 6; turn++) {
		await delay(5);
	}
}

/** The same, when there were many tasks: on a busy machine they take more than one turn. */
async function served(reactor: Reactor): Promise<void> {
	for (let round = 0; round < 500 && reactor.backlog > 0; round++) {
		await settled();
	}
}

function reactorFor(t: ExecutionContext): Reactor {
	const reactor = new Reactor(close);
	t.teardown(() => reactor[Symbol.dispose]());
	return reactor;
}

function say(socket: Held, text = 'x'): void {
	const bytes = Buffer.from(text);
	send(socket.fd, bytes, bytes.length, 0);
}

/** A watcher that writes down what it is told. */
function noting(log: string[], name = ''): Watcher {
	return {
		ready(readable, writable) {
			log.push(`${name}${readable ? 'r' : ''}${writable ? 'w' : ''}`);
		},
		fault(reason) {
			log.push(`${name}fault ${String(reason)}`);
		},
	};
}

/** A task that does something and writes down its name. */
function noted(log: string[], name: string, run: () => void = () => undefined): Task {
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

test('watch tells at once that a fresh connection is writable', async t => {
	const [mine] = socketPair(t);
	const log: string[] = [];
	using _ = reactorFor(t).watch(mine.fd, noting(log));
	await settled();
	t.deepEqual(log, ['w']);
});

test('watch is edge-triggered: what nobody reads is told once, what comes later is told again', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactorFor(t).watch(mine.fd, noting(log));
	await settled();
	say(theirs);
	await settled();
	await settled();
	t.deepEqual(log, ['w', 'rw']);
	say(theirs);
	await settled();
	t.deepEqual(log, ['w', 'rw', 'rw']);
});

test('watch tells of room again after a write that would have blocked', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactorFor(t).watch(mine.fd, noting(log));
	const block = Buffer.alloc(65_536);
	while (send(mine.fd, block, block.length, 0) > 0);
	await settled();
	log.length = 0;
	while (read(theirs.fd, block, block.length) > 0);
	await settled();
	t.deepEqual(log, ['w']);
});

test('watch tells of the end as readable and writable, so that the next call finds out', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactorFor(t).watch(mine.fd, noting(log));
	await settled();
	theirs.close();
	await settled();
	t.deepEqual(log, ['w', 'rw']);
	t.is(readStream(mine.fd), -3);
});

test('watchForInput is silent about room, whatever the other side reads, until somebody asks', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using watch = reactorFor(t).watchInput(mine.fd, noting(log));
	say(mine);
	read(theirs.fd, new Uint8Array(128), 1);
	await settled();
	t.deepEqual(log, []);
	say(theirs);
	await settled();
	t.deepEqual(log, ['r']);
	read(mine.fd, new Uint8Array(128), 1);
	log.length = 0;

	watch.writeInterest = true;
	await settled();
	t.deepEqual(log, ['w']);
	watch.writeInterest = false;
	say(mine);
	read(theirs.fd, new Uint8Array(128), 1);
	await settled();
	t.deepEqual(log, ['w']);
});

test('watchForInput: who asks for room after a write that would have blocked is told of it, each time', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using watch = reactorFor(t).watchInput(mine.fd, noting(log));
	const block = Buffer.alloc(65_536);
	for (let round = 0; round < 3; round++) {
		while (send(mine.fd, block, block.length, 0) > 0);
		watch.writeInterest = true;
		await settled();
		t.deepEqual(log, []);
		while (read(theirs.fd, block, block.length) > 0);
		await settled();
		t.true(log.length > 0 && log.every(told => told === 'w'));
		log.length = 0;
	}

	/* What became free before somebody asked is not missed either. */
	watch.writeInterest = false;
	while (send(mine.fd, block, block.length, 0) > 0);
	while (read(theirs.fd, block, block.length) > 0);
	await settled();
	t.deepEqual(log, []);
	watch.writeInterest = true;
	await settled();
	t.deepEqual(log, ['w']);
});

test('watchForInput tells of the end as readable and writable, without being asked', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using watch = reactorFor(t).watchInput(mine.fd, noting(log));
	theirs.close();
	await settled();
	t.deepEqual(log, ['rw']);
	watch[Symbol.dispose]();
	watch.writeInterest = true;
	await settled();
	t.deepEqual(log, ['rw']);
});

test('watchInput is level-triggered, and silent about room', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactorFor(t).watchLevelTriggered(mine.fd, {
		ready(readable, writable) {
			t.true(readable);
			t.false(writable);
			/* Read one byte of three each time. */
			log.push('told');
			if (log.length <= 3) {
				read(mine.fd, new Uint8Array(128), 1);
			}
		},
		fault: reason => t.fail(String(reason)),
	});
	await settled();
	t.is(log.length, 0);
	say(theirs, 'abc');
	for (let round = 0; round < 50 && log.length < 3; round++) {
		await settled();
	}

	await settled();
	t.is(log.length, 3);
});

test('watchPatiently tells when there is nothing else to do', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactorFor(t).watchDeferred(mine.fd, {
		ready() {
			log.push(`read ${readStream(mine.fd)}`);
		},
		fault: reason => t.fail(String(reason)),
	});
	say(theirs, 'abc');
	await settled();
	t.deepEqual(log, ['read 3']);
});

test('watchPatiently lets what else is to do go first, and waits for its end', async t => {
	const reactor = reactorFor(t);
	const [patient, patientEnd] = socketPair(t);
	const [other, otherEnd] = socketPair(t);
	const log: string[] = [];
	using _ = reactor.watchDeferred(patient.fd, {
		ready() {
			readStream(patient.fd);
			log.push('patient');
		},
		fault: reason => t.fail(String(reason)),
	});
	const watching = reactor.watchLevelTriggered(other.fd, {
		ready() {
			readStream(other.fd);
			log.push('other');
			reactor.queue(noted(log, 'task', () => reactor.queue(noted(log, 'last'))));
		},
		fault: reason => t.fail(String(reason)),
	});
	t.teardown(() => watching[Symbol.dispose]());
	say(patientEnd);
	say(otherEnd);
	for (let round = 0; round < 50 && log.length < 4; round++) {
		await settled();
	}

	t.deepEqual(log, ['other', 'task', 'last', 'patient']);
});

/* These two keep the loop from all others. */
test.serial('watchPatiently waits for a while while there is other work, and then no more', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const said = performance.now();
	const times: number[] = [];
	using _ = reactor.watchDeferred(mine.fd, {
		ready() {
			times.push(performance.now() - said);
		},
		fault: reason => t.fail(String(reason)),
	});
	/* Nobody reads: from then on it is told before each task. */
	const task = noted([], '', () => {
		for (const end = performance.now() + 1; performance.now() < end; );
		if (times.length < 10 && performance.now() - said < 5000) {
			reactor.queue(task);
		}
	});
	say(theirs);
	reactor.queue(task);
	while (times.length < 10 && performance.now() - said < 6000) {
		await settled();
	}

	t.true((times[0] ?? 0) >= 20, times.join(' '));
	/* The work ends after five seconds. */
	t.true((times[9] ?? Infinity) < 4000, times.join(' '));
});

test('watchPatiently is for one descriptor at a time', t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const first = reactor.watchDeferred(mine.fd, noting([]));
	t.throws(() => reactor.watchDeferred(theirs.fd, noting([])), {instanceOf: Panic});
	first[Symbol.dispose]();
	reactor.watchDeferred(theirs.fd, noting([]))[Symbol.dispose]();
});

test.serial('observe tells how long turns were', async t => {
	const reactor = reactorFor(t);
	let worked = 0;
	reactor.observe((started, ended) => {
		worked += ended - started;
	});
	reactor.queue(
		noted([], '', () => {
			for (const end = performance.now() + 20; performance.now() < end; );
		}),
	);
	await settled();
	t.true(worked >= 20);
	const before = worked;
	await settled();
	t.is(worked, before);
});

test('a watcher that is disposed hears no more', async t => {
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	const watching = reactorFor(t).watch(mine.fd, noting(log));
	await settled();
	watching[Symbol.dispose]();
	watching[Symbol.dispose]();
	say(theirs);
	await settled();
	t.deepEqual(log, ['w']);
});

test('a descriptor can be watched again after its watcher was disposed', async t => {
	const [mine, theirs] = socketPair(t);
	const reactor = reactorFor(t);
	const log: string[] = [];
	reactor.watch(mine.fd, noting(log, 'first '))[Symbol.dispose]();
	using _ = reactor.watch(mine.fd, noting(log, 'second '));
	say(theirs);
	await settled();
	t.deepEqual(log, ['second rw']);
});

test.serial('events of a closed descriptor do not reach the next owner of its number', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const [other, otherEnd] = socketPair(t);
	const number = mine.fd;
	const log: string[] = [];
	const watchings: Disposable[] = [];
	const reopened: Held[] = [];
	/* Whichever of the two is told first replaces the other one, whose event is in the same batch. */
	const replace = (name: string, victim: Held, at: number): Watcher => ({
		ready() {
			log.push(name);
			if (reopened.length > 0) {
				return;
			}

			const gone = victim.fd;
			watchings[at]?.[Symbol.dispose]();
			victim.close();
			const [fresh, peer] = socketPair(t);
			reopened.push(fresh, peer);
			const reused = [fresh, peer].find(({fd}) => fd === gone);
			t.truthy(reused, 'the kernel gives the lowest free number');
			if (reused !== undefined) {
				/* Level-triggered for input only: there is none, so it must hear nothing. */
				watchings.push(reactor.watchLevelTriggered(reused.fd, noting(log, 'stale ')));
			}
		},
		fault: reason => t.fail(String(reason)),
	});
	say(theirs);
	say(otherEnd);
	watchings.push(
		reactor.watchLevelTriggered(number, replace('mine', other, 1)),
		reactor.watchLevelTriggered(other.fd, replace('other', mine, 0)),
	);
	await settled();
	t.is(reopened.length, 2);
	t.deepEqual(
		log.filter(line => line.startsWith('stale')),
		[],
	);
	for (const watching of watchings) {
		watching[Symbol.dispose]();
	}
});

test.serial('disposing of an old watcher leaves the new owner of the number alone', async t => {
	const reactor = reactorFor(t);
	const [mine] = socketPair(t);
	const number = mine.fd;
	const old = reactor.watch(number, noting([]));
	/* The kernel forgets a closed descriptor by itself. */
	mine.close();
	const [fresh, peer] = socketPair(t);
	const [reused, end] = fresh.fd === number ? [fresh, peer] : [peer, fresh];
	t.is(reused.fd, number);
	const log: string[] = [];
	using _ = reactor.watchLevelTriggered(reused.fd, noting(log));
	old[Symbol.dispose]();
	say(end);
	await settled();
	t.true(log.length > 0);
	t.true(log.every(line => line === 'r'));
});

test('watch panics about a descriptor that cannot be watched, and forgets its watcher', async t => {
	const reactor = reactorFor(t);
	const file = openSync('/proc/self/status', 'r') as Fd;
	t.throws(() => reactor.watch(-1 as Fd, noting([])), {
		instanceOf: Panic,
		message: 'epoll_ctl: Bad file descriptor',
	});
	closeSync(file);
	const directory = openSync('/', 'r') as Fd;
	t.throws(() => reactor.watch(directory, noting([])), {
		instanceOf: Panic,
		message: 'epoll_ctl: Operation not permitted',
	});
	closeSync(directory);
});

test('a second watch of one descriptor panics, and the first goes on', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactor.watch(mine.fd, noting(log));
	t.throws(() => reactor.watch(mine.fd, noting([])), {instanceOf: Panic, message: 'epoll_ctl: File exists'});
	say(theirs);
	await settled();
	t.deepEqual(log, ['rw']);
});

test('what a watcher throws comes back to it and does not reach another', async t => {
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

	await settled();
	t.deepEqual(log.toSorted(), [
		'fault 0: trouble 0',
		'fault 2: trouble 2',
		'fault 4: trouble 4',
		'ready 1',
		'ready 3',
	]);
	const before = log.length;
	for (const [, theirs] of ends) {
		say(theirs);
	}

	await settled();
	t.is(log.length, before + 5);
});

function fail(): never {
	throw new Error('trouble');
}

test('what a task throws comes back to it and does not reach the next', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	reactor.queue(noted(log, 'one', fail));
	reactor.queue(noted(log, 'two'));
	reactor.soon(noted(log, 'three', fail));
	reactor.soon(noted(log, 'four'));
	await settled();
	t.deepEqual(log, ['three', 'three fault Error: trouble', 'four', 'one', 'one fault Error: trouble', 'two']);
});

test('queue serves tasks in order, each once', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	const names = Array.from({length: 3000}, (_, index) => `task ${index}`);
	for (const name of names) {
		reactor.queue(noted(log, name));
	}

	t.is(reactor.backlog, 3000);
	t.deepEqual(log, [], 'not from within the call');
	await served(reactor);
	t.deepEqual(log, names);
	t.is(reactor.backlog, 0);
});

test('a task that is queued again goes behind those that wait', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	let rounds = 0;
	const again: Task = noted(log, 'again', () => {
		if (++rounds < 3) {
			reactor.queue(again);
		}
	});
	reactor.queue(again);
	reactor.queue(noted(log, 'other'));
	await settled();
	t.deepEqual(log, ['again', 'other', 'again', 'again']);
});

test('queue lets flows take turns: one with thousands of tasks does not stop another', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	for (let count = 0; count < 2000; count++) {
		reactor.queue(
			noted([], 'storm', () => log.push('storm')),
			'storm',
		);
	}

	const honest: Task = noted(log, 'honest', () => {
		if (log.filter(name => name === 'honest').length < 3) {
			reactor.queue(honest, 'honest');
		}
	});
	reactor.queue(honest, 'honest');
	t.is(reactor.backlog, 2001);
	await served(reactor);
	t.deepEqual(log.slice(0, 6), ['storm', 'honest', 'storm', 'honest', 'storm', 'honest']);
	t.is(log.length, 2003);
});

test('queue serves tasks of no flow in the order in which they came, as if each had its own', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	for (const name of ['1', '2', '3']) {
		reactor.queue(noted(log, `storm ${name}`), 'storm');
		reactor.queue(noted(log, `own ${name}`));
	}

	await settled();
	t.deepEqual(log, ['storm 1', 'own 1', 'own 2', 'own 3', 'storm 2', 'storm 3']);
});

test('events are served between two that want to come back soon, when the first takes its time', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactor.watchLevelTriggered(mine.fd, {
		ready() {
			read(mine.fd, new Uint8Array(128), 128);
			log.push('data');
		},
		fault: reason => t.fail(String(reason)),
	});
	/* What takes less than a fraction of a millisecond does not wait for a look at the events. */
	reactor.soon(
		noted(log, 'busy 1', () => {
			say(theirs);
			for (const until = performance.now() + 2; performance.now() < until; );
		}),
	);
	reactor.soon(noted(log, 'busy 2'));
	await settled();
	t.deepEqual(log, ['busy 1', 'data', 'busy 2']);
});

test('events are served between two tasks: data before handshakes', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactor.watchLevelTriggered(mine.fd, {
		ready() {
			read(mine.fd, new Uint8Array(128), 128);
			log.push('data');
		},
		fault: reason => t.fail(String(reason)),
	});
	for (let index = 1; index <= 3; index++) {
		reactor.queue(noted(log, `handshake ${index}`, () => say(theirs)));
	}

	await settled();
	t.deepEqual(log, ['handshake 1', 'data', 'handshake 2', 'data', 'handshake 3', 'data']);
});

test('events that wait already are served before the first task', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactor.watch(mine.fd, noting(log));
	say(theirs);
	reactor.queue(noted(log, 'handshake'));
	await settled();
	t.deepEqual(log, ['rw', 'handshake']);
});

test('soon comes before the next task, and after the events at hand', async t => {
	const reactor = reactorFor(t);
	const [mine, theirs] = socketPair(t);
	const log: string[] = [];
	using _ = reactor.watchLevelTriggered(mine.fd, {
		ready() {
			read(mine.fd, new Uint8Array(128), 128);
			log.push('data');
			reactor.soon(noted(log, 'more data'));
		},
		fault: reason => t.fail(String(reason)),
	});
	reactor.queue(noted(log, 'handshake 1', () => say(theirs)));
	reactor.queue(noted(log, 'handshake 2'));
	await settled();
	t.deepEqual(log, ['handshake 1', 'data', 'more data', 'handshake 2']);
});

test('soon takes turns with tasks: a session that always has more does not stop handshakes', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	let rounds = 0;
	const greedy: Task = noted(log, 'more', () => {
		if (++rounds < 4) {
			reactor.soon(greedy);
		}
	});
	reactor.soon(greedy);
	reactor.queue(noted(log, 'handshake 1'));
	reactor.queue(noted(log, 'handshake 2'));
	await settled();
	t.deepEqual(log, ['more', 'handshake 1', 'more', 'handshake 2', 'more', 'more']);
});

test('timers get their turn while tasks are queued without end', async t => {
	const reactor = reactorFor(t);
	let rounds = 0;
	let stop = false;
	const endless: Task = noted([], '', () => {
		rounds++;
		const until = performance.now() + 1;
		while (performance.now() < until);
		if (!stop) {
			reactor.queue(endless);
		}
	});
	reactor.queue(endless);
	/* Without its turn the timer would never be heard, and the test would not end. */
	await delay(20);
	stop = true;
	t.true(rounds > 1);
});

test('timers get their turn while many want to come back soon, who have had theirs before the next task', async t => {
	const reactor = reactorFor(t);
	const log: string[] = [];
	const spinning = (name: string): Task =>
		noted(log, name, () => {
			for (const until = performance.now() + 1; performance.now() < until; );
		});
	for (let count = 0; count < 400; count++) {
		reactor.soon(spinning('soon'));
	}

	reactor.queue(noted(log, 'task'));
	await delay(20);
	t.true(log.length < 400, `${log.length} without a timer`);
	/* It waits for those who were there before it. */
	reactor.soon(noted(log, 'later'));
	for (let round = 0; round < 500 && log.length < 402; round++) {
		await settled();
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
