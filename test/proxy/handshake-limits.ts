import test, {type ExecutionContext} from 'ava';
import type {Deadline, DeadlineClock} from '../../src/event/deadline.ts';
import {HandshakeLimiter, type HandshakeLimits} from '../../src/proxy/handshake-limits.ts';
import {collectLog} from '../helpers/openssl.ts';

/* A clock of which the test says when a minute is over. */
class TestClock {
	readonly limits: number[] = [];
	#expired: () => void = () => undefined;

	deadline(expired: () => void): Deadline {
		this.#expired = expired;
		return {arm: (limit: number) => this.limits.push(limit)} as unknown as Deadline;
	}

	pass(): void {
		this.#expired();
	}
}

function concurrency(limits: Partial<HandshakeLimits>): {
	readonly counter: HandshakeLimiter;
	readonly clock: TestClock;
} {
	const clock = new TestClock();
	const counter = new HandshakeLimiter(
		{perClient: 0, total: 0, ...limits},
		clock as unknown as DeadlineClock,
	);
	return {counter, clock};
}

function admitted(
	t: ExecutionContext,
	counter: HandshakeLimiter,
	fairnessKey: string | undefined,
): Disposable {
	const handshake = counter.admit(fairnessKey, `[${fairnessKey}]:1`);
	if (handshake === undefined) {
		t.fail(`${fairnessKey} is refused`);
		throw new Error('refused');
	}

	return handshake;
}

test.serial('admit takes any number where there is no limit', t => {
	const log = collectLog();
	const {counter} = concurrency({});
	for (let count = 0; count < 10_000; count++) {
		admitted(t, counter, '192.0.2.1');
	}

	t.deepEqual(log, []);
});

test.serial('admit refuses a client beyond its limit, and no other', t => {
	const log = collectLog();
	const {counter} = concurrency({perClient: 2});
	admitted(t, counter, '192.0.2.1');
	admitted(t, counter, '192.0.2.1');
	t.is(counter.admit('192.0.2.1', '[192.0.2.1]:40001'), undefined);
	admitted(t, counter, '192.0.2.2');
	t.deepEqual(log, [
		'warning: TLS handshake concurrency limit exceeded: 3 from 192.0.2.1, refused [192.0.2.1]:40001',
	]);
});

test.serial('admit refuses everybody beyond the total limit', t => {
	const log = collectLog();
	const {counter} = concurrency({perClient: 2, total: 3});
	for (const fairnessKey of ['192.0.2.1', '192.0.2.2', '192.0.2.3']) {
		admitted(t, counter, fairnessKey);
	}

	t.is(counter.admit('192.0.2.4', '[192.0.2.4]:40001'), undefined);
	t.deepEqual(log, [
		'warning: TLS handshake concurrency limit exceeded: 4 in progress, refused [192.0.2.4]:40001',
	]);
});

test.serial('admit takes a client again when one of its handshakes has ended, once for each', t => {
	collectLog();
	const {counter} = concurrency({perClient: 2, total: 2});
	const first = admitted(t, counter, '192.0.2.1');
	admitted(t, counter, '192.0.2.1');
	first[Symbol.dispose]();
	first[Symbol.dispose]();
	admitted(t, counter, '192.0.2.1');
	t.is(counter.admit('192.0.2.1', ''), undefined);
	t.is(counter.admit('192.0.2.2', ''), undefined);
});

test.serial('a refusal counts nowhere', t => {
	collectLog();
	const {counter} = concurrency({perClient: 1, total: 2});
	const one = admitted(t, counter, '192.0.2.1');
	for (let count = 0; count < 5; count++) {
		t.is(counter.admit('192.0.2.1', ''), undefined);
	}

	admitted(t, counter, '192.0.2.2');
	one[Symbol.dispose]();
	admitted(t, counter, '192.0.2.1');
});

test.serial('admit takes what is of no flow, and does not count it', t => {
	const log = collectLog();
	const {counter} = concurrency({perClient: 1, total: 1});
	for (let count = 0; count < 10; count++) {
		admitted(t, counter, undefined)[Symbol.dispose]();
		admitted(t, counter, undefined);
	}

	admitted(t, counter, '192.0.2.1');
	t.deepEqual(log, []);
});

test.serial('the log hears of the first refusal, and once in a minute of how many more there were', t => {
	const log = collectLog();
	const {counter, clock} = concurrency({perClient: 1});
	admitted(t, counter, '192.0.2.1');
	const refuse = (): void => {
		t.is(counter.admit('192.0.2.1', '[192.0.2.1]:1'), undefined);
	};
	const first = 'warning: TLS handshake concurrency limit exceeded: 2 from 192.0.2.1, refused [192.0.2.1]:1';
	for (let count = 0; count < 1000; count++) {
		refuse();
	}

	t.deepEqual(log, [first]);
	clock.pass();
	const more = 'warning: TLS handshake concurrency limit exceeded: 999 more refused in the last minute';
	t.deepEqual(log, [first, more]);
	refuse();
	refuse();
	t.is(log.length, 2);
	clock.pass();
	t.is(log[2], more.replace('999', '2'));
	/* A minute without: the next is the first again. */
	clock.pass();
	t.is(log.length, 3);
	refuse();
	t.deepEqual(log.slice(3), [first]);
	t.deepEqual(clock.limits, [60_000, 60_000, 60_000, 60_000]);
});
