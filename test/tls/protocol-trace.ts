/* Daemon tests compare dumps with those of stock, except for the bytes, which differ. These tests check the bytes. */
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

/* Recorded from stock 3.7. */
test(
	'prints 16 bytes per line, with a bar in the middle',
	dumps,
	Buffer.from('160301020001000001fc0303ac822819ae', 'hex'),
	'0000 16 03 01 02 00 01 00 00|01 fc 03 03 ac 82 28 19  ........ ......(.',
	'0010 ae                                               .',
);
test(
	'prints text',
	dumps,
	Buffer.from('EHLO mx.example'),
	'0000 45 48 4c 4f 20 6d 78 2e|65 78 61 6d 70 6c 65     EHLO mx. example',
);
test(
	'omits trailing spaces and NULs',
	dumps,
	Buffer.from('16030300720020', 'hex'),
	'0000 16 03 03 00 72                                   ....r',
	'0005 - <SPACES/NULLS>',
);
test('of NULs only has one line', dumps, Buffer.alloc(300), '0000 - <SPACES/NULLS>');
test('of no bytes has no lines', dumps, Buffer.alloc(0));
