/*
 * DANE from end to end: a signed zone, a validating resolver, smtp(8) that looks up TLSA
 * records, and servers that match them or do not.
 */
import {createHash, X509Certificate} from 'node:crypto';
import {mkdirSync, mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {makeCertificates} from '../../postfix/lib/certificates.ts';
import {Sandbox} from '../../postfix/lib/sandbox.ts';
import {Sink} from '../../postfix/lib/sink.ts';
import {Resolver} from '../helpers/resolver.ts';
import {deliveryResults, messages} from '../helpers/sender-and-sink.ts';

const levels = ['dane', 'dane-only'] as const;

/* The TLSA records of each server. `KEY` is the digest of its key, and `CA` that of its CA certificate. */
const hosts: Readonly<Record<string, readonly string[]>> = {
	good: ['3 1 1 KEY'],
	anchor: ['2 0 1 CA'],
	mismatch: ['3 1 1 0000000000000000000000000000000000000000000000000000000000000000'],
	mixed: ['3 1 1 0000000000000000000000000000000000000000000000000000000000000000', '3 1 1 KEY'],
	unusable: ['3 1 99 KEY'],
	none: [],
};

function sha256(bytes: Buffer): string {
	return createHash('sha256').update(bytes).digest('hex');
}

async function outcomes(
	tlsproxy: 'ours' | 'stock',
	resolver: string,
	port: number,
): Promise<readonly string[]> {
	const names = levels.flatMap(level => Object.keys(hosts).map(host => [level, host] as const));
	const routes = names.map(
		([level, host]) => `{ ${host}.${level}.example = ${level}:[${host}.dane.test]:${port} }`,
	);
	await using sandbox = await Sandbox.create({
		tlsproxy,
		resolver,
		services: levels.map(level => `${level} unix - - n - - smtp\n  -o smtp_tls_security_level=${level}`),
		main: {
			smtp_tls_connection_reuse: 'yes',
			smtp_tls_security_level: 'dane',
			smtp_tls_loglevel: '1',
			smtp_dns_support_level: 'dnssec',
			smtp_host_lookup: 'dns',
			transport_maps: `inline:{ ${routes.join(', ')} }`,
		},
	});
	await sandbox.start();
	const all = names.flatMap(([level, host]) => messages(1, () => `u@${host}.${level}.example`));
	const results = await deliveryResults(sandbox, all);
	const summary = /postfix\/tlsproxy\[\d+\]: (\w+) TLS connection established to (\S+)\.dane\.test\[/;
	const sessions = (await sandbox.logLines(summary)).map(
		line => summary.exec(line)?.slice(1).join(' ') ?? '',
	);
	return [...results, ...sessions].toSorted();
}

test.serial('smtp(8) sends and defers by TLSA records as with stock', async t => {
	const directory = mkdtempSync(join(tmpdir(), 'dane-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	mkdirSync(join(directory, 'sink'));
	const tls = await makeCertificates(join(directory, 'sink'), 'anchor.dane.test');
	const [leaf, authority] = [tls.certFile, tls.caFile].map(path => new X509Certificate(readFileSync(path)));
	const key = sha256(leaf?.publicKey.export({type: 'spki', format: 'der'}) ?? Buffer.alloc(0));
	const anchor = sha256(authority?.raw ?? Buffer.alloc(0));
	/* The server must send the trust anchor with its chain. */
	await using sink = await Sink.start({
		hostName: 'anchor.dane.test',
		tls: {certFile: tls.chainFile, keyFile: tls.keyFile},
	});
	await using resolver = await Resolver.start(
		'dane.test.',
		Object.entries(hosts).flatMap(([host, records]) => [
			`${host}.dane.test. 60 IN A 127.0.0.1`,
			...records.map(
				record =>
					`_${sink.port}._tcp.${host}.dane.test. 60 IN TLSA ${record.replace('KEY', key).replace('CA', anchor)}`,
			),
		]),
	);
	const stock = await outcomes('stock', resolver.address, sink.port);
	t.is(stock.filter(line => line.includes('status=sent')).length, 8);
	t.is(stock.filter(line => line.includes('status=deferred')).length, 4);
	t.deepEqual(await outcomes('ours', resolver.address, sink.port), stock);
	t.is((await sink.counts()).clearMessages, 0);
});
