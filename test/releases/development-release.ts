/*
 * New features in requests of Postfix 3.12, which is in development and not in Debian. The
 * program runs with its mail_version, and gets recorded requests; expected results are those
 * of 3.12-20260821. If that release is installed, its tlsproxy(8) gets the same requests.
 */

import test, {type ExecutionContext} from 'ava';
import {mailVersion} from '../../postfix/lib/instance.ts';
import type {Seconds} from '../../src/base/units.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {CaseServers, type ClientRoleCase, runCase} from '../helpers/client-role-cases.ts';
import {Daemon, statusOf} from '../helpers/daemon.ts';
import {makeLab} from '../helpers/lab.ts';
import {type ServerRoleCase, visitService} from '../helpers/server-role-cases.ts';
import {printRequest} from '../helpers/wire.ts';

const installed = releaseFeatures(mailVersion());
const isInstalled = installed.format === '3.12';
const release = isInstalled ? installed.release : '3.12-20260821';
/* The groups of requests that were recorded with a newer OpenSSL. */
const groups = {tls_eecdh_auto_curves: 'X25519 prime256v1', tls_ffdhe_auto_groups: ''};

const cleanup: Array<() => unknown> = [];
const lab = makeLab();
lab.write('sni', `one.example.org ${lab.path('ed.pem')}\n`);
const peers = new CaseServers({teardown: run => cleanup.push(run)}, lab);

const services: Readonly<Record<string, Readonly<Record<string, string>>>> = {
	trusting: {tls_trust_server_ccerts: 'yes'},
	off: {tlsproxy_tls_security_level: 'none', tlsproxy_client_security_level: 'none'},
	bare: {tlsproxy_tls_chain_files: ''},
};
const main = {
	max_use: '100000',
	smtp_tls_CAfile: lab.path('root.cert'),
	smtpd_tls_security_level: 'may',
	smtpd_tls_chain_files: lab.path('good.pem'),
	smtpd_tls_CAfile: lab.path('root.cert'),
	smtpd_tls_ask_ccert: 'yes',
	smtpd_tls_loglevel: '1',
	tls_server_sni_maps: `inline:{one.example.org=${lab.path('ed.pem')}}`,
	tls_eecdh_auto_curves: groups.tls_eecdh_auto_curves,
	tls_ffdhe_auto_groups: '',
};

const daemons: Daemon[] = [];

test.before(async () => {
	const options = {main: {...main, mail_version: release}, copies: services};
	daemons.push(await Daemon.start('ours', options, release));
	if (isInstalled) {
		daemons.push(await Daemon.start('stock', {main, copies: services}));
	}
});
test.after.always(async () => {
	await Promise.all(cleanup.map(run => run()));
	await Promise.all(daemons.map(async daemon => await daemon[Symbol.asyncDispose]()));
	lab[Symbol.dispose]();
});

/* Results with this program, and with stock if it is installed. They must be equal. */
async function same<T>(t: ExecutionContext, see: (daemon: Daemon) => Promise<T>): Promise<T> {
	const [ours, ...others] = await daemons.reduce(
		async (before, daemon) => [...(await before), await see(daemon)],
		Promise.resolve<readonly T[]>([]),
	);
	if (ours === undefined) {
		throw new Error('no daemon');
	}

	for (const other of others) {
		t.deepEqual(ours, other);
	}

	return ours;
}

async function visitOf(t: ExecutionContext, item: ServerRoleCase, service = 'tlsproxy') {
	const full = {...item, settings: services[service] ?? {}};
	return await same(t, async daemon => {
		const visited = await visitService(t, daemon, lab, full, service);
		/* Lines about the start of a process, or about a shared SSL_CTX. */
		const first = visited.lines.findIndex(line => line.startsWith('CONNECT '));
		const lines = visited.lines
			.slice(first)
			.filter(line => !line.startsWith('initializing ') && !noTrace.test(line));
		return {...visited, lines};
	});
}

/* Stock would write a trace file. */
const noTrace = /^warning: smtpd?_tls_loglevel: ignoring "trace" log level: /;

const established = (lines: readonly string[]) =>
	lines.filter(line => line.includes(' TLS connection established '));

/* Client certificates. */

const CERTIFICATE = 1;
const TRUSTED = 4;
for (const [name, service, status] of [
	['client', 'tlsproxy', CERTIFICATE | TRUSTED],
	['client', 'trusting', CERTIFICATE | TRUSTED],
	['good', 'tlsproxy', CERTIFICATE],
	['good', 'trusting', CERTIFICATE | TRUSTED],
	['expired', 'trusting', CERTIFICATE],
	['untrusted', 'trusting', CERTIFICATE],
	['codeeku', 'trusting', CERTIFICATE],
] as const) {
	const verdict = status === CERTIFICATE ? 'not trusted' : 'trusted';
	test.serial(`a client with the certificate ${name} is ${verdict} by ${service}`, async t => {
		const chain = lab.read(`${name}.chain`) === '' ? '' : ` -cert_chain %${name}.chain`;
		const client = `-cert %${name}.cert -key %${name}.key${chain}`;
		const {report, lines} = await visitOf(t, {id: name, client}, service);
		t.is(report?.peer_status, status);
		t.true(established(lines)[0]?.startsWith(status === CERTIFICATE ? 'Untrusted ' : 'Trusted '));
	});
}

/* Log levels of one connection. */

const steps = (lines: readonly string[]) => lines.filter(line => line.startsWith('SSL_accept:')).length;

for (const [level, count] of [
	['0', 0],
	['1', 1],
	['trace', 0],
	['trace,summary', 1],
	['nonsense', 0],
] as const) {
	test.serial(`at log level ${level} a connection from a client logs ${count} lines`, async t => {
		const start = {log_param: 'smtpd_tls_loglevel', log_level: level};
		const {lines} = await visitOf(t, {id: level, client: '', start});
		t.is(established(lines).length, count);
		const warning = 'warning: unknown smtpd_tls_loglevel value "nonsense" in "nonsense"';
		t.is(lines.includes(warning), level === 'nonsense');
	});

	test.serial(`at log level ${level} a connection to a server logs ${count} lines`, async t => {
		const item: ClientRoleCase = {
			id: `level-${level}`,
			level: 'may',
			server: 'good',
			params: groups,
			start: {log_param: 'smtp_tls_loglevel', log_level: level, trace_size_limit: 0},
		};
		const {lines} = await same(t, async daemon => {
			const outcome = await runCase(t, daemon, peers, lab, item);
			return {...outcome, lines: outcome.lines.filter(line => !noTrace.test(line))};
		});
		t.is(established(lines).length, count);
		const warning = 'warning: unknown smtp_tls_loglevel value "nonsense" in "nonsense"';
		t.is(lines.includes(warning), level === 'nonsense');
	});
}

test.serial('one connection logs every step, and the next with the same SSL_CTX does not', async t => {
	const see = async (level: string) => {
		const start = {log_param: 'smtpd_tls_loglevel', log_level: level};
		return (await visitOf(t, {id: `steps-${level}`, client: '-tls1_3', start})).lines;
	};
	t.true(steps(await see('2')) > 3);
	t.is(steps(await see('1')), 0);
	t.true(steps(await see('ssl-debug')) > 3);
});

/* Server names. */

test.serial('a server name without a chain is reported', async t => {
	const {lines} = await visitOf(t, {id: 'other', client: '-servername other.example.net'});
	t.true(lines.includes('TLS SNI other.example.net from [PEER] not matched, using default chain'));
	t.true(established(lines)[0]?.includes(' from [PEER] to other.example.net: '));
});

test.serial('a server name with a chain selects it', async t => {
	const {report, lines} = await visitOf(t, {id: 'one', client: '-tls1_3 -servername one.example.org'});
	t.is(report?.srvr_signature, 'ED25519');
	t.true(established(lines)[0]?.includes(' from [PEER] to one.example.org: '));
});

test.serial('an invalid server name is ignored', async t => {
	const {lines} = await visitOf(t, {id: 'none', client: '-servername -bad-.example.org'});
	t.true(lines.includes('warning: TLS SNI from [PEER] is invalid: -bad-.example.org'));
	t.true(established(lines)[0]?.includes(' from [PEER]: '));
});

/* Roles. */

async function probed(t: ExecutionContext, daemon: Daemon, role: 'client' | 'server', service: string) {
	const known = (await daemon.lines()).length;
	const client = await daemon.greeted(t, service);
	const remoteEndpoint = '[192.0.2.1]:25';
	await client.send(
		printRequest(
			{
				remoteEndpoint,
				role,
				sendContext: false,
				probeOnly: true,
				handshakeTimeout: 10 as Seconds,
				sessionTimeout: 30 as Seconds,
				serverId: 'probe',
			},
			daemon.features,
		),
	);
	const status = statusOf(await client.list());
	client.socket.end();
	const rest = String(await client.rest());
	const since = async () => (await daemon.lines()).slice(known);
	t.true(await daemon.sandbox.waitFor(async () => (await since()).includes(`DISCONNECT ${remoteEndpoint}`)));
	const lines = await since();
	return {status, rest, lines: lines.slice(lines.findIndex(line => line.startsWith('CONNECT ')))};
}

for (const [service, client, server] of [
	['tlsproxy', 1, 1],
	['off', 0, 0],
	['bare', 1, 0],
] as const) {
	for (const [role, status] of Object.entries({client, server})) {
		test.serial(`a probe for the ${role} role of ${service} gets status ${status}`, async t => {
			const seen = await same(
				t,
				async daemon => await probed(t, daemon, role as 'client' | 'server', service),
			);
			t.is(seen.status, status);
			t.is(seen.rest, '');
			t.deepEqual(seen.lines, [
				`CONNECT ${role === 'client' ? 'to' : 'from'} [192.0.2.1]:25`,
				'DISCONNECT [192.0.2.1]:25',
			]);
		});
	}
}

for (const service of ['off', 'bare']) {
	test.serial(`${service} refuses a request for the server role`, async t => {
		const {status, lines} = await visitOf(t, {id: service, client: ''}, service);
		t.is(status, 0);
		t.deepEqual(
			lines.filter(line => !line.includes('TLS server role is disabled by configuration')),
			['CONNECT from [PEER]', 'DISCONNECT [PEER]'],
		);
	});
}
