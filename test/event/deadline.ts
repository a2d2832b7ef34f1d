import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import type {Milliseconds} from '../../src/base/units.ts';
import {DeadlineClock, now} from '../../src/event/deadline.ts';
import {collectLog} from '../helpers/openssl.ts';

const ms = (value: number): Milliseconds => value as Milliseconds;

/** Waits for a condition, for a minute at most. */
async function eventually(condition: () => boolean): Promise<void> {
	for (const end = now() + 60_000; !condition() && now() < end; ) {
		await delay(20);
	}
}

/** Number of timers that keep the process alive. */
const timers = (): number => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length;

test('now never decreases', t => {
	let last = now();
	for (let count = 0; count < 1000; count++) {
		const time = now();
		t.true(time >= last);
		last = time;
	}
});

const expires = test.macro({
	async exec(t, limit: number) {
		const clock = new DeadlineClock();
		const started = now();
		const elapsed = await new Promise<number>(resolve => {
			clock.deadline(() => resolve(now() - started)).arm(ms(limit));
		});
		t.true(elapsed >= limit, `${elapsed} ms is early`);
	},
	title(_, limit: number) {
		return `a deadline of ${limit} ms expires, and not early`;
	},
});

test(expires, 0);
test(expires, 1);
test(expires, 249);
test(expires, 251);
test(expires, 600);

test('a deadline that was never armed does not expire', async t => {
	let count = 0;
	const clock = new DeadlineClock();
	clock.deadline(() => count++);
	clock.deadline(() => undefined).arm(ms(1));
	await delay(600);
	t.is(count, 0);
});

test('a deadline expires once', async t => {
	let count = 0;
	new DeadlineClock().deadline(() => count++).arm(ms(1));
	await delay(900);
	t.is(count, 1);
});

test('arm restarts the deadline, with a longer or a shorter limit', async t => {
	const clock = new DeadlineClock();
	const log: string[] = [];
	const started = now();
	const extended = clock.deadline(() => log.push('extended'));
	const shortened = clock.deadline(() => log.push(`shortened ${now() - started < 600_000}`));
	extended.arm(ms(10));
	extended.arm(ms(600_000));
	shortened.arm(ms(600_000));
	await delay(600);
	t.deepEqual(log, []);
	shortened.arm(ms(1));
	await eventually(() => log.length > 0);
	t.deepEqual(log, ['shortened true']);
	extended.arm(ms(1));
	await eventually(() => log.length > 1);
	t.deepEqual(log, ['shortened true', 'extended']);
});

test('a deadline can be armed again when it has expired', async t => {
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

test('a disposed deadline does not expire, and can be armed again', async t => {
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

test('expired() may dispose of another deadline that is due', async t => {
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

test.serial('an exception in expired() is logged, and other deadlines expire as usual', async t => {
	const log = collectLog();
	const clock = new DeadlineClock();
	let expiries = 0;
	for (let count = 1; count <= 5; count++) {
		clock
			.deadline(() => {
				expiries++;
				if (count % 2 === 1) {
					throw new Error(`trouble ${count}`);
				}
			})
			.arm(ms(1));
	}

	await eventually(() => expiries === 5);
	t.is(expiries, 5);
	t.deepEqual(
		log.map(line => line.replace(/\?.*/s, '')),
		[1, 3, 5].map(count => `error: unexpected exception: Error: trouble ${count}`),
	);
});

test('the event loop runs between many deadlines that expire together', async t => {
	const clock = new DeadlineClock();
	const log: string[] = [];
	const last = new Promise<void>(resolve => {
		for (let count = 1; count <= 40; count++) {
			clock
				.deadline(() => {
					const until = now() + 5;
					while (now() < until);
					log.push('expired');
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
	t.is(log.filter(name => name === 'expired').length, 40);
	const between = log.slice(log.indexOf('expired'), log.lastIndexOf('expired'));
	t.true(between.filter(name => name === 'other').length >= 5, log.join(' '));
});

test.serial('DeadlineClock has a timer only while a deadline is running', t => {
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
