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
	CertificateStore,
	clientContextFor,
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

function server(t: ExecutionContext, name: string, ...args: readonly string[]): Promise<PeerServer> {
	return sServer(t, '-cert', store.path(`${name}.cert`), '-key', store.path(`${name}.key`), ...args);
}

function validServer(t: ExecutionContext): Promise<PeerServer> {
	return server(t, 'leaf', '-cert_chain', store.path('middle.cert'));
}

interface ObservedContext {
	readonly context: ClientContext;
	/** For each lookup, whether the chain was found. */
	readonly found: boolean[];
	/** Chains that were stored. */
	readonly stored: VerifiedChain[];
}

/** A context that trusts the root, with a record of the accesses to its cache. */
function observedContext(
	t: ExecutionContext,
	init: Parameters<typeof clientContextFor>[1] = {},
): ObservedContext {
	const context = clientContextFor(t, {CAfile: store.path('root.cert'), ...init});
	const {verifiedChains: cache} = context;
	const found: boolean[] = [];
	const stored: VerifiedChain[] = [];
	const [find, add] = [cache.find.bind(cache), cache.store.bind(cache)];
	cache.find = (key, now) => {
		const chain = find(key, now);
		found.push(chain !== undefined);
		return chain;
	};
	cache.store = (key, chain, now, expires) => {
		stored.push(chain);
		add(key, chain, now, expires);
	};
	return {context, found, stored};
}

/** The report of one handshake. */
async function visit(
	t: ExecutionContext,
	{port}: PeerServer,
	{context}: ObservedContext,
	start: Partial<ClientStart> = {},
): Promise<HandshakeReport> {
	const connection = await connectedTo(t, port, context, {
		tls_level: SECURE,
		matchargv: ['hostname'],
		...start,
	});
	const report = connection.report();
	/* openssl(1) serves one connection at a time. */
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
		.map(([, name]) => name)
		.join(' ');

test('a chain is found until its first certificate expires, or for an hour', t => {
	const cache = new VerifiedChainCache();
	const chain = {peername: 'mx'};
	cache.store('a', chain, 1000, 5000);
	t.is(cache.find('a', 1000), chain);
	t.is(cache.find('b', 1000), undefined);
	t.is(cache.find('a', 4999), chain);
	t.is(cache.find('a', 5000), undefined);
	cache.store('c', chain, 0, Infinity);
	t.is(cache.find('c', HOUR - 1), chain);
	t.is(cache.find('c', HOUR), undefined);
});

test('a clock that is set back drops the entry', t => {
	const cache = new VerifiedChainCache();
	cache.store('a', {peername: undefined}, 1000, 5000);
	t.is(cache.find('a', 999), undefined);
	t.is(cache.find('a', 1000), undefined);
});

test('a certificate without a remaining lifetime is not cached', t => {
	const cache = new VerifiedChainCache();
	cache.store('a', {peername: undefined}, 1000, 0);
	t.is(cache.find('a', 1000), undefined);
});

test('the cache has at most 500 entries and drops the least recently used one', t => {
	const cache = new VerifiedChainCache();
	for (let index = 0; index < 501; index++) {
		cache.store(String(index), {peername: String(index)}, 0, HOUR);
	}

	t.is(cache.find('0', 1), undefined);
	t.deepEqual(cache.find('1', 1), {peername: '1'});
	t.deepEqual(cache.find('500', 1), {peername: '500'});
});

test.serial('a verified chain is found again, with the same report and log lines', async t => {
	const lines = collectLog();
	const peer = await validServer(t);
	const seen = observedContext(t, {log_level: '1'});
	const first = await visit(t, peer, seen);
	const firstLines = lines.splice(0);
	const second = await visit(t, peer, seen);
	t.deepEqual(seen.found, [false, true]);
	t.deepEqual(seen.stored, [{peername: 'mx.example.com'}]);
	t.is(verdictOf(first), 'trusted matched secured');
	t.deepEqual(second, first);
	t.deepEqual(lines, firstLines);
});

test.serial('the matched name is logged for a cached chain, too', async t => {
	const lines = collectLog();
	const peer = await validServer(t);
	const seen = observedContext(t, {log_level: 'certmatch'});
	await visit(t, peer, seen, {log_level: 'certmatch'});
	const firstLines = lines.splice(0);
	await visit(t, peer, seen, {log_level: 'certmatch'});
	t.deepEqual(seen.found, [false, true]);
	t.true(firstLines.some(line => line.includes('matched peername: mx.example.com')));
	t.deepEqual(lines, firstLines);
});

test.serial('a chain is verified each time when every certificate is logged', async t => {
	const lines = collectLog();
	const peer = await validServer(t);
	const seen = observedContext(t, {log_level: '2'});
	await visit(t, peer, seen);
	await visit(t, peer, seen);
	t.deepEqual(seen.found, []);
	t.is(lines.filter(line => line.includes('verify=1')).length, 2 * 3);
});

test.serial('a chain that was verified for one name is not found for another', async t => {
	const peer = await validServer(t);
	const seen = observedContext(t);
	t.is(verdictOf(await visit(t, peer, seen)), 'trusted matched secured');
	const wrong = {matchargv: ['wrong.example.com']};
	t.is(verdictOf(await visit(t, peer, seen, wrong)), '');
	t.is(verdictOf(await visit(t, peer, seen, wrong)), '');
	t.is(verdictOf(await visit(t, peer, seen, {matchargv: ['other.example.com']})), 'trusted matched secured');
	t.deepEqual(seen.found, [false, false, false, false]);
	t.is(seen.stored.length, 2);
});

test.serial('a chain that was verified without a name is not found with one', async t => {
	const peer = await validServer(t);
	const seen = observedContext(t);
	const may = {tls_level: MAY, matchargv: []};
	t.is(verdictOf(await visit(t, peer, seen, may)), 'trusted');
	t.is(verdictOf(await visit(t, peer, seen, {matchargv: ['wrong.example.com']})), '');
	t.is(verdictOf(await visit(t, peer, seen, may)), 'trusted');
	t.deepEqual(seen.found, [false, false, true]);
});

test.serial('a chain of other certificates with the same names is not found', async t => {
	const [peer, impostor] = [await validServer(t), await server(t, 'false-leaf')];
	const seen = observedContext(t);
	t.is(verdictOf(await visit(t, peer, seen)), 'trusted matched secured');
	t.is(verdictOf(await visit(t, impostor, seen)), '');
	t.is(verdictOf(await visit(t, impostor, seen)), '');
	t.deepEqual(seen.found, [false, false, false]);
	t.is(seen.stored.length, 1);
});

test.serial('the same certificate in another chain is verified again', async t => {
	const [peer, alone] = [await validServer(t), await server(t, 'leaf')];
	const seen = observedContext(t);
	t.is(verdictOf(await visit(t, peer, seen)), 'trusted matched secured');
	t.is(verdictOf(await visit(t, alone, seen)), '');
	t.deepEqual(seen.found, [false, false]);
});

test.serial('contexts do not share verified chains', async t => {
	const peer = await validServer(t);
	t.is(verdictOf(await visit(t, peer, observedContext(t))), 'trusted matched secured');
	t.is(verdictOf(await visit(t, peer, observedContext(t, {CAfile: store.path('false-root.cert')}))), '');
});

test.serial('TLSA records are checked each time', async t => {
	const peer = await validServer(t);
	const seen = observedContext(t);
	const dane = {tls_level: 6, dane: {domain: 'mx.example.com', tlsa: [mismatchedTlsa]}};
	t.is(verdictOf(await visit(t, peer, seen)), 'trusted matched secured');
	t.is(verdictOf(await visit(t, peer, seen, dane)), '');
	t.deepEqual(seen.found, [false]);
});

const mismatchedTlsa = {usage: 3, selector: 1, mtype: 1, data: new Uint8Array(32)};

test.serial('an expired certificate is rejected although its chain was cached', async t => {
	const lines = collectLog();
	/* On a slow machine a certificate may expire before the first connection: the next one lives longer. */
	for (const life of [5000, 20_000, 60_000]) {
		const end = Math.floor(Date.now() / 1000) * 1000 + life;
		const notAfter = new Date(end).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
		store.make(`brief-${life}`, {extensions: named, issuer: 'root', notAfter});
		const peer = await server(t, `brief-${life}`);
		const seen = observedContext(t);
		const first = verdictOf(await visit(t, peer, seen));
		if (Date.now() >= end) {
			continue;
		}

		t.is(first, 'trusted matched secured');
		t.is(seen.stored.length, 1);
		await delay(end + 2000 - Date.now());
		lines.length = 0;
		t.is(verdictOf(await visit(t, peer, seen)), '');
		t.deepEqual(seen.found, [false, false]);
		t.true(lines.some(line => line.includes('certificate has expired')));
		return;
	}

	t.fail('every certificate has expired before its first connection');
});
