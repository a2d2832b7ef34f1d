/*
 * The differential suite of the client role: status, report, log lines, and the output of the
 * server must be those of stock.
 */
import {readFileSync} from 'node:fs';
import test from 'ava';
import {mailVersion} from '../../postfix/lib/instance.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {CaseServers, type ClientRoleCase, runCase} from '../helpers/client-role-cases.ts';
import {Daemon} from '../helpers/daemon.ts';
import {makeLab} from '../helpers/lab.ts';

const cases = JSON.parse(
	readFileSync(new URL('../fixtures/client-role.json', import.meta.url), 'utf8'),
) as readonly ClientRoleCase[];

const cleanup: Array<() => unknown> = [];
const lab = makeLab();
const peers = new CaseServers({teardown: run => cleanup.push(run)}, lab);

let ours: Daemon;
let stock: Daemon;
test.before(async () => {
	const main = {
		max_use: '100000',
		smtp_tls_CAfile: lab.path('root.cert'),
		/* Older releases have another default. */
		smtp_tls_fingerprint_digest: 'sha256',
		smtp_tls_session_cache_database: 'btree:${data_directory}/smtp_scache',
	};
	[ours, stock] = await Promise.all([Daemon.start('ours', {main}), Daemon.start('stock', {main})]);
});
test.after.always(async () => {
	await Promise.all(cleanup.map(run => run()));
	await Promise.all([ours[Symbol.asyncDispose](), stock[Symbol.asyncDispose]()]);
	lab[Symbol.dispose]();
});

/* Intended differences, with reason and expected values. */
interface Difference {
	readonly reason: string;
	readonly status: number;
	/** Peer status, if there is a report. */
	readonly peerStatus?: number;
	/** All warnings. */
	readonly warnings: readonly string[];
}

const PEER = 'mx.example.com[127.0.0.1]:25';
const crash = 'stock dies of it, with all its sessions';
const noBlock = (level: number): Difference => ({
	reason: crash,
	status: 0,
	warnings: [`warning: ${PEER}: no TLSA records at TLS security level ${level}`],
});
const noData = (peerStatus: number, ...warnings: readonly string[]): Difference => ({
	reason: crash,
	status: 1,
	peerStatus,
	warnings: [`warning: ${PEER}: unusable TLSA RR: 3 1 1 ...`, ...warnings],
});
const noFingerprints: Difference = {
	reason: 'stock verifies a peer without a fingerprint when any authority vouches for any name',
	status: 0,
	warnings: [`warning: ${PEER}: no fingerprints at TLS security level fingerprint`],
};
const fallback = `warning: ${PEER}: all TLSA records unusable, fallback to unauthenticated TLS`;

/* Since 3.6, when OpenSSL verifies certificates. */
const modernDifferences: Readonly<Record<string, Difference>> = {
	'A-secure-nomatchlist': {
		reason: crash,
		status: 1,
		warnings: [`warning: ${PEER}: no match names at TLS security level secure`],
	},
	'Z-half-dane': noBlock(4),
	'Z-dane': noBlock(5),
	'Z-dane-only': noBlock(6),
	'Z-fingerprint-nodata': noData(1, `warning: ${PEER}: all fingerprints unusable`),
	'Z-half-dane-nodata': noData(5, fallback),
	'Z-dane-nodata': noData(5, fallback),
	'Z-dane-only-nodata': noData(1, `warning: ${PEER}: all TLSA records unusable`),
	'Z-fingerprint': noFingerprints,
	'E-fingerprint': noFingerprints,
	'E-fingerprint-wrong': noFingerprints,
};

const fewerLines =
	'stock makes another context for requests with records, and logs that; its verification code logs more about chains';
/* Before 3.6: as before, except for the lines of debug log levels. */
const legacyLines: Readonly<Record<string, string>> = Object.fromEntries(
	[
		...['2', '3', '4', 'debug', 'bogus', 'dane,summary', 'verbose,peercert'].map(level => `L-dane-${level}`),
		'D-200-root',
		'D-210-root',
		'T-root',
	].map(id => [id, fewerLines]),
);
const legacyDifferences: Readonly<Record<string, Difference>> = {
	'A-secure-nomatchlist': {
		reason: 'a chain that is trusted, and no name that could match',
		status: 1,
		peerStatus: 7,
		warnings: [],
	},
	'D-201-leaf-selfs': {
		reason: 'a certificate is not the CA of itself, as in later releases',
		status: 1,
		peerStatus: 1,
		warnings: [],
	},
	'Z-half-dane': noBlock(4),
	'Z-dane': noBlock(5),
	'Z-dane-only': noBlock(6),
};
const legacy = releaseFeatures(mailVersion()).legacyVerification;
const differences = legacy ? legacyDifferences : modernDifferences;

/* With OpenSSL 1.1.1 a server cannot be limited to this group. */
const impossible = legacy ? ['X-ffdhe2048'] : [];

for (const item of cases.filter(({id}) => !impossible.includes(id))) {
	const difference = differences[item.id];
	const title = `${item.id}: ${item.level}, server ${item.server}`;
	if (difference === undefined) {
		test.serial(title, async t => {
			const wanted = await runCase(t, stock, peers, lab, item);
			const found = await runCase(t, ours, peers, lab, item);
			const lines = legacy && legacyLines[item.id] !== undefined ? wanted.lines : found.lines;
			t.deepEqual({...found, lines}, wanted);
		});
	} else {
		const {reason, status, peerStatus, warnings} = difference;
		test.serial(`${title} - ${reason}`, async t => {
			const {pid} = ours;
			const outcome = await runCase(t, ours, peers, lab, item);
			t.is(outcome.status, status);
			t.is(outcome.report?.peer_status, peerStatus);
			t.deepEqual(
				outcome.lines.filter(line => line.startsWith('warning: ')),
				warnings,
			);
			t.is(ours.pid, pid);
		});
	}
}

test('every difference has a case', t => {
	const ids = new Set(cases.map(({id}) => id));
	t.deepEqual(
		Object.keys(differences).filter(id => !ids.has(id)),
		[],
	);
});
