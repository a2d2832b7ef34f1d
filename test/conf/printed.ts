import test from 'ava';
import {parsePrinted} from '../../src/conf/printed.ts';

test('parsePrinted gives the lines of three commands', t => {
	t.deepEqual(parsePrinted('myhostname = a.example\nmax_idle = 1s\n\0smtp unix\nlmtp unix\n\0\0'), {
		parameters: ['myhostname = a.example', 'max_idle = 1s'],
		master: {services: ['smtp unix', 'lmtp unix'], settings: []},
	});
});

for (const [what, text] of [
	['nothing', ''],
	['the output of a command that has failed', 'myhostname = a.example\n'],
	['the output of two commands', 'myhostname = a.example\n\0smtp unix\n\0'],
	['a third that has failed in the middle', 'myhostname = a.example\n\0smtp unix\n\0smtp/unix/'],
	['something behind the third', 'myhostname = a.example\n\0smtp unix\n\0\0x'],
	['four commands', 'a = b\n\0\0\0\0'],
] as const) {
	test(`parsePrinted makes nothing of ${what}`, t => {
		t.is(parsePrinted(text), undefined);
	});
}
