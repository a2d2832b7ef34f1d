/* Time limits of a process that was stopped, or whose event loop was busy. */
import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import type {Milliseconds} from '../../src/base/units.ts';
import {DeadlineClock} from '../../src/event/deadline.ts';

const ms = (value: number): Milliseconds => value as Milliseconds;

function standStill(milliseconds: number): void {
	Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

test.serial('After a pause events are served before limits pass', async t => {
	const clock = new DeadlineClock();
	const log: string[] = [];
	const extended = clock.deadline(() => log.push('extended'));
	const others = clock.deadline(() => log.push('others'));
	extended.arm(ms(1000));
	others.arm(ms(1000));
	await delay(300);
	/* Represents an event that has arrived meanwhile: immediates run after timers, as events of descriptors do. */
	setImmediate(() => extended.arm(ms(60_000)));
	standStill(3000);
	await delay(1000);
	t.deepEqual(log, ['others']);
	extended[Symbol.dispose]();
});

test.serial('Deadline passes although the event loop is always late', async t => {
	const clock = new DeadlineClock();
	const log: string[] = [];
	clock.deadline(() => log.push('passed')).arm(ms(1));
	for (let count = 0; count < 4; count++) {
		standStill(1500);
		await delay(0);
	}

	t.deepEqual(log, ['passed']);
});
