import test, {type ExecutionContext} from 'ava';
import type {Deadline, DeadlineClock} from '../../src/event/deadline.ts';
import {HandshakeLimiter, type HandshakeLimits} from '../../src/proxy/handshake-limits.ts';
import {collectLog} from '../helpers/openssl.ts';

/* A clock that the test controls. */
class TestClock {
	readonly limits: number[] = [];
	#expired: () => void = () => undefined;

	deadline(expired: () => void): Deadline {
		this.#expired = expired;
		return {arm: (limit: number) => this.limits.push(limit)} as unknown as Deadline;
	}

	expire(): void {
		this.#expired();
	}
}

function limiterFor(limits: Partial<HandshakeLimits>): {
	readonly limiter: HandshakeLimiter;
	readonly clock: TestClock;
} {
	const clock = new TestClock();
	const limiter = new HandshakeLimiter(
		{perClient: 0, total: 0, ...limits},
		clock as unknown as DeadlineClock,
	);
	return {limiter, clock};
}

function admitted(
	t: ExecutionContext,
	limiter: HandshakeLimiter,
	fairnessKey: string | undefined,
): Disposable {
	const handshake = limiter.admit(fairnessKey, `[${fairnessKey}]:1`);
	if (handshake === undefined) {
		t.fail(`${fairnessKey} is refused`);
		throw new Error('refused');
	}

	return handshake;
}

test.serial('admit accepts any number of handshakes without limits', t => {
	const log = collectLog();
	const {limiter} = limiterFor({});
	for (let count = 0; count < 10_000; count++) {
		admitted(t, limiter, '192.0.2.1');
	}

	t.deepEqual(log, []);
});

test.serial('admit refuses a client beyond its limit, and no other client', t => {
	const log = collectLog();
	const {limiter} = limiterFor({perClient: 2});
	admitted(t, limiter, '192.0.2.1');
	admitted(t, limiter, '192.0.2.1');
	t.is(limiter.admit('192.0.2.1', '[192.0.2.1]:40001'), undefined);
	admitted(t, limiter, '192.0.2.2');
	t.deepEqual(log, [
		'warning: TLS handshake concurrency limit exceeded: 3 from 192.0.2.1, refused [192.0.2.1]:40001',
	]);
});

test.serial('admit refuses all clients beyond the total limit', t => {
	const log = collectLog();
	const {limiter} = limiterFor({perClient: 2, total: 3});
	for (const fairnessKey of ['192.0.2.1', '192.0.2.2', '192.0.2.3']) {
		admitted(t, limiter, fairnessKey);
	}

	t.is(limiter.admit('192.0.2.4', '[192.0.2.4]:40001'), undefined);
	t.deepEqual(log, [
		'warning: TLS handshake concurrency limit exceeded: 4 in progress, refused [192.0.2.4]:40001',
	]);
});

test.serial('admit accepts one more handshake for each that has ended', t => {
	collectLog();
	const {limiter} = limiterFor({perClient: 2, total: 2});
	const first = admitted(t, limiter, '192.0.2.1');
	admitted(t, limiter, '192.0.2.1');
	first[Symbol.dispose]();
	first[Symbol.dispose]();
	admitted(t, limiter, '192.0.2.1');
	t.is(limiter.admit('192.0.2.1', ''), undefined);
	t.is(limiter.admit('192.0.2.2', ''), undefined);
});

test.serial('a refused handshake is not counted', t => {
	collectLog();
	const {limiter} = limiterFor({perClient: 1, total: 2});
	const one = admitted(t, limiter, '192.0.2.1');
	for (let count = 0; count < 5; count++) {
		t.is(limiter.admit('192.0.2.1', ''), undefined);
	}

	admitted(t, limiter, '192.0.2.2');
	one[Symbol.dispose]();
	admitted(t, limiter, '192.0.2.1');
});

test.serial('admit accepts a handshake without a key, and does not count it', t => {
	const log = collectLog();
	const {limiter} = limiterFor({perClient: 1, total: 1});
	for (let count = 0; count < 10; count++) {
		admitted(t, limiter, undefined)[Symbol.dispose]();
		admitted(t, limiter, undefined);
	}

	admitted(t, limiter, '192.0.2.1');
	t.deepEqual(log, []);
});

test.serial('the first refusal is logged at once, and the number of further ones once per minute', t => {
	const log = collectLog();
	const {limiter, clock} = limiterFor({perClient: 1});
	admitted(t, limiter, '192.0.2.1');
	const refuse = (): void => {
		t.is(limiter.admit('192.0.2.1', '[192.0.2.1]:1'), undefined);
	};
	const first = 'warning: TLS handshake concurrency limit exceeded: 2 from 192.0.2.1, refused [192.0.2.1]:1';
	for (let count = 0; count < 1000; count++) {
		refuse();
	}

	t.deepEqual(log, [first]);
	clock.expire();
	const more = 'warning: TLS handshake concurrency limit exceeded: 999 more refused in the last minute';
	t.deepEqual(log, [first, more]);
	refuse();
	refuse();
	t.is(log.length, 2);
	clock.expire();
	t.is(log[2], more.replace('999', '2'));
	/* After a minute without refusals the next one is logged at once. */
	clock.expire();
	t.is(log.length, 3);
	refuse();
	t.deepEqual(log.slice(3), [first]);
	t.deepEqual(clock.limits, [60_000, 60_000, 60_000, 60_000]);
});
