import {existsSync} from 'node:fs';
import {mkdtemp, rm, utimes, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {execa} from 'execa';
import {ConfigurationError} from '../../src/base/errors.ts';
import {addNamedFunction, expand} from '../../src/conf/expand.ts';

const values: ReadonlyMap<string, string> = new Map([
	['full', 'text'],
	['empty', ''],
	['indirect', '<$full>'],
	['hollow', '$empty'],
	['level', '3.6'],
	['money', '$$full'],
	['loop', 'x$loop'],
	['comparing', '${{$comparing}=={}?yes}'],
	...Array.from({length: 101}, (_, index) => [`deep${index}`, `$deep${index + 1}`] as const),
	['deep101', 'end'],
	['last98', 'end'],
	...Array.from({length: 98}, (_, index) => [`last${index}`, `$last${index + 1}`] as const),
]);
const lookup = (name: string): string | undefined => values.get(name);

/* The results that the tests expect. At the end they are compared with postconf(1) of the host. */
const given: Array<readonly [text: string, expected: string]> = [];
const refused: Array<readonly [text: string, warning: string]> = [];

const gives = test.macro({
	exec(t, text: string, expected: string) {
		given.push([text, expected]);
		t.is(expand(text, lookup), expected);
	},
	title(_, text: string, expected: string) {
		return `expand makes ${JSON.stringify(expected)} of ${JSON.stringify(text)}`;
	},
});

test(gives, '', '');
test(gives, 'plain', 'plain');
test(gives, 'a$full,b', 'atext,b');
test(gives, '${full}$(full)', 'texttext');
test(gives, '$nothing', '');
test(gives, '$indirect', '<text>');
test(gives, '$$full', '$full');
test(gives, '$money', '$full');
test(gives, '${full?yes}', 'yes');
test(gives, '${empty?yes}', '');
test(gives, '${nothing?yes}', '');
test(gives, '${full:no}', '');
test(gives, '${empty:no}', 'no');
test(gives, '${nothing:no}', 'no');
test(gives, '${hollow?raw}', 'raw');
test(gives, '${full?{yes}}', 'yes');
test(gives, '${empty:{no}}', 'no');
test(gives, '${full?{yes}:{no}}', 'yes');
test(gives, '${empty?{yes}:{no}}', 'no');
test(gives, '${empty?{yes}:no}', 'no');
test(gives, '${full ? {yes} : {no} }', 'yes');
test(gives, '${empty ? {yes} : {no} }', 'no');
test(gives, '${ full }', 'text');
test(gives, '${full? yes }', ' yes ');
test(gives, '${full?{ yes }}', ' yes ');
test(gives, '${full?a:b?{c}}', 'a:b?{c}');
test(gives, '${full?{a{b}c}}', 'a{b}c');
test(gives, '${full?{$indirect}:{$}}', '<text>');
test(gives, '${empty:$(full)}', 'text');
test(gives, '${?yes}', '');
test(gives, '${{a}=={a}?{yes}:{no}}', 'yes');
test(gives, '${ {a} != {a} ? {yes} : {no}}', 'no');
test(gives, '${{$full}=={text}}', 'true');
test(gives, '${{$full}!={text}}', '');
test(gives, '${{ text }=={$full}?yes:no}', '');
test(gives, '${{ text }=={$full}:no}', 'no');
test(gives, '${{10} < {9} ? {yes} : {no}}', 'no');
test(gives, '${{10} > {9} ? {yes} : {no}}', 'yes');
test(gives, '${{010} <= {10} ? {yes} : {no}}', 'yes');
test(gives, '${{10} >= {11} ? {yes} : {no}}', 'no');
test(gives, '${{10x} < {9} ? {yes} : {no}}', 'yes');
test(gives, '${{} < {9} ? {yes} : {no}}', 'yes');
test(gives, '${{$level} <level {3.10} ? {old} : {new}}', 'old');
test(gives, '${{$level} < {3.10} ? {old} : {new}}', 'new');
test(gives, '${{3.6.0} ==level {3.6} ? {yes} : {no}}', 'yes');
test(gives, '${{3.6.1} !=level {3.6} ? {yes} : {no}}', 'yes');
test(gives, '${{4} >=level {3.1023} ? {yes} : {no}}', 'yes');
test(gives, '${{2} >level {2} ? {yes} : {no}}', 'no');
test(gives, '${{2} <=level {2} ? {yes} : {no}}', 'yes');
test(gives, '$last0', 'end');

test('expand compares text as bytes, not as UTF-16', t => {
	t.is(expand('${{\u{10000}} > {\uffff} ? {yes} : {no}}', lookup), 'yes');
});

test('before there are functions, expand takes a call for a syntax error', t => {
	const error = t.throws(() => expand('${domain_to_ascii{a}}', lookup), {instanceOf: ConfigurationError});
	t.regex(String(error?.cause), /attribute name syntax error at: "\.\.\.domain_to_ascii>>>\{a\}"$/);
});

/* Functions are from 3.11; until then those of Postfix are not there. */
const defineFunctions = (): void => {
	addNamedFunction('domain_to_ascii', text => (text.includes(' ') ? undefined : `ascii(${text})`));
};

test('expand calls functions', t => {
	defineFunctions();
	t.is(expand('${domain_to_ascii{m\u00fcller.example}}', lookup), 'ascii(m\u00fcller.example)');
	t.is(expand('${domain_to_ascii { $full.Example }}', lookup), 'ascii(text.Example)');
	t.is(expand('${domain_to_ascii{}}', lookup), 'ascii()');
});

const refuses = test.macro({
	exec(t, text: string, warning: string) {
		refused.push([text, warning]);
		const error = t.throws(() => expand(text, lookup), {
			instanceOf: ConfigurationError,
			message: 'dictionary mail_dict: macro processing error',
		});
		t.true(
			error?.cause instanceof ConfigurationError && error.cause.message === warning,
			String(error?.cause),
		);
	},
	title(_, text: string) {
		return `expand refuses ${JSON.stringify(text)}`;
	},
});

test(refuses, '${full', 'truncated macro reference: "${full"');
test(refuses, '$(full}', 'truncated macro reference: "$(full}"');
test(refuses, '${full?{}', 'truncated macro reference: "${full?{}"');
test(refuses, 'a$-', 'empty macro name: "a$-"');
test(refuses, 'a$', 'empty macro name: "a$"');
test(refuses, '${}', 'empty macro name: "${}"');
test(refuses, '${a-b}', 'attribute name syntax error at: "...a>>>-b"');
test(refuses, '${{a}={b}}', '"==" or "!=" or "<" or "<=" or ">=" or ">" expected at: "...a}>>>={b}"');
test(refuses, '${{a}== b}', '"{expression}" expected at: "...{a} ==>>> b"');
test(refuses, '${{a}==word{b}}', 'bad operator suffix at: "...==>>>word"');
test(refuses, '${{a}=={a}yes}', '"?" or ":" expected at: "...}>>>yes"');
test(refuses, '${full?{yes}no}', '":" expected at: "...yes}>>>no"');
test(refuses, '${empty:{no}more}', 'unexpected input at: "...no}>>>more"');
test(refuses, '$({a)', 'unbalanced {} in attribute expression: "{a"');
test(refuses, '${{a} <level {3} ? {yes}}', 'malformed compatibility level syntax: "a"');
test(refuses, '${upper{a}}', 'unknown function "upper" at "...>>>upper{a}"');
test(refuses, '${domain_to_ascii{a}b}', 'unexpected input at: "...a}>>>b"');
test(refuses, '${domain_to_ascii{x y\u00fc}}', "bad domain argument in: 'domain_to_ascii{x y\u00fc}'");
test(refuses, '$deep0', 'unreasonable macro call nesting: "deep101"');
test(refuses, '$comparing', 'unreasonable macro call nesting: "{$comparing}=={}?yes"');

test('expand refuses a parameter that refers to itself', t => {
	t.throws(() => expand('$loop', lookup), {instanceOf: ConfigurationError});
});

const postconf = '/usr/sbin/postconf';
const withPostfix = existsSync(postconf) ? test : test.skip;

async function withMainCf(
	lines: readonly string[],
	run: (directory: string) => Promise<void>,
): Promise<void> {
	const directory = await mkdtemp(join(tmpdir(), 'expand-'));
	try {
		const path = join(directory, 'main.cf');
		await writeFile(path, `compatibility_level = 3.6\n${lines.join('\n')}\n`);
		await writeFile(join(directory, 'master.cf'), '');
		/* Postfix waits while main.cf is younger than a second. */
		await utimes(path, 1, 1);
		await run(directory);
	} finally {
		await rm(directory, {recursive: true});
	}
}

const definitions = [...values].map(([name, value]) => `${name} = ${value}`);

withPostfix('expand agrees with postconf -x', async t => {
	t.true(given.length > 40);
	const lines = given.map(([text], index) => `case${index} = [${text}]`);
	const references = given.map((_, index) => `$case${index}`).join(' ');
	await withMainCf([...definitions, ...lines, `mail_name = ${references}`], async directory => {
		const {stdout} = await execa(postconf, [
			'-c',
			directory,
			'-x',
			...given.map((_, index) => `case${index}`),
		]);
		const printed = new Map(stdout.split('\n').map(line => [line.slice(0, line.indexOf(' =')), line]));
		for (const [index, [text, expected]] of given.entries()) {
			t.is(printed.get(`case${index}`), `case${index} = [${expected}]`, text);
		}
	});
});

withPostfix('expand refuses what postconf -x refuses, for the same reason', async t => {
	t.true(refused.length > 10);
	/* Functions are from 3.11; C dies of an endless comparison, and loses count of its quotes when it lists operators. */
	const {stdout: release} = await execa(postconf, ['-dh', 'mail_version']);
	const comparable = refused.filter(
		([text]) =>
			text !== '$comparing' &&
			text !== '${{a}={b}}' &&
			(!/\w\{/.test(text.replace('==word{', '')) || /^3\.1[1-9]/.test(release)),
	);
	await withMainCf(definitions, async directory => {
		for (const [text, warning] of comparable) {
			const override = `smtp_tls_CAfile=${text}`;
			const {exitCode, stderr} = await execa(
				postconf,
				['-c', directory, '-x', '-o', override, 'smtp_tls_CAfile'],
				{
					reject: false,
				},
			);
			t.is(exitCode, 1, text);
			t.true(stderr.includes(`warning: ${warning}\n`), `${text}: ${stderr}`);
		}
	});
});
