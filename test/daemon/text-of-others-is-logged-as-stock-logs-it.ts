/*
 * What others send must not look like something else in the log: a line of its own, or
 * what a terminal obeys. Both programs get the same text; the log has to be the same.
 */
import test, {type ExecutionContext} from 'ava';
import {Daemon, type Which} from '../helpers/daemon.ts';

/** The lines that a request for a peer of that name leaves. */
async function linesFor(t: ExecutionContext, which: Which, utf8: string, names: readonly string[]) {
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
	test(`with smtputf8_enable=${utf8} names of all bytes, and long ones, look as in the log of stock`, async t => {
		const stock = await linesFor(t, 'stock', utf8, names);
		t.is(stock.length, 2 * names.length);
		t.deepEqual(await linesFor(t, 'ours', utf8, names), stock);
	});
}

/* Stock leaves the controls beyond ASCII alone when they come as UTF-8. Terminals obey some of them. */
test('a control of eight bits that comes as UTF-8 is replaced, and nothing that is broken is kept', async t => {
	const broken = [
		['<\u00C2\u009B31m>', '<?31m>'],
		['<\u00E6\u009D>', '<?>'],
		['<\u00C3>', '<?>'],
	] as const;
	const lines = await linesFor(
		t,
		'ours',
		'yes',
		broken.map(([name]) => name),
	);
	t.deepEqual(
		lines.filter(line => line.startsWith('CONNECT')),
		broken.map(([, shown]) => `CONNECT to ${shown}`),
	);
});
