import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import type {Milliseconds} from '../../src/base/units.ts';
import {DeadlineClock, now} from '../../src/event/deadline.ts';

/** How late a limit may be noticed: a tick of the clock, and what a busy machine adds. */
const LATE = 250 + 5000;

const ms = (value: number): Milliseconds => value as Milliseconds;

/** Waits for something that is about to happen, for ten seconds at most. */
async function eventually(condition: () => boolean): Promise<void> {
	for (const end = now() + 10_000; !condition() && now() < end; ) {
		await delay(20);
	}
}

/** Whether the process has a timer that would keep it alive. */
const timers = (): number => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length;

test('now never goes back', t => {
	let last = now();
	for (let count = 0; count < 1000; count++) {
		const time = now();
		t.true(time >= last);
		last = time;
	}
});

const passes = test.macro({
	async exec(t, limit: number) {
		const clock = new DeadlineClock();
		const started = now();
		const elapsed = await new Promise<number>(resolve => {
			clock.deadline(() => resolve(now() - started)).arm(ms(limit));
		});
		t.true(elapsed >= limit, `${elapsed} ms is early`);
		t.true(elapsed < limit + LATE, `${elapsed} ms is late`);
	},
	title(_, limit: number) {
		return `Deadline passes after ${limit} ms, never early, a little late`;
	},
});

test(passes, 0);
test(passes, 1);
test(passes, 249);
test(passes, 251);
test(passes, 600);

test('Deadline that was never armed does not pass', async t => {
	let count = 0;
	const clock = new DeadlineClock();
	clock.deadline(() => count++);
	clock.deadline(() => undefined).arm(ms(1));
	await delay(600);
	t.is(count, 0);
});

test('Deadline passes once', async t => {
	let count = 0;
	new DeadlineClock().deadline(() => count++).arm(ms(1));
	await delay(900);
	t.is(count, 1);
});

test('arm starts over, with a longer limit and with a shorter one', async t => {
	const clock = new DeadlineClock();
	const log: string[] = [];
	const started = now();
	const extended = clock.deadline(() => log.push('extended'));
	const shortened = clock.deadline(() => log.push(`shortened ${now() - started < 60_000}`));
	extended.arm(ms(10));
	extended.arm(ms(2000));
	shortened.arm(ms(60_000));
	for (let count = 0; count < 6; count++) {
		await delay(500);
		extended.arm(ms(2000));
	}

	t.deepEqual(log, []);
	shortened.arm(ms(1));
	await eventually(() => log.length === 2);
	t.deepEqual(log, ['shortened true', 'extended']);
});

test('Deadline can be armed again when it has passed', async t => {
	const clock = new DeadlineClock();
	let count = 0;
	const deadline = clock.deadline(() => {
		if (++count < 3) {
			deadline.arm(ms(1));
		}
	});
	deadline.arm(ms(1));
	await eventually(() => count === 3);
	await delay(600);
	t.is(count, 3);
});

test('Deadline is off when it is disposed, and can be armed again', async t => {
	const clock = new DeadlineClock();
	let count = 0;
	const deadline = clock.deadline(() => count++);
	deadline.arm(ms(1));
	deadline[Symbol.dispose]();
	deadline[Symbol.dispose]();
	await delay(600);
	t.is(count, 0);
	deadline.arm(ms(1));
	await delay(600);
	t.is(count, 1);
});

test('Deadline that passes may dispose of others that have passed as well', async t => {
	const clock = new DeadlineClock();
	const log: string[] = [];
	const first = clock.deadline(() => {
		log.push('first');
		second[Symbol.dispose]();
	});
	const second = clock.deadline(() => {
		log.push('second');
		first[Symbol.dispose]();
	});
	first.arm(ms(1));
	second.arm(ms(1));
	await delay(600);
	t.deepEqual(log, ['first']);
});

test('Deadlines that pass at once leave time to others between them', async t => {
	const clock = new DeadlineClock();
	const log: string[] = [];
	const last = new Promise<void>(resolve => {
		for (let count = 1; count <= 40; count++) {
			clock
				.deadline(() => {
					const until = now() + 5;
					while (now() < until);
					log.push('passed');
					if (count === 40) {
						resolve();
					}
				})
				.arm(ms(1));
		}
	});
	const other = setInterval(() => log.push('other'), 1);
	await last;
	clearInterval(other);
	t.is(log.filter(name => name === 'passed').length, 40);
	const between = log.slice(log.indexOf('passed'), log.lastIndexOf('passed'));
	t.true(between.filter(name => name === 'other').length >= 5, log.join(' '));
});

test.serial('DeadlineClock keeps a timer only while limits run', t => {
	const clock = new DeadlineClock();
	const before = timers();
	const [one, other] = [clock.deadline(() => undefined), clock.deadline(() => undefined)];
	t.is(timers(), before);
	one.arm(ms(60_000));
	one.arm(ms(70_000));
	other.arm(ms(60_000));
	t.is(timers(), before + 1);
	one[Symbol.dispose]();
	t.is(timers(), before + 1);
	other[Symbol.dispose]();
	t.is(timers(), before);
});
