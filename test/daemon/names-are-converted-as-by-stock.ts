/*
 * Names of servers that are not ASCII. Each of Unicode's test file goes to both
 * programs: as the name that the server is asked for, and as the one that its
 * certificate has to have. The certificate has the ASCII form that Unicode says.
 */
import {chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {mailVersion} from '../../postfix/lib/instance.ts';
import {profileOf} from '../../src/wire/release.ts';
import {Daemon} from '../helpers/daemon.ts';
import {trust} from '../helpers/differential.ts';
import {Issuer} from '../helpers/issuer.ts';
import {
	type NamedCase,
	type NamedOutcome,
	NamedServer,
	putName,
	putNames,
	wireName,
} from '../helpers/names.ts';
import {extract} from '../helpers/packages.ts';

const directory = mkdtempSync(join(tmpdir(), 'names-'));
chmodSync(directory, 0o755);
const authorities = join(directory, 'root.pem');
const issuer = new Issuer();
writeFileSync(authorities, issuer.authority);
test.after.always(() => rmSync(directory, {recursive: true}));

/* A process keeps results: each test has processes of its own. */
async function visitBoth(
	t: ExecutionContext,
	cases: readonly NamedCase[],
	settings: Readonly<Record<string, string>> = {},
): Promise<{readonly ours: readonly NamedOutcome[]; readonly stock: readonly NamedOutcome[]}> {
	const main = {max_use: '100000', smtp_tls_CAfile: authorities, ...settings};
	await using ours = await Daemon.start('ours', {main});
	await using stock = await Daemon.start('stock', {main});
	const [found, wanted] = await Promise.all(
		[ours, stock].map(async daemon => await putNames(t, daemon, issuer, authorities, cases)),
	);
	return {ours: found ?? [], stock: wanted ?? []};
}

/* Equal, case by case; only the first differences are shown. */
function same(
	t: ExecutionContext,
	cases: readonly NamedCase[],
	{ours, stock}: {readonly ours: readonly NamedOutcome[]; readonly stock: readonly NamedOutcome[]},
): void {
	const differences = cases.flatMap((item, index) =>
		JSON.stringify(ours[index]) === JSON.stringify(stock[index])
			? []
			: [{...item, ours: ours[index], stock: stock[index]}],
	);
	t.is(ours.length, cases.length);
	t.is(stock.length, cases.length);
	t.deepEqual(differences.slice(0, 5), [], `${differences.length} of ${cases.length} differ`);
}

/** A name that is sent, and has to match. */
function both(name: string, certificate: string): NamedCase {
	return {certificate, start: {sni: wireName(name), matchargv: [wireName(name)]}};
}

/* Names, and their ASCII forms without the transitional processing of IDNA2003. */
async function unicodeNames(): Promise<ReadonlyMap<string, string>> {
	const found = await extract('librust-idna-dev');
	const text = readFileSync(found.file('usr/share/cargo/registry/idna-*/tests/IdnaTestV2.txt'), 'utf8');
	const names = new Map<string, string>();
	for (const line of text.split('\n')) {
		const [source = '', toUnicode, , toAscii] = line
			.replace(/#.*$/, '')
			.split(';')
			.map(field => unescaped(field.trim()));
		if (toAscii !== undefined) {
			/* An empty field means: the same as before it. */
			names.set(source, toAscii || toUnicode || source);
		}
	}

	return names;
}

function unescaped(text: string): string {
	return text.replaceAll(/\\u([\dA-Fa-f]{4})|\\x\{([\dA-Fa-f]+)\}/g, (_, four, any) =>
		String.fromCodePoint(Number.parseInt(String(four ?? any), 16)),
	);
}

const MATCHED = 8;
const matches = ({peerStatus = 0}: NamedOutcome): boolean => (peerStatus & MATCHED) !== 0;

test.serial('each name of Unicode is sent, matched and warned of as by stock', async t => {
	const names = [...(await unicodeNames())];
	t.true(names.length > 3000, String(names.length));
	const cases = names.map(([name, certificate]) => both(name, certificate));
	const outcomes = await visitBoth(t, cases);
	same(t, cases, outcomes);
	t.log(
		`${names.length} names, ${outcomes.stock.filter(matches).length} match, ` +
			`${outcomes.stock.filter(({lines}) => lines.some(line => line.startsWith('warning: '))).length} warned of`,
	);
	/* The test sees both verdicts. */
	t.true(outcomes.stock.some(matches));
	t.true(outcomes.stock.some(outcome => !matches(outcome)));
});

const ascii = 'xn--bcher-kva.test';
const legacy = profileOf(mailVersion()).digestLists;
const sends = (start: NamedCase['start'], certificate = ascii): NamedCase => ({certificate, start});
const bytes = (hex: string): string => Buffer.from(hex, 'hex').toString('latin1');
const dane = (domain: string) => ({tls_level: 5, dane: {domain: wireName(domain), ...trust([], legacy)}});

/* What a URL parser takes for something else, and other ways to write a name. */
const odd: readonly NamedCase[] = [
	both('bücher.test', ascii),
	both('BÜCHER.TEST', ascii),
	both('bu\u0308cher.test', ascii),
	both('bücher.test/x', ascii),
	both('bücher.test#x', ascii),
	both('bücher.test?x', ascii),
	both('bücher.test:25', ascii),
	both('user@bücher.test', ascii),
	both('bücher.test\\x', ascii),
	both('b\u00FCcher.t%65st', ascii),
	both('bücher.\u00ADtest', ascii),
	both(' bücher.test', ascii),
	both('b ücher.test', ascii),
	both('bücher.test\n', ascii),
	both('bücher\u3002test', ascii),
	both('bücher.test.', ascii),
	both('bücher..test', ascii),
	both('.bücher.test', `mail.${ascii}`),
	both('..bücher.test', `mail.${ascii}`),
	both('\u3002bücher.test', `mail.${ascii}`),
	both('\uFF0Ebücher.test', ascii),
	both('\uFF61bücher.test', `a.mail.${ascii}`),
	both('\u3002', ascii),
	both('\u3002test', 'mail.test'),
	both('.', ascii),
	both('..', ascii),
	both('3שלום.test', 'xn--3-zldmz1d.test'),
	both('é.1', 'xn--9ca.1'),
	both('\uFF11\uFF12\uFF17.\uFF10.\uFF10.\uFF11', '127.0.0.1'),
	both('\uFF11\uFF12\uFF17.1', '127.0.0.1'),
	both('0x7f.é', '127.0.0.1'),
	both('faß.de', 'xn--fa-hia.de'),
	both('faß.de', 'fass.de'),
	both('_dmarc.bücher.test', `_dmarc.${ascii}`),
	both('*.bücher.test', `*.${ascii}`),
	both('-é.test', 'xn----9fa.test'),
	both('xn--é.test', 'xn--xn---epa.test'),
	both(`${'é'.repeat(60)}.test`, ascii),
	both(`${'é.'.repeat(60)}test`, ascii),
	both(`${'é.'.repeat(120)}test`, ascii),
	both(`${'é'.repeat(1100)}.test`, ascii),
	both('x'.repeat(255), ascii),
	both('x'.repeat(256), ascii),
	sends({sni: bytes('62fc6368'), matchargv: [bytes('62fc6368')]}),
	sends({sni: bytes('eda080'), matchargv: [bytes('c080'), ascii]}),
	sends({sni: bytes('f4908080'), matchargv: [bytes('e2'), bytes('e38082'), bytes('e3808241')]}),
	sends({sni: bytes(`${'c3a9'.repeat(49)}2ec3a92fff`)}),
	/* Words that stand for other names. */
	sends({sni: 'hostname', host: wireName('bücher.test'), matchargv: ['hostname']}),
	sends({sni: 'nexthop', nexthop: wireName('bücher.test'), matchargv: ['NextHop']}),
	sends({nexthop: wireName('bücher.test'), matchargv: ['dot-nexthop']}, `a.${ascii}`),
	sends({nexthop: wireName('\u3002bücher.test'), matchargv: ['nexthop']}, `a.${ascii}`),
	sends({nexthop: wireName('bü/cher.test'), matchargv: [ascii]}),
	sends({nexthop: wireName('bü/cher.test'), matchargv: ['nexthop', 'dot-nexthop', ascii]}),
	sends({sni: 'hostname', host: '', matchargv: ['hostname']}),
	sends({nexthop: '', matchargv: ['nexthop', 'dot-nexthop']}),
	sends({matchargv: ['', '.', wireName('bücher.test')]}),
	sends({matchargv: ['.', '.']}),
	/* Several names, not all of which can be used. */
	sends({matchargv: [wireName('é#'), wireName('bücher.test'), wireName('é/')]}),
	sends({sni: wireName('é#1'), matchargv: [wireName('é#2')], nexthop: wireName('é#3')}),
	sends({sni: 'x'.repeat(300), matchargv: ['.']}),
	/* Where names have to be converted, but are not used. */
	sends({...dane('mx.example.com'), sni: wireName('é#4'), matchargv: [wireName('é#5'), ascii]}),
	sends({...dane('bücher.test'), matchargv: [wireName('bücher.test')]}),
	sends({tls_level: 2, sni: wireName('é#6'), matchargv: [wireName('é#7')]}),
	sends({tls_level: 1, sni: wireName('bücher.test'), matchargv: []}),
	/* The name of the peer, in lines about it. */
	sends({namaddr: wireName('BÜCHER.Test[127.0.0.1]:25'), sni: 'y'.repeat(300), matchargv: ['.']}),
	sends({namaddr: wireName('BÜCHER.Test[127.0.0.1]:25'), matchargv: ['wrong.test']}),
];

for (const settings of [
	{},
	{smtputf8_enable: 'no'},
	{enable_idna2003_compatibility: 'yes'},
	{smtp_tls_loglevel: 'certmatch,peercert,debug,summary'},
] satisfies ReadonlyArray<Readonly<Record<string, string>>>) {
	test.serial(`odd names are those of stock with ${JSON.stringify(settings)}`, async t => {
		same(t, odd, await visitBoth(t, odd, settings));
	});
}

test.serial('a name that cannot be converted is logged once while it is in the cache, as by stock', async t => {
	const names = Array.from({length: 300}, (_, index) => `é#${index}`);
	const order = [
		...names.slice(0, 256),
		...names.slice(0, 10),
		...names.slice(256, 260),
		...names.slice(0, 20),
		...names.slice(250),
		...names,
	];
	const cases = order.map(name => both(name, ascii));
	const outcomes = await visitBoth(t, cases);
	same(t, cases, outcomes);
	const logged = outcomes.ours.filter(({lines}) => lines.some(line => line.startsWith('warning: midna_')));
	t.true(logged.length >= names.length && logged.length < order.length, String(logged.length));
});

/* As `match=:` in a policy table makes it. Stock crashes, which for smtp(8) is the end of the connection. */
for (const [level, number] of [
	['half-dane', 4],
	['dane', 5],
	['dane-only', 6],
	['verify', 7],
	['secure', 8],
] as const) {
	test.serial(`an empty match list at ${level} ends as with stock`, async t => {
		const main = {smtp_tls_CAfile: authorities};
		const item = sends({...dane('mx.example.com'), tls_level: number, matchargv: []});
		const visit = async (daemon: Daemon) =>
			await putName(t, daemon, await NamedServer.start(t, issuer), authorities, item);
		await using ours = await Daemon.start('ours', {main});
		await using stock = await Daemon.start('stock', {main});
		const found = await visit(ours);
		t.deepEqual(found, await visit(stock));
		t.is(found.helloSent, legacy);
		const {pid} = ours;
		await visit(ours);
		t.is(ours.pid, pid);
		const lines = (await ours.lines()).filter(line => line.includes('no match names'));
		t.is(lines.length, legacy ? 0 : 2);
	});
}
