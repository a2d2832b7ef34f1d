/*
 * Failures that smtp(8) requests because of an external policy (3.10): the peer must not be
 * trusted with any certificate, and the log has the reason.
 */
import test from 'ava';
import {CaseServers, type ClientRoleCase, runCase} from '../helpers/client-role-cases.ts';
import {Daemon, type Program} from '../helpers/daemon.ts';
import {makeLab} from '../helpers/lab.ts';
import {minorRelease} from '../helpers/release.ts';

const known = minorRelease() >= 10;

const cleanup: Array<() => unknown> = [];
const lab = makeLab();
const peers = new CaseServers({teardown: run => cleanup.push(run)}, lab);

async function start(which: Program, main: Readonly<Record<string, string>> = {}): Promise<Daemon> {
	return await Daemon.start(which, {
		main: {max_use: '100000', smtp_tls_CAfile: lab.path('root.cert'), ...main},
	});
}

let ours: Daemon;
let stock: Daemon;
let keeping: Daemon;
test.before(async () => {
	[ours, stock, keeping] = await Promise.all([
		start('ours'),
		start('stock'),
		start('ours', {
			smtp_tls_session_cache_database: 'btree:${data_directory}/smtp_scache',
			smtp_tls_loglevel: 'summary,cache',
		}),
	]);
});
test.after.always(async () => {
	await Promise.all(cleanup.map(run => run()));
	await Promise.all([ours, stock, keeping].map(async daemon => await daemon[Symbol.asyncDispose]()));
	lab[Symbol.dispose]();
});

const CERTIFICATE = 1;
const good = '3 1 1 sha256(spki good)';
const policies: readonly ClientRoleCase[] = [
	{id: 'encrypt', level: 'encrypt', server: 'good'},
	{id: 'verify', level: 'verify', match: ['hostname'], server: 'good'},
	{id: 'secure', level: 'secure', match: ['hostname'], server: 'good'},
	{id: 'dane', level: 'dane', match: ['hostname'], server: 'good', tlsa: [good]},
	{id: 'untrusted', level: 'verify', match: ['hostname'], server: 'untrusted'},
];
for (const policy of policies) {
	for (const type of [
		'sts-policy-fetch-error',
		'sts-policy-invalid',
		'sts-webpki-invalid',
		'validation-failure',
	]) {
		test.serial(`${policy.id}, ${type}${known ? '' : ', which is not sent'}: as with stock`, async t => {
			/* Older releases do not send it. */
			const item = {...policy, start: {forced_failure_type: type}};
			const expected = await runCase(t, stock, peers, lab, item);
			t.deepEqual(await runCase(t, ours, peers, lab, item), expected);
			const logged = expected.lines.some(line => line.endsWith(`: external policy failure (${type})`));
			t.is(logged, known && policy.id !== 'encrypt');
			if (known) {
				t.is(expected.report?.peer_status, CERTIFICATE);
			}
		});
	}
}

/*
 * The cache key of a session does not contain the requested failure. Stock resumes such a
 * session for the next delivery, which is then deferred.
 */
test.serial('a requested failure does not affect the next connection', async t => {
	const item: ClientRoleCase = {
		id: 'once',
		level: 'verify',
		match: ['hostname'],
		server: 'good',
		init: {log_level: 'summary,cache'},
	};
	const forced: ClientRoleCase = {...item, start: {forced_failure_type: 'sts-policy-invalid'}};
	const statuses: unknown[] = [];
	for (const one of [forced, item, forced, item]) {
		statuses.push((await runCase(t, keeping, peers, lab, one)).report?.peer_status);
	}

	const first = known ? CERTIFICATE : statuses[1];
	t.deepEqual(statuses, [first, statuses[1], first, statuses[1]]);
	t.not(statuses[1], CERTIFICATE);
	const lines = await keeping.lines();
	t.true(lines.some(line => line.startsWith('reloaded session smtp&once&')));
});
