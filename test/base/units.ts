import test from 'ava';
import {type Milliseconds, type Seconds, toMilliseconds} from '../../src/base/units.ts';

const converts = test.macro({
	exec(t, seconds: number, milliseconds: number) {
		t.is(toMilliseconds(seconds as Seconds), milliseconds as Milliseconds);
	},
	title(_, seconds: number, milliseconds: number) {
		return `toMilliseconds converts ${seconds} to ${milliseconds}`;
	},
});

test(converts, 0, 0);
test(converts, 1, 1000);
test(converts, 300, 300_000);
/* The longest time of main.cf does not fit into 32 bits of milliseconds. */
test(converts, 2_147_483_647, 2_147_483_647_000);
