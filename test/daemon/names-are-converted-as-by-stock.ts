/*
 * Server names that are not ASCII, malformed names, and lists of names: both programs
 * send the same SNI name, match the same names and log the same lines.
 */
import {chmodSync, copyFileSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {execa} from 'execa';
import {mailVersion} from '../../postfix/lib/instance.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {daneTrust} from '../helpers/client-role-cases.ts';
import {Daemon} from '../helpers/daemon.ts';
import {sentAndMatched as both, type NamedCase, NamedServer, NameLab, wireName} from '../helpers/names.ts';

const lab = new NameLab();
test.after.always(() => lab[Symbol.dispose]());

const ascii = 'xn--bcher-kva.test';
const legacy = releaseFeatures(mailVersion()).digestLists;
const sends = (start: NamedCase['start'], certificate = ascii): NamedCase => ({certificate, start});
const bytes = (hex: string): string => Buffer.from(hex, 'hex').toString('latin1');
const dane = (domain: string) => ({tls_level: 5, dane: {domain: wireName(domain), ...daneTrust([], legacy)}});

/* Names that a URL parser would interpret in another way, and other forms of names. */
const unusual: readonly NamedCase[] = [
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
	sends({sni: bytes(`${'c3a9'.repeat(49)}2ec3a92fff`), matchargv: [ascii]}),
	/* Keywords for other names. */
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
	/* Several names, some of which cannot be converted. */
	sends({matchargv: [wireName('é#'), wireName('bücher.test'), wireName('é/')]}),
	sends({sni: wireName('é#1'), matchargv: [wireName('é#2')], nexthop: wireName('é#3')}),
	sends({sni: 'x'.repeat(300), matchargv: ['.']}),
	/* Names that are converted, but not used. */
	sends({...dane('mx.example.com'), sni: wireName('é#4'), matchargv: [wireName('é#5'), ascii]}),
	sends({...dane('bücher.test'), matchargv: [wireName('bücher.test')]}),
	sends({tls_level: 2, sni: wireName('é#6'), matchargv: [wireName('é#7')]}),
	sends({tls_level: 1, sni: wireName('bücher.test'), matchargv: []}),
	/* The name of the peer in log lines. */
	sends({namaddr: wireName('BÜCHER.Test[127.0.0.1]:25'), sni: 'y'.repeat(300), matchargv: ['.']}),
	sends({namaddr: wireName('BÜCHER.Test[127.0.0.1]:25'), matchargv: ['wrong.test']}),
];

for (const settings of [
	{},
	{smtputf8_enable: 'no'},
	{enable_idna2003_compatibility: 'yes'},
	{smtp_tls_loglevel: 'certmatch,debug,summary'},
] as ReadonlyArray<Readonly<Record<string, string>>>) {
	test.serial(`unusual names are converted as by stock with ${JSON.stringify(settings)}`, async t => {
		const cases = unusual.map(item => ({...item, logLevel: settings['smtp_tls_loglevel'] ?? '1'}));
		await lab.compare(t, cases, settings);
	});
}

test.serial(
	'a name that cannot be converted is logged once while it is in the cache, as by stock',
	async t => {
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
		const outcomes = await lab.compare(t, cases);
		const logged = outcomes.filter(({lines}) => lines.some(line => line.startsWith('warning: midna_')));
		t.true(logged.length >= names.length && logged.length < order.length, String(logged.length));
	},
);

/* The valid characters of a name depend on the release of ICU. */
test.serial('a sample of all characters is converted as by stock', async t => {
	/* Lower numbers are control characters, which stock logs unchanged. */
	const FIRST = 0xa0;
	const STEP = 83;
	const cases = Array.from({length: Math.floor(0x2_ff_ff / STEP)}, (_, index) => FIRST + index * STEP)
		.filter(code => code < 0xd8_00 || code > 0xdf_ff)
		.map(code => both(`a${String.fromCodePoint(code)}b.test`, ascii));
	const outcomes = await lab.compare(t, cases);
	t.true(new Set(outcomes.map(({serverName}) => serverName)).size > cases.length / 2);
});

const sent = (text: string): string => {
	const name = Buffer.from(text, 'latin1');
	const head = Buffer.from([0, name.length + 3, 0, 0, name.length]);
	return Buffer.concat([head, name]).toString('hex');
};

for (const smtputf8_enable of ['yes', 'no']) {
	test.serial(`names are converted in the jail with smtputf8_enable=${smtputf8_enable}`, async t => {
		await using ours = await Daemon.start('ours', {chroot: 'y', main: {...lab.main, smtputf8_enable}});
		const server = await NamedServer.start(t, lab.issuer);
		const {serverName} = await lab.run(t, ours, server, both('bücher.test', ascii));
		/* Before 3.6, the SNI name is not converted. */
		t.is(serverName, sent(legacy ? wireName('bücher.test') : ascii));
		const {peerStatus = 0} = await lab.run(t, ours, server, both('bücher.test', ascii));
		t.not(peerStatus & 8, 0);
		await lab.run(t, ours, server, both('é/', ascii));
		await ours.linesUpTo(/^warning: midna_domain_to_ascii_create: .*: malformed ASCII label\(s\)$/);
	});
}

/* The libraries are read from files in the directories that parameters of Postfix name. */
test.serial('names are not converted if Postfix is not linked with ICU', async t => {
	const directory = mkdtempSync(join(tmpdir(), 'no-icu-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	chmodSync(directory, 0o755);
	const {stdout: libraries} = await execa`postconf -dh shlib_directory`;
	copyFileSync(join(libraries, 'libpostfix-tls.so'), join(directory, 'libpostfix-tls.so'));
	await using ours = await Daemon.start('ours', {
		main: {...lab.main, smtputf8_enable: 'yes'},
		copies: {bare: {shlib_directory: directory, syslog_name: 'postfix'}},
	});
	const server = await NamedServer.start(t, lab.issuer);
	const name = 'bücher.test';
	const {serverName, peerStatus = 0} = await lab.run(t, ours, server, both(name, ascii), 'bare');
	t.is(serverName, sent(wireName(name)));
	t.is(peerStatus & 8, 0);
	const lines = await ours.linesUpTo(/^DISCONNECT /);
	t.true(
		lines.includes('warning: smtputf8_enable is true, but EAI support is not compiled in'),
		lines.join('\n'),
	);
	t.false(lines.some(line => line.includes('Problem translating')));
});

/* `match=:` in a policy table has this effect. Stock crashes: smtp(8) sees the end of the connection. */
for (const [level, number] of [
	['half-dane', 4],
	['dane', 5],
	['dane-only', 6],
	['verify', 7],
	['secure', 8],
] as const) {
	test.serial(`an empty match list at level ${level} ends the session as with stock`, async t => {
		const item = sends({...dane('mx.example.com'), tls_level: number, matchargv: []});
		const connect = async (daemon: Daemon) =>
			await lab.run(t, daemon, await NamedServer.start(t, lab.issuer), item);
		await using ours = await Daemon.start('ours', {main: lab.main});
		await using stock = await Daemon.start('stock', {main: lab.main});
		const outcome = await connect(ours);
		t.deepEqual(outcome, await connect(stock));
		t.is(outcome.helloSent, legacy);
		const {pid} = ours;
		await connect(ours);
		t.is(ours.pid, pid);
		const ends = 'DISCONNECT [127.0.0.1]:';
		let lines: readonly string[] = [];
		await ours.sandbox.waitFor(async () => {
			lines = await ours.lines();
			return lines.filter(line => line.startsWith(ends)).length === 2;
		});
		const warning = `no match names at TLS security level ${level}`;
		t.is(lines.filter(line => line.endsWith(warning)).length, legacy ? 0 : 2, lines.join('\n'));
	});
}
