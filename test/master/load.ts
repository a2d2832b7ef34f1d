import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import type {Milliseconds} from '../../src/base/units.ts';
import {Load} from '../../src/master/load.ts';

/** A load with a clock that the test controls. */
function loadFor(t: ExecutionContext) {
	const log: boolean[] = [];
	let time = 0;
	const load = new Load(
		() => time as Milliseconds,
		busy => log.push(busy),
	);
	t.teardown(() => load[Symbol.dispose]());
	return {
		load,
		log,
		work: (milliseconds: number): void => {
			load.worked(time as Milliseconds, (time + milliseconds) as Milliseconds);
			time += milliseconds;
		},
		rest: (milliseconds: number): void => {
			time += milliseconds;
		},
	};
}

test('Load is not busy before the end of a window', t => {
	const {load, log, work} = loadFor(t);
	work(49);
	t.false(load.busy);
	t.deepEqual(log, []);
});

test('Load becomes busy after a window full of work, and reports that once', t => {
	const {load, log, work} = loadFor(t);
	for (let turn = 0; turn < 30; turn++) {
		work(10);
	}

	t.true(load.busy);
	t.deepEqual(log, [true]);
});

test('Load does not count time before the window', t => {
	const {load, log, work, rest} = loadFor(t);
	rest(10_000);
	work(1);
	t.false(load.busy);
	work(50);
	t.deepEqual(log, [true]);
});

test('Load does not change between 40 and 70 per cent', t => {
	const {log, work, rest} = loadFor(t);
	const window = (share: number): void => {
		rest(50 * (1 - share));
		work(50 * share);
	};
	for (const share of [0.6, 0.5, 0.69]) {
		window(share);
	}

	t.deepEqual(log, []);
	window(0.71);
	t.deepEqual(log, [true]);
	for (const share of [0.69, 0.5, 0.41]) {
		window(share);
	}

	t.deepEqual(log, [true]);
	window(0.39);
	t.deepEqual(log, [true, false]);
});

test('Load changes at most once per window', t => {
	const {log, work, rest} = loadFor(t);
	for (let round = 0; round < 10; round++) {
		work(50);
		rest(45);
		work(5);
	}

	/* One second. */
	t.is(log.length, 20);
});

test('Load becomes idle without an iteration of the event loop', async t => {
	const {load, log, work, rest} = loadFor(t);
	work(60);
	t.deepEqual(log, [true]);
	rest(60);
	await delay(150);
	t.deepEqual(log, [true, false]);
	t.false(load.busy);
});
