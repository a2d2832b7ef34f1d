/* Dumps are compared with stock's, line by line, without their octets: the octets are here. */
import test from 'ava';
import {dumpLines} from '../../src/tls/protocol-trace.ts';

const dumps = test.macro<[bytes: Uint8Array, ...lines: readonly string[]]>({
	exec(t, bytes, ...lines) {
		t.deepEqual(dumpLines(bytes), lines);
	},
	title(condition = '') {
		return `dumpLines ${condition}`;
	},
});

/* As stock 3.7 has written them. */
test(
	'has sixteen octets a line, with a bar in the middle',
	dumps,
	Buffer.from('160301020001000001fc0303ac822819ae', 'hex'),
	'0000 16 03 01 02 00 01 00 00|01 fc 03 03 ac 82 28 19  ........ ......(.',
	'0010 ae                                               .',
);
test(
	'shows text',
	dumps,
	Buffer.from('EHLO mx.example'),
	'0000 45 48 4c 4f 20 6d 78 2e|65 78 61 6d 70 6c 65     EHLO mx. example',
);
test(
	'leaves out blanks at the end',
	dumps,
	Buffer.from('16030300720020', 'hex'),
	'0000 16 03 03 00 72                                   ....r',
	'0005 - <SPACES/NULLS>',
);
test('has nothing but blanks to leave out', dumps, Buffer.alloc(300), '0000 - <SPACES/NULLS>');
test('of nothing is nothing', dumps, Buffer.alloc(0));
