/*
 * smtp(8) sends or defers mail by the result of verification. Each security level is tried
 * with a server that satisfies it and with one that does not, with either program.
 */
import {X509Certificate} from 'node:crypto';
import {chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {type Certificates, makeCertificates} from '../../postfix/lib/certificates.ts';
import {Sandbox} from '../../postfix/lib/sandbox.ts';
import {Sink} from '../../postfix/lib/sink.ts';
import {deliveryResults, messages} from '../helpers/sender-and-sink.ts';

const levels = ['may', 'encrypt', 'fingerprint', 'verify', 'secure'] as const;
const servers = ['good', 'bad'] as const;

interface Site {
	readonly certificates: Certificates;
	readonly sink: Sink;
}

/** The result of each delivery as logged by smtp(8), by recipient, without values that differ from run to run. */
async function outcomes(
	tlsproxy: 'ours' | 'stock',
	sites: Readonly<Record<(typeof servers)[number], Site>>,
): Promise<readonly string[]> {
	const fingerprint = new X509Certificate(readFileSync(sites.good.certificates.certFile)).fingerprint256;
	const services = levels.map(level =>
		[
			`${level} unix - - n - - smtp`,
			`  -o smtp_tls_security_level=${level}`,
			`  -o smtp_tls_fingerprint_cert_match=${fingerprint}`,
			'  -o smtp_tls_secure_cert_match=nexthop',
			`  -o smtp_tls_CAfile=${sites.good.certificates.caFile}`,
		].join('\n'),
	);
	const routes = levels.flatMap(level =>
		servers.map(server => `{ ${level}.${server}.example = ${level}:[localhost]:${sites[server].sink.port} }`),
	);
	await using sandbox = await Sandbox.create({
		tlsproxy,
		services,
		main: {
			smtp_tls_connection_reuse: 'yes',
			smtp_tls_security_level: 'may',
			smtp_tls_loglevel: '1',
			/* Older releases have another default. */
			smtp_tls_fingerprint_digest: 'sha256',
			smtp_host_lookup: 'native',
			smtp_tls_CAfile: sites.good.certificates.caFile,
			transport_maps: `inline:{ ${routes.join(', ')} }`,
		},
	});
	await sandbox.start();
	const domains = levels.flatMap(level => servers.map(server => `${level}.${server}.example`));
	return await delivered(sandbox, domains);
}

/* Sends a message to each domain. */
async function delivered(sandbox: Sandbox, domains: readonly string[]): Promise<readonly string[]> {
	const all = domains.flatMap(domain => messages(1, () => `u@${domain}`));
	return (await deliveryResults(sandbox, all)).toSorted();
}

test.serial('smtp(8) sends and defers as with stock, for the same reasons', async t => {
	const directory = mkdtempSync(join(tmpdir(), 'verdicts-'));
	chmodSync(directory, 0o755);
	t.teardown(() => rmSync(directory, {recursive: true}));
	const site = async (name: string, hostName: string): Promise<Site> => {
		const place = join(directory, name);
		mkdirSync(place, {mode: 0o755});
		const certificates = await makeCertificates(place, hostName);
		return {certificates, sink: await Sink.start({hostName, tls: certificates})};
	};
	const sites = {good: await site('good', 'localhost'), bad: await site('bad', 'other.example')};
	t.teardown(async () => {
		await Promise.all([sites.good.sink.stop(), sites.bad.sink.stop()]);
	});
	const stock = await outcomes('stock', sites);
	t.is(stock.filter(line => line.includes('status=sent')).length, 7);
	t.is(stock.filter(line => line.includes('status=deferred')).length, 3);
	t.deepEqual(await outcomes('ours', sites), stock);
	t.is((await sites.bad.sink.counts()).clearMessages + (await sites.good.sink.counts()).clearMessages, 0);
});

test.serial('smtp(8) defers at secure with an empty match list as with stock', async t => {
	const directory = mkdtempSync(join(tmpdir(), 'verdicts-'));
	chmodSync(directory, 0o755);
	t.teardown(() => rmSync(directory, {recursive: true}));
	const certificates = await makeCertificates(directory, 'localhost');
	const sink = await Sink.start({hostName: 'localhost', tls: certificates});
	t.teardown(async () => await sink.stop());
	const deliver = async (tlsproxy: 'ours' | 'stock'): Promise<readonly string[]> => {
		await using sandbox = await Sandbox.create({
			tlsproxy,
			main: {
				smtp_tls_connection_reuse: 'yes',
				smtp_tls_security_level: 'may',
				smtp_host_lookup: 'native',
				smtp_tls_CAfile: certificates.caFile,
				smtp_tls_policy_maps: `inline:{ { [localhost]:${sink.port} = secure match=: } }`,
				transport_maps: `inline:{ { good.example = smtp:[localhost]:${sink.port} } }`,
			},
		});
		await sandbox.start();
		return await delivered(sandbox, ['good.example']);
	};
	const stock = await deliver('stock');
	t.regex(stock.join('\n'), /status=deferred/);
	t.deepEqual(await deliver('ours'), stock);
	const {clearMessages, encryptedMessages} = await sink.counts();
	t.is(clearMessages + encryptedMessages, 0);
});
