/*
 * Failures that smtp(8) asks for because of a policy (3.10): the peer must not be
 * trusted, whatever it has to show, and the log says for what reason.
 */
import test from 'ava';
import {Daemon, type Which} from '../helpers/daemon.ts';
import {type Case, Peers, put} from '../helpers/differential.ts';
import {makeLab} from '../helpers/lab.ts';
import {minorRelease} from '../helpers/release.ts';

const known = minorRelease() >= 10;

const cleanup: Array<() => unknown> = [];
const lab = makeLab();
const peers = new Peers({teardown: run => cleanup.push(run)}, lab);

async function start(which: Which, main: Readonly<Record<string, string>> = {}): Promise<Daemon> {
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
const policies: readonly Case[] = [
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
			/* Releases that have no such thing do not send it. */
			const item = {...policy, start: {forced_failure_type: type}};
			const expected = await put(t, stock, peers, lab, item);
			t.deepEqual(await put(t, ours, peers, lab, item), expected);
			const told = expected.lines.some(line => line.endsWith(`: external policy failure (${type})`));
			t.is(told, known && policy.id !== 'encrypt');
			if (known) {
				t.is(expected.report?.peer_status, CERTIFICATE);
			}
		});
	}
}

/*
 * That a failure was asked for is not in the name of a session. Stock resumes such a
 * session for the next delivery, which has to be deferred then.
 */
test.serial('a failure that is asked for once is not remembered', async t => {
	const item: Case = {
		id: 'once',
		level: 'verify',
		match: ['hostname'],
		server: 'good',
		init: {log_level: 'summary,cache'},
	};
	const forced: Case = {...item, start: {forced_failure_type: 'sts-policy-invalid'}};
	const statuses: unknown[] = [];
	for (const one of [forced, item, forced, item]) {
		statuses.push((await put(t, keeping, peers, lab, one)).report?.peer_status);
	}

	const first = known ? CERTIFICATE : statuses[1];
	t.deepEqual(statuses, [first, statuses[1], first, statuses[1]]);
	t.not(statuses[1], CERTIFICATE);
	const lines = await keeping.lines();
	t.true(lines.some(line => line.startsWith('reloaded session smtp&once&')));
});
