/*
 * Text from clients must not forge log lines or control a terminal. Both programs get the
 * same text, and must log it alike.
 */
import test, {type ExecutionContext} from 'ava';
import {Daemon, type Program} from '../helpers/daemon.ts';

/** The log lines of requests for peers with these names. */
async function linesFor(t: ExecutionContext, which: Program, utf8: string, names: readonly string[]) {
	await using daemon = await Daemon.start(which, {main: {smtputf8_enable: utf8}});
	for (const name of names) {
		const client = await daemon.greeted(t);
		for (const message of daemon.messages(name, {request: {probeOnly: true}})) {
			await client.send(message);
		}

		await client.list();
		client.socket.end();
		await client.rest();
	}

	const lines = async (): Promise<readonly string[]> =>
		(await daemon.lines()).filter(line => /^(DIS)?CONNECT/.test(line));
	await daemon.sandbox.waitFor(async () => (await lines()).length >= 2 * names.length);
	return await lines();
}

/** One byte per character, as on the wire. */
const bytes = (text: string): string => Buffer.from(text).toString('latin1');
const each = (from: number, to: number): readonly string[] =>
	Array.from({length: to - from}, (_, index) => `<${String.fromCharCode(from + index)}>`);

const names = [
	...each(1, 0x20),
	...each(0x7f, 0x100),
	'two\nlines\r\nand a\ttab',
	'\u001B[2J\u001B]0;title\u0007',
	'\u001E100% %s %n',
	bytes('Müller, 東京, 🔒'),
	'x'.repeat(1990),
	'x'.repeat(1991),
	'x'.repeat(2500),
	'\u0001'.repeat(2500),
];

for (const utf8 of ['yes', 'no']) {
	test(`with smtputf8_enable=${utf8} names with all bytes, and long names, are logged as by stock`, async t => {
		const stock = await linesFor(t, 'stock', utf8, names);
		t.is(stock.length, 2 * names.length);
		t.deepEqual(await linesFor(t, 'ours', utf8, names), stock);
	});
}

/* Stock logs C1 control characters in UTF-8 unchanged. Some terminals interpret them. */
test('C1 control characters in UTF-8, and malformed UTF-8, are replaced', async t => {
	const unsafe = [
		['<\u00C2\u009B31m>', '<?31m>'],
		['<\u00E6\u009D>', '<?>'],
		['<\u00C3>', '<?>'],
	] as const;
	const lines = await linesFor(
		t,
		'ours',
		'yes',
		unsafe.map(([name]) => name),
	);
	t.deepEqual(
		lines.filter(line => line.startsWith('CONNECT')),
		unsafe.map(([, shown]) => `CONNECT to ${shown}`),
	);
});
