/* That it bites is in test/daemon. */
import test from 'ava';
import fc from 'fast-check';
import {watchdogStep} from '../../src/master/watchdog.ts';
import type {Milliseconds, Seconds} from '../../src/units.ts';

test('watchdogStep is a third of the limit, in whole seconds', t => {
	t.is(watchdogStep(10 as Seconds), 3000 as Milliseconds);
	t.is(watchdogStep(11 as Seconds), 3000 as Milliseconds);
	t.is(watchdogStep(12 as Seconds), 4000 as Milliseconds);
});

test('watchdogStep leaves room for two signs of life, whatever the limit', t => {
	fc.assert(
		fc.property(fc.integer({min: 10, max: 2_000_000}), limit => {
			const step = watchdogStep(limit as Seconds);
			t.true(step > 0 && 3 * step <= limit * 1000);
		}),
	);
});
