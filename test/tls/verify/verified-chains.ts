import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import type {ClientContext} from '../../../src/tls/context/client-context.ts';
import {
	TLS_CERT_FLAG_MATCHED,
	TLS_CERT_FLAG_SECURED,
	TLS_CERT_FLAG_TRUSTED,
} from '../../../src/tls/report/negotiated.ts';
import {type VerifiedChain, VerifiedChainCache} from '../../../src/tls/verify/verified-chains.ts';
import type {ClientStart} from '../../../src/wire/client-settings.ts';
import type {HandshakeReport} from '../../../src/wire/handshake-report.ts';
import {
	applicationFor,
	CertificateStore,
	collectLog,
	connectedTo,
	type PeerServer,
	sServer,
} from '../../helpers/openssl.ts';

const HOUR = 3_600_000;
const SECURE = 8;
const MAY = 1;
const authority = ['basicConstraints=critical,CA:true'];
const named = ['subjectAltName=DNS:mx.example.com,DNS:other.example.com'];

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('root', {extensions: authority});
store.make('middle', {extensions: authority, issuer: 'root'});
store.make('leaf', {extensions: named, issuer: 'middle'});
store.make('false-root', {extensions: authority, subject: '/CN=root.example.com'});
store.make('false-leaf', {
	extensions: named,
	issuer: 'false-root',
	subject: '/CN=leaf.example.com',
});

function server(t: ExecutionContext, name: string, ...words: readonly string[]): Promise<PeerServer> {
	return sServer(t, '-cert', store.path(`${name}.cert`), '-key', store.path(`${name}.key`), ...words);
}

function honest(t: ExecutionContext): Promise<PeerServer> {
	return server(t, 'leaf', '-cert_chain', store.path('middle.cert'));
}

interface Witness {
	readonly context: ClientContext;
	/** What was looked for, and whether it was found. */
	readonly found: boolean[];
	/** Verdicts that were kept. */
	readonly kept: VerifiedChain[];
}

/** An application that trusts the root, with a look at what it remembers. */
function witness(t: ExecutionContext, init: Parameters<typeof applicationFor>[1] = {}): Witness {
	const context = applicationFor(t, {CAfile: store.path('root.cert'), ...init});
	const {verifiedChains: verdicts} = context;
	const found: boolean[] = [];
	const kept: VerifiedChain[] = [];
	const [find, keep] = [verdicts.find.bind(verdicts), verdicts.keep.bind(verdicts)];
	verdicts.find = (name, now) => {
		const verdict = find(name, now);
		found.push(verdict !== undefined);
		return verdict;
	};
	verdicts.keep = (name, verdict, now, expires) => {
		kept.push(verdict);
		keep(name, verdict, now, expires);
	};
	return {context, found, kept};
}

/** What a handshake comes to. */
async function visit(
	t: ExecutionContext,
	{port}: PeerServer,
	{context}: Witness,
	start: Partial<ClientStart> = {},
): Promise<HandshakeReport> {
	const connection = await connectedTo(t, port, context, {
		tls_level: SECURE,
		matchargv: ['hostname'],
		...start,
	});
	const report = connection.report();
	/* openssl(1) serves one after the other. */
	connection.shutdown();
	return report;
}

const verdictOf = ({peer_status: status}: HandshakeReport): string =>
	[
		[TLS_CERT_FLAG_TRUSTED, 'trusted'],
		[TLS_CERT_FLAG_MATCHED, 'matched'],
		[TLS_CERT_FLAG_SECURED, 'secured'],
	]
		.filter(([flag]) => (status & Number(flag)) !== 0)
		.map(([, word]) => word)
		.join(' ');

test('a verdict is found under its name, until the first certificate expires or an hour is over', t => {
	const verdicts = new VerifiedChainCache();
	const verdict = {peername: 'mx'};
	verdicts.keep('a', verdict, 1000, 5000);
	t.is(verdicts.find('a', 1000), verdict);
	t.is(verdicts.find('b', 1000), undefined);
	t.is(verdicts.find('a', 4999), verdict);
	t.is(verdicts.find('a', 5000), undefined);
	verdicts.keep('c', verdict, 0, Infinity);
	t.is(verdicts.find('c', HOUR - 1), verdict);
	t.is(verdicts.find('c', HOUR), undefined);
});

test('a clock that is set back ends it', t => {
	const verdicts = new VerifiedChainCache();
	verdicts.keep('a', {peername: undefined}, 1000, 5000);
	t.is(verdicts.find('a', 999), undefined);
	t.is(verdicts.find('a', 1000), undefined);
});

test('a certificate that has no time left, or none that is known, is good for this once', t => {
	const verdicts = new VerifiedChainCache();
	verdicts.keep('a', {peername: undefined}, 1000, 0);
	t.is(verdicts.find('a', 1000), undefined);
});

test('there are never more than 500, and the oldest goes first', t => {
	const verdicts = new VerifiedChainCache();
	for (let index = 0; index < 501; index++) {
		verdicts.keep(String(index), {peername: String(index)}, 0, HOUR);
	}

	t.is(verdicts.find('0', 1), undefined);
	t.deepEqual(verdicts.find('1', 1), {peername: '1'});
	t.deepEqual(verdicts.find('500', 1), {peername: '500'});
});

test.serial('a chain that was found good is found again, and all that is said of it is the same', async t => {
	const lines = collectLog();
	const peer = await honest(t);
	const seen = witness(t, {log_level: '1'});
	const first = await visit(t, peer, seen);
	const firstLines = lines.splice(0);
	const second = await visit(t, peer, seen);
	t.deepEqual(seen.found, [false, true]);
	t.deepEqual(seen.kept, [{peername: 'mx.example.com'}]);
	t.is(verdictOf(first), 'trusted matched secured');
	t.deepEqual(second, first);
	t.deepEqual(lines, firstLines);
});

test.serial('the name that was matched is logged from memory, too', async t => {
	const lines = collectLog();
	const peer = await honest(t);
	const seen = witness(t, {log_level: 'certmatch'});
	await visit(t, peer, seen, {log_level: 'certmatch'});
	const firstLines = lines.splice(0);
	await visit(t, peer, seen, {log_level: 'certmatch'});
	t.deepEqual(seen.found, [false, true]);
	t.true(firstLines.some(line => line.includes('matched peername: mx.example.com')));
	t.deepEqual(lines, firstLines);
});

test.serial('what is logged certificate by certificate is verified each time', async t => {
	const lines = collectLog();
	const peer = await honest(t);
	const seen = witness(t, {log_level: '2'});
	await visit(t, peer, seen);
	await visit(t, peer, seen);
	t.deepEqual(seen.found, []);
	t.is(lines.filter(line => line.includes('verify=1')).length, 2 * 3);
});

test.serial('a name that was not asked for is not found with the chain', async t => {
	const peer = await honest(t);
	const seen = witness(t);
	t.is(verdictOf(await visit(t, peer, seen)), 'trusted matched secured');
	const wrong = {matchargv: ['wrong.example.com']};
	t.is(verdictOf(await visit(t, peer, seen, wrong)), '');
	t.is(verdictOf(await visit(t, peer, seen, wrong)), '');
	t.is(verdictOf(await visit(t, peer, seen, {matchargv: ['other.example.com']})), 'trusted matched secured');
	t.deepEqual(seen.found, [false, false, false, false]);
	t.is(seen.kept.length, 2);
});

test.serial('what is good enough without a name is not with one', async t => {
	const peer = await honest(t);
	const seen = witness(t);
	const may = {tls_level: MAY, matchargv: []};
	t.is(verdictOf(await visit(t, peer, seen, may)), 'trusted');
	t.is(verdictOf(await visit(t, peer, seen, {matchargv: ['wrong.example.com']})), '');
	t.is(verdictOf(await visit(t, peer, seen, may)), 'trusted');
	t.deepEqual(seen.found, [false, false, true]);
});

test.serial('an impostor whose certificates have the same names is not taken for the other', async t => {
	const [peer, impostor] = [await honest(t), await server(t, 'false-leaf')];
	const seen = witness(t);
	t.is(verdictOf(await visit(t, peer, seen)), 'trusted matched secured');
	t.is(verdictOf(await visit(t, impostor, seen)), '');
	t.is(verdictOf(await visit(t, impostor, seen)), '');
	t.deepEqual(seen.found, [false, false, false]);
	t.is(seen.kept.length, 1);
});

test.serial('the same certificate in another chain is verified anew', async t => {
	const [peer, alone] = [await honest(t), await server(t, 'leaf')];
	const seen = witness(t);
	t.is(verdictOf(await visit(t, peer, seen)), 'trusted matched secured');
	t.is(verdictOf(await visit(t, alone, seen)), '');
	t.deepEqual(seen.found, [false, false]);
});

test.serial('another context has to find out for itself', async t => {
	const peer = await honest(t);
	t.is(verdictOf(await visit(t, peer, witness(t))), 'trusted matched secured');
	t.is(verdictOf(await visit(t, peer, witness(t, {CAfile: store.path('false-root.cert')}))), '');
});

test.serial('records of DNS are looked at each time', async t => {
	const peer = await honest(t);
	const seen = witness(t);
	const dane = {tls_level: 6, dane: {domain: 'mx.example.com', tlsa: [tlsaOfNobody]}};
	t.is(verdictOf(await visit(t, peer, seen)), 'trusted matched secured');
	t.is(verdictOf(await visit(t, peer, seen, dane)), '');
	t.deepEqual(seen.found, [false]);
});

const tlsaOfNobody = {usage: 3, selector: 1, mtype: 1, data: new Uint8Array(32)};

test.serial('a certificate that expires is not good any longer', async t => {
	const lines = collectLog();
	const LIFE = 5000;
	const end = new Date(Date.now() + LIFE).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
	store.make('brief', {extensions: named, issuer: 'root', notAfter: end});
	const peer = await server(t, 'brief');
	const seen = witness(t);
	t.is(verdictOf(await visit(t, peer, seen)), 'trusted matched secured');
	await delay(LIFE + 1000);
	t.is(verdictOf(await visit(t, peer, seen)), '');
	t.deepEqual(seen.found, [false, false]);
	t.true(lines.some(line => line.includes('certificate has expired')));
});
