/*
 * Compares deliveries by smtp(8) without TLS connection reuse, with reuse by stock
 * tlsproxy(8), and with reuse by this program. See `--help`.
 */
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {type Certificates, makeCertificates} from '../../postfix/lib/certificates.ts';
import {removeOnSignal} from '../../postfix/lib/interruption.ts';
import {freePort, Sandbox} from '../../postfix/lib/sandbox.ts';
import {SINK_NAME} from '../helpers/sender-and-sink.ts';
import {combinations, type Selection, variants} from './lib/combinations.ts';
import {type ComparisonOptions, measure, type Outcome} from './lib/comparison.ts';
import {type Baseline, reportOf} from './lib/comparison-report.ts';
import {Receiver} from './lib/receiver.ts';
import {connectionSpeed, messageSpeed, roundTripOf} from './lib/receiver-speed.ts';
import {describeMachine, markdown, writeReport} from './lib/report.ts';
import {type Mode, modes} from './lib/sender.ts';

const USAGE = `usage: npm run compare -- [--settings] [--short] [--out DIRECTORY]
	[--round-trips 0,20,100] [--tls TLSv1.3,TLSv1.2] [--handshakes full,resumed]
	[--streams 1,20,5-limited] [--modes 'no reuse,stock,ours'] [--rounds N] [--seconds N]

Delivers mail from the queue of a private Postfix to a receiver on this host, without
connection reuse, with stock tlsproxy(8) and with this program. Measures each combination
of the selected conditions. Without options, all combinations take about 20 minutes;
with --short, some of them take 3 minutes.

--round-trips  round-trip times in milliseconds; a relay delays the data
--handshakes   resumed: smtp_tls_session_cache_database is set
--streams      concurrent deliveries (smtp_destination_concurrency_limit). N-limited: the
               receiver accepts N connections at a time and replies 421 to others, as many
               receivers do. Postfix has the same limit; with a higher one, the first 421
               would make it defer all mail for the destination, with and without reuse
--rounds       number of samples per combination; samples alternate, and the result is the
               median (default: 3 with TLS 1.3 and full handshakes, 1 otherwise)
--seconds      approximate duration of a sample (default 4)
--settings     compares main.cf settings for reuse instead, with a full queue and with
               occasional mail; takes about 4 minutes

If a delivery mostly waits (100 ms, or 20 ms with one stream), the modes are measured
simultaneously. Results are in DIRECTORY/compare.{md,json,html}; default: bench-results.
`;

const {values} = parseArgs({
	options: {
		help: {type: 'boolean', short: 'h'},
		out: {type: 'string', default: 'bench-results'},
		short: {type: 'boolean', default: false},
		settings: {type: 'boolean', default: false},
		'round-trips': {type: 'string'},
		tls: {type: 'string'},
		handshakes: {type: 'string'},
		streams: {type: 'string'},
		modes: {type: 'string'},
		rounds: {type: 'string'},
		seconds: {type: 'string', default: '4'},
	},
});
if (values.help === true) {
	process.stdout.write(USAGE);
	process.exit(0);
}

function fail(text: string): never {
	process.stderr.write(`compare: fatal: ${text}\n`);
	process.exit(1);
}

if (process.getuid?.() !== 0) {
	fail('must be run as root, because master(8) must be started as root');
}

/* The elements of a list in an option, each of which must be a known one. */
function selected<Element extends string>(
	name: keyof typeof values,
	all: readonly Element[],
	short: readonly Element[],
): readonly Element[] {
	const value = values[name];
	if (typeof value !== 'string') {
		return values.short ? short : all;
	}

	return value
		.split(',')
		.map(
			text =>
				all.find(element => element === text) ?? fail(`--${name}: ${text}: must be one of ${all.join(', ')}`),
		);
}

function number(name: keyof typeof values, text: string, minimum: number): number {
	const value = Number(text);
	return Number.isFinite(value) && value >= minimum
		? value
		: fail(`--${name}: ${text}: must be a number of at least ${minimum}`);
}

function streams(text: string): Selection['streams'][number] {
	const [, count, limited] =
		/^(\d+)(-limited)?$/.exec(text) ?? fail(`--streams: ${text}: must be N or N-limited`);
	return {count: number('streams', count ?? '', 1), limited: limited !== undefined};
}

const roundTrips = (values['round-trips'] ?? (values.short ? '0,20' : values.settings ? '20' : '0,20,100'))
	.split(',')
	.map(text => number('round-trips', text, 0));
const selectedModes: readonly Mode[] = selected('modes', modes, modes);
const groups = values.settings
	? roundTrips.flatMap(roundTrip => variants(roundTrip, selectedModes))
	: combinations(
			{
				roundTrips,
				tls: selected('tls', ['TLSv1.3', 'TLSv1.2'], ['TLSv1.3']),
				handshakes: selected('handshakes', ['full', 'resumed'], ['full']),
				streams: (values.streams ?? '20,5-limited,1').split(',').map(streams),
			},
			selectedModes,
		);
const rounds = values.rounds === undefined ? undefined : number('rounds', values.rounds, 1);

function logProgress(text: string): void {
	process.stderr.write(`${text}\n`);
}

/* Measures the receiver before anything else runs. */
async function measureBaseline(certificates: Certificates): Promise<Omit<Baseline, 'seconds'>> {
	const open = async (roundTrip: number): Promise<Receiver> =>
		await Receiver.start(certificates, {tls: 'TLSv1.3', roundTrip}, await freePort());
	await using near = await open(0);
	const measured: Record<string, number> = {};
	for (const roundTrip of roundTrips) {
		await using far = await open(roundTrip);
		measured[roundTrip] = await roundTripOf(far);
	}

	return {
		messages: await messageSpeed(near),
		connections: await connectionSpeed(near),
		roundTrips: measured,
	};
}

const machine = describeMachine();
const started = performance.now();
using stack = new DisposableStack();
const directory = mkdtempSync(join(tmpdir(), 'tlsproxy-compare-'));
stack.defer(() => rmSync(directory, {recursive: true, force: true}));
/* Sinks and relays end when their channel to this process is closed. */
const interrupted = removeOnSignal('compare', async () => {
	await Sandbox.stopAll();
	stack.dispose();
});

async function measureAll(): Promise<readonly [Omit<Baseline, 'seconds'>, readonly Outcome[]]> {
	try {
		const certificates = await makeCertificates(directory, SINK_NAME);
		return [await measureBaseline(certificates), await measure(groups, certificates, options)];
	} finally {
		await interrupted();
	}
}

const options: ComparisonOptions = {
	rounds: ({tls, handshakes}) =>
		rounds ?? (tls === 'TLSv1.3' && handshakes === 'full' && !values.settings && !values.short ? 3 : 1),
	seconds: number('seconds', values.seconds, 0.1),
	logProgress,
};
const [baseline, outcomes] = await measureAll();
const report = reportOf(machine, outcomes, {...baseline, seconds: (performance.now() - started) / 1000});
process.stdout.write(markdown(report));
for (const path of writeReport(values.out, values.settings ? 'compare-settings' : 'compare', report)) {
	logProgress(path);
}

stack.dispose();
process.exit(outcomes.some(({failure}) => failure !== undefined) ? 1 : 0);
