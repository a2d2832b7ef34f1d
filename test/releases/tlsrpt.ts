/*
 * Reports on failed handshakes, RFC 8460: the collector must receive the same datagrams as from
 * stock. Postfix supports them since 3.10, if built with libtlsrpt. The library must work with
 * the permitted system calls of a worker, inside and outside of a chroot jail.
 */
import {chmodSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {WANT_READ} from '../../src/base/io-result.ts';
import {linkedLibtlsrpt} from '../../src/conf/linkage.ts';
import {readConfiguration} from '../../src/conf/postconf.ts';
import {buffer, readStream} from '../../src/event/stream.ts';
import {SOCK_DGRAM} from '../../src/ffi/libc/libc.ts';
import type {ClientStart} from '../../src/wire/client-settings.ts';
import {CaseServers, type ClientRoleCase, runCase} from '../helpers/client-role-cases.ts';
import {Daemon} from '../helpers/daemon.ts';
import {makeLab} from '../helpers/lab.ts';
import {namedSocket} from '../helpers/master.ts';
import {minorRelease} from '../helpers/release.ts';
import {tcpPeer} from '../helpers/remote-servers.ts';

/* The default instance may have no configuration. */
const empty = mkdtempSync(join(tmpdir(), 'main-cf-'));
writeFileSync(join(empty, 'main.cf'), '');
const configuration = await readConfiguration({
	configDirectory: empty,
	overrides: [],
	serviceName: 'tlsproxy',
	processName: 'tlsproxy',
});
rmSync(empty, {recursive: true});
const hasReports = minorRelease() >= 10 && linkedLibtlsrpt(configuration) !== undefined;

const cleanup: Array<() => unknown> = [];
const lab = makeLab();
const peers = new CaseServers({teardown: run => cleanup.push(run)}, lab);
type Where = 'ours' | 'jailed' | 'stock';
const daemons = new Map<Where, Daemon>();
test.before(async () => {
	const main = {max_use: '100000', smtp_tls_CAfile: lab.path('root.cert')};
	daemons.set('ours', await Daemon.start('ours', {main}));
	daemons.set('jailed', await Daemon.start('ours', {main, chroot: 'y'}));
	daemons.set('stock', await Daemon.start('stock', {main}));
});
test.after.always(async () => {
	await Promise.all(cleanup.map(run => run()));
	await Promise.all([...daemons.values()].map(async daemon => await daemon[Symbol.asyncDispose]()));
	lab[Symbol.dispose]();
});

const SOCKET = 'collector';

/** The TLSRPT settings of a request with a policy. */
function wanted(other: Partial<NonNullable<ClientStart['tlsrpt']>> = {}): NonNullable<ClientStart['tlsrpt']> {
	return {
		rpt_socket_name: SOCKET,
		rpt_policy_domain: 'example.com',
		rpt_policy_string: 'v=TLSRPTv1; rua=mailto:reports@example.com',
		tls_policy_type: 1,
		tls_policy_strings: ['3 1 1 aabb'],
		tls_policy_domain: 'mx.example.com',
		mx_host_patterns: ['mx.example.com'],
		snd_mta_addr: '192.0.2.9',
		rcv_mta_name: 'mx.example.com',
		rcv_mta_addr: '127.0.0.1',
		rcv_mta_ehlo: '250-mx.example.com\r\n250 STARTTLS\r\n',
		skip_reused_hs: 1,
		flags: 7,
		...other,
	};
}

/** The datagrams that a collector receives while a function runs. */
async function collected<T>(t: ExecutionContext, daemon: Daemon, run: () => Promise<T>) {
	const path = join(daemon.sandbox.queueDirectory, SOCKET);
	rmSync(path, {force: true});
	const held = namedSocket(t, path, SOCK_DGRAM);
	chmodSync(path, 0o666);
	const outcome = await run();
	const reports: string[] = [];
	for (let size = readStream(held.fd); size !== WANT_READ; size = readStream(held.fd)) {
		reports.push(Buffer.from(buffer.bytes.subarray(0, size)).toString());
	}

	held.close();
	return {outcome, reports};
}

const verify = {level: 'verify', match: ['hostname']} as const;
const good = '3 1 1 sha256(spki good)';
const cases: ReadonlyArray<
	Omit<ClientRoleCase, 'start'> & {readonly code?: number; readonly start?: Partial<ClientStart>}
> = [
	{
		id: 'all records unusable, dane',
		level: 'dane',
		match: ['hostname'],
		server: 'good',
		tlsa: ['3 1 9 hex(aabb)'],
		code: 304,
	},
	{
		id: 'all records unusable, dane-only',
		level: 'dane-only',
		match: ['hostname'],
		server: 'good',
		tlsa: ['3 1 9 hex(aabb)'],
		code: 304,
	},
	{
		id: 'all fingerprints unusable',
		level: 'fingerprint',
		server: 'good',
		tlsa: ['3 1 9 hex(aabb)'],
		code: 205,
	},
	{
		id: 'all trust anchors unusable',
		level: 'secure',
		server: 'good',
		match: ['hostname'],
		tlsa: ['2 1 9 hex(aabb)'],
		code: 205,
	},
	{id: 'expired', ...verify, server: 'expired', code: 204},
	{id: 'self-signed', ...verify, server: 'selfs', code: 205},
	{id: 'unknown issuer', ...verify, server: 'untrusted', code: 205},
	{id: 'not yet valid', ...verify, server: 'future', code: 205},
	{id: 'wrong purpose', ...verify, server: 'clientonly', code: 205},
	{id: 'chain too long', ...verify, server: 'deep3', init: {verifydepth: 0}, code: 205},
	{
		id: 'no protocol in common',
		level: 'may',
		server: 'good',
		protocols: '>=TLSv1.3',
		arguments: '-tls1_2',
		code: 205,
	},
	{
		id: 'no cipher in common',
		level: 'may',
		server: 'good',
		cipher_exclusions: 'ECDHE',
		protocols: '<=TLSv1.2',
		arguments: '-cipher ECDHE',
		code: 205,
	},
	{
		id: 'forced failure',
		...verify,
		server: 'good',
		start: {forced_failure_type: 'sts-policy-fetch-error'},
		code: 301,
	},
	{id: 'good, dane', level: 'dane', match: ['hostname'], server: 'good', tlsa: [good]},
	{id: 'good, verify', ...verify, server: 'good'},
	{
		id: 'no record matches',
		level: 'dane',
		match: ['hostname'],
		server: 'good',
		tlsa: ['3 1 1 sha256(spki goodec)'],
	},
	{id: 'wrong name', ...verify, server: 'wrong'},
	{id: 'untrusted, but that is no matter', level: 'may', server: 'untrusted'},
	{id: 'reported before', ...verify, server: 'expired', start: {tlsrpt: wanted({flags: 15})}},
	{id: 'no policy is set', ...verify, server: 'expired', start: {tlsrpt: wanted({flags: 0})}},
	{id: 'no such socket', ...verify, server: 'expired', start: {tlsrpt: wanted({rpt_socket_name: 'nowhere'})}},
	{
		id: 'another policy, without names',
		...verify,
		server: 'expired',
		start: {
			tlsrpt: wanted({
				tls_policy_type: 9,
				tls_policy_domain: '',
				tls_policy_strings: [],
				mx_host_patterns: [],
				rcv_mta_name: '',
				rcv_mta_ehlo: '',
			}),
		},
		code: 204,
	},
];

function daemonOf(where: Where): Daemon {
	const daemon = daemons.get(where);
	if (daemon === undefined) {
		throw new Error(`no daemon ${where}`);
	}

	return daemon;
}

if (hasReports) {
	for (const {code, start, ...item} of cases) {
		const title = code === undefined ? 'no report' : `a report of ${code}`;
		test.serial(`${item.id}: ${title}`, async t => {
			const full = {...item, start: {tlsrpt: wanted(), ...start}};
			const seen = async (where: Where) => {
				const daemon = daemonOf(where);
				return await collected(t, daemon, async () => await runCase(t, daemon, peers, lab, full));
			};
			const expected = await seen('stock');
			t.deepEqual(await seen('ours'), expected);
			t.deepEqual(await seen('jailed'), expected, 'in a jail');
			t.is(expected.reports.length, code === undefined ? 0 : 1);
			if (code !== undefined) {
				t.true(expected.reports[0]?.includes(`"failure-details":[{"c":${code},`), expected.reports[0]);
			}
		});
	}

	test.serial('the peer disconnects during the handshake: a report of 205', async t => {
		const reports = async (daemon: Daemon) => {
			const port = await tcpPeer(t, client => client.destroy());
			const {outcome, reports: found} = await collected(t, daemon, async () => {
				const session = await daemon.handOff(t, port, {start: {tlsrpt: wanted()}});
				await session.client.rest();
				return await daemon.linesOf(session);
			});
			return {lines: outcome.map(line => line.replaceAll(String(port), 'PORT')), found};
		};
		const expected = await reports(daemonOf('stock'));
		t.deepEqual(await reports(daemonOf('ours')), expected);
		t.deepEqual(await reports(daemonOf('jailed')), expected, 'in a jail');
		t.true(expected.found[0]?.includes('"f": "tls-handshake-failure"'), expected.found[0]);
	});

	test.serial(
		'the reports are from workers with a system call filter, inside and outside of a chroot jail',
		t => {
			const SECCOMP_MODE_FILTER = 2;
			for (const where of ['ours', 'jailed'] as const) {
				const {pid, sandbox} = daemonOf(where);
				const status = readFileSync(`/proc/${pid}/status`, 'utf8');
				t.is(Number(/^Seccomp:\s+(\d)$/m.exec(status)?.[1]), SECCOMP_MODE_FILTER);
				t.is(readlinkSync(`/proc/${pid}/root`), where === 'jailed' ? sandbox.queueDirectory : '/');
			}
		},
	);
} else {
	test.serial('without libtlsrpt a request has no TLSRPT settings, and is served', async t => {
		for (const where of ['ours', 'jailed', 'stock'] as const) {
			const daemon = daemonOf(where);
			const [, settings] = daemon.messages('[127.0.0.1]:25');
			t.false(Buffer.from(settings).includes('tlsrpt'));
			const {status} = await runCase(t, daemon, peers, lab, {id: 'plain', ...verify, server: 'good'});
			t.is(status, 1);
		}
	});
}
