import test from 'ava';
import {execa} from 'execa';
import fc from 'fast-check';
import {PIPE_BUF} from '../../src/log/json-file.ts';
import {jsonRecords} from '../../src/log/json-record.ts';
import {
	addRecordListener,
	allowUtf8,
	cleanText,
	info,
	type LogTransport,
	openLog,
	setVerbosity,
	verbose,
	warning,
} from '../../src/log/log.ts';

type Sent = readonly [severity: number, label: string, text: string];

/** Collects all further records. */
function collect(): Sent[] {
	const sent: Sent[] = [];
	const transport: LogTransport = {
		send(...record) {
			sent.push(record);
		},
	};
	openLog(transport);
	return sent;
}

/** Runs a program in a process: its records, its status and its run time. */
async function run(program: string) {
	const started = performance.now();
	const result = await execa({
		reject: false,
	})`${process.execPath} --input-type=module --eval ${`
		import * as log from ${JSON.stringify(new URL('../../src/log/log.ts', import.meta.url).href)};
		log.openLog({send(...record) { console.log(JSON.stringify(record)); }});
		${program}
		console.log('still here');
	`}`;
	return {
		lines: result.stdout.split('\n').filter(line => line !== ''),
		status: result.exitCode,
		stderr: result.stderr,
		milliseconds: performance.now() - started,
	};
}

test.serial('info and warning carry the severity and the label of their level', t => {
	const sent = collect();
	info('CONNECT to [127.0.0.1]:25');
	warning('TLS library problem');
	t.deepEqual(sent, [
		[6, '', 'CONNECT to [127.0.0.1]:25'],
		[4, 'warning: ', 'TLS library problem'],
	]);
});

test.serial('info does not interpret its text', t => {
	const sent = collect();
	info('100 %s %d {} "quoted" \\backslash');
	info('');
	t.deepEqual(sent, [
		[6, '', '100 %s %d {} "quoted" \\backslash'],
		[6, '', ''],
	]);
});

test.serial('info replaces control characters', t => {
	const sent = collect();
	info('one\ntwo\r\0three');
	t.deepEqual(sent, [[6, '', 'one?two??three']]);
});

test.serial('openLog sends records to the last transport only', t => {
	const first = collect();
	const second = collect();
	info('after');
	t.deepEqual(first, []);
	t.is(second.length, 1);
});

test.serial('verbose does not call its function without -v', t => {
	const sent = collect();
	verbose(() => {
		throw new Error('a text');
	});
	setVerbosity(1);
	t.teardown(() => setVerbosity(0));
	verbose(() => 'now');
	t.deepEqual(sent, [[6, '', 'now']]);
});

test.serial('allowUtf8 decides whether non-ASCII bytes are replaced', t => {
	allowUtf8(false);
	t.teardown(() => allowUtf8(true));
	t.is(cleanText('M\u00C3\u00BCller\t'), 'M??ller?');
	t.is(cleanText('M\u00FCller'), 'M?ller');
	t.is(cleanText('東'), '???');
	allowUtf8(true);
	t.is(cleanText('M\u00C3\u00BCller\t'), 'Müller?');
});

/* The last serial tests: a listener cannot be removed. */
test.serial(
	'jsonRecords formats each record as JSON with the printable text, in addition to the Postfix log',
	t => {
		const sent = collect();
		const records: string[] = [];
		const before = Date.now();
		addRecordListener(jsonRecords('postfix/tlsproxy', record => records.push(record)));
		warning('a "text" with\na line end and M\u00C3\u00BCll');
		info('another');
		t.deepEqual(sent, [
			[4, 'warning: ', 'a "text" with?a line end and Müll'],
			[6, '', 'another'],
		]);
		t.true(records.every(record => record.endsWith('}\n')));
		const [first, second] = records.map(record => JSON.parse(record) as Record<string, unknown>);
		t.like(first, {
			level: 'warning',
			pid: process.pid,
			name: 'postfix/tlsproxy',
			msg: 'a "text" with?a line end and Müll',
		});
		t.like(second, {level: 'info', msg: 'another'});
		const time = Date.parse(String(first?.['time']));
		t.true(time >= before && time <= Date.now());
	},
);

test.serial('jsonRecords shortens a text whose record would not fit into a pipe', t => {
	collect();
	const records: string[] = [];
	addRecordListener(jsonRecords('postfix/tlsproxy', record => records.push(record)));
	const texts = [
		'"'.repeat(2000),
		'\\'.repeat(2000),
		`${'"\\'.repeat(700)}${'🔒'.repeat(150)}`,
		'x'.repeat(2000),
	];
	for (const text of texts) {
		info(text);
	}

	t.is(records.length, texts.length);
	for (const [index, record] of records.entries()) {
		t.true(Buffer.byteLength(record) <= PIPE_BUF, `${Buffer.byteLength(record)}`);
		const {msg} = JSON.parse(record) as {readonly msg: string};
		t.true(msg.length > 1500 && texts[index]?.startsWith(msg), msg);
		t.true(msg.isWellFormed());
	}
});

const ends = test.macro({
	async exec(t, program: string, expected: readonly Sent[]) {
		const {lines, status, stderr, milliseconds} = await run(
			`log.onExit(status => console.log(JSON.stringify([status]))); ${program}`,
		);
		t.deepEqual(
			lines.map(line => JSON.parse(line) as unknown),
			[...expected, [1]],
		);
		t.is(status, 1, stderr);
		t.true(milliseconds >= 1000);
	},
	title(_, program: string) {
		return `${program} ends the process with status 1, after one second and after the function of onExit`;
	},
});

test(ends, "log.fatal('no configuration');", [[2, 'fatal: ', 'no configuration']]);
test(ends, "log.panic('impossible');", [[2, 'panic: ', 'impossible']]);

test('records before openLog are lost', async t => {
	const {stdout} = await execa`${process.execPath} --input-type=module --eval ${`
		import * as log from ${JSON.stringify(new URL('../../src/log/log.ts', import.meta.url).href)};
		log.info('lost');
		console.log('alive');
	`}`;
	t.is(stdout, 'alive');
});

const cleans = test.macro({
	exec(t, text: string, expected: string) {
		t.is(cleanText(text), expected);
	},
	title(condition = '') {
		return `cleanText ${condition}`;
	},
});

test('does not change printable ASCII', cleans, 'CONNECT to [127.0.0.1]:25 ~', 'CONNECT to [127.0.0.1]:25 ~');
test('replaces every control character of ASCII', cleans, '\0\u0007\t\n\r\u001B\u001F\u007F', '????????');
test('decodes UTF-8 with one byte per character', cleans, 'M\u00C3\u00BCller', 'Müller');
test('does not change decoded text', cleans, 'Müller → 東京', 'Müller → 東京');
test('replaces bytes that are not UTF-8', cleans, 'M\u00FCller', 'M?ller');
test('replaces C1 controls that are bytes', cleans, 'a\u0085b', 'a?b');
test('replaces C1 controls that are UTF-8', cleans, 'a\u00C2\u0085b', 'a?b');
test('truncates a text to 2000 bytes', cleans, 'x'.repeat(2001), 'x'.repeat(2000));
test('does not truncate 2000 bytes', cleans, 'x'.repeat(2000), 'x'.repeat(2000));
test(
	'removes a truncated character of two bytes',
	cleans,
	`x${'\u00C3\u00BC'.repeat(1000)}`,
	`x${'ü'.repeat(999)}`,
);
test('removes a truncated character of three bytes', cleans, '東'.repeat(700), '東'.repeat(666));
test(
	'removes a truncated character of four bytes',
	cleans,
	`xyz${'🔒'.repeat(500)}`,
	`xyz${'🔒'.repeat(499)}`,
);

const anyText = fc.oneof(
	fc.string({unit: 'binary', maxLength: 3000}),
	fc.string({unit: 'grapheme', maxLength: 3000}),
	fc.uint8Array({maxLength: 3000}).map(bytes => Buffer.from(bytes).toString('latin1')),
	fc
		.tuple(fc.string({unit: 'grapheme', maxLength: 50}), fc.integer({min: 1, max: 200}))
		.map(([text, times]) => text.repeat(times)),
);

test('cleanText replaces all control characters, for any text', t => {
	fc.assert(
		fc.property(anyText, text => {
			t.notRegex(cleanText(text), /\p{Cc}/u);
		}),
	);
});

test('cleanText returns at most 2000 bytes, for any text', t => {
	fc.assert(
		fc.property(anyText, text => {
			t.true(Buffer.byteLength(cleanText(text)) <= 2000);
		}),
	);
});

test('cleanText does not change short printable ASCII', t => {
	fc.assert(
		fc.property(fc.stringMatching(/^[ -~]{0,80}$/), text => {
			t.is(cleanText(text), text);
		}),
	);
});
