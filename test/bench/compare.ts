/*
 * Does the reuse of TLS connections pay? smtp(8) without it, with stock tlsproxy(8),
 * with ours. See `--help`.
 */
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {type Certificates, makeCertificates} from '../../postfix/lib/certificates.ts';
import {removeOnSignal} from '../../postfix/lib/interruption.ts';
import {freePort, Sandbox} from '../../postfix/lib/sandbox.ts';
import {SINK_NAME} from '../helpers/sender-and-sink.ts';
import {type Choice, combinations, variants} from './lib/combinations.ts';
import {type Extent, measure, type Outcome} from './lib/comparison.ts';
import {reportOf, type Surroundings} from './lib/comparison-report.ts';
import {Receiver} from './lib/receiver.ts';
import {connectionSpeed, messageSpeed, roundTripOf} from './lib/receiver-speed.ts';
import {machine, markdown, writeReport} from './lib/report.ts';
import {type Way, ways} from './lib/sender.ts';

const USAGE = `usage: npm run compare -- [--settings] [--short] [--out DIRECTORY]
	[--round-trips 0,20,100] [--tls TLSv1.3,TLSv1.2] [--handshakes full,resumed]
	[--streams 1,20,5-limited] [--ways 'no reuse,stock,ours'] [--rounds N] [--seconds N]

Delivers mail that waits in the queue of a private Postfix to a receiver on this
host, and measures each combination of what is chosen: without connection reuse, with
stock tlsproxy(8), with this program. Without options that are all combinations, in
about 20 minutes; with --short a part of them, in 3.

--round-trips  milliseconds, made by a relay
--handshakes   resumed: smtp_tls_session_cache_database is set
--streams      deliveries at a time (smtp_destination_concurrency_limit). N-limited: the
               receiver accepts N connections at a time and answers 421 to more, as many
               do. Whoever delivers to one sets that limit in Postfix; if not, the first
               421 has Postfix defer all mail for the destination, with and without reuse,
               and there would be nothing to compare
--rounds       samples of each, taken in turns; the result is the median (default: 3 with
               TLS 1.3 and full handshakes, 1 otherwise)
--seconds      how long a sample takes, about (default 4)
--settings     compares what main.cf can say about reuse instead: mail that waits, and mail
               that comes now and then; about 4 minutes

Where a delivery does little but wait (100 ms; 20 ms, one at a time), the ways are
measured at the same time. Results are DIRECTORY/compare.{md,json,html}; default:
bench-results.
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
		ways: {type: 'string'},
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
	fail('master(8) has to be started as root');
}

/* Words of a list, each of which must be one of those that there are. */
function chosen<Word extends string>(
	name: keyof typeof values,
	all: readonly Word[],
	few: readonly Word[],
): readonly Word[] {
	const value = values[name];
	if (typeof value !== 'string') {
		return values.short ? few : all;
	}

	return value
		.split(',')
		.map(text => all.find(word => word === text) ?? fail(`--${name}: ${text}: ${all.join(', ')} are known`));
}

function number(name: keyof typeof values, text: string, least: number): number {
	const value = Number(text);
	return Number.isFinite(value) && value >= least ? value : fail(`--${name}: ${text}: a number is wanted`);
}

function streams(text: string): Choice['streams'][number] {
	const [, count, limited] =
		/^(\d+)(-limited)?$/.exec(text) ?? fail(`--streams: ${text}: N or N-limited is wanted`);
	return {count: number('streams', count ?? '', 1), limited: limited !== undefined};
}

const roundTrips = (values['round-trips'] ?? (values.short ? '0,20' : values.settings ? '20' : '0,20,100'))
	.split(',')
	.map(text => number('round-trips', text, 0));
const chosenWays: readonly Way[] = chosen('ways', ways, ways);
const groups = values.settings
	? roundTrips.flatMap(roundTrip => variants(roundTrip, chosenWays))
	: combinations(
			{
				roundTrips,
				tls: chosen('tls', ['TLSv1.3', 'TLSv1.2'], ['TLSv1.3']),
				handshakes: chosen('handshakes', ['full', 'resumed'], ['full']),
				streams: (values.streams ?? '20,5-limited,1').split(',').map(streams),
			},
			chosenWays,
		);
const rounds = values.rounds === undefined ? undefined : number('rounds', values.rounds, 1);

function say(text: string): void {
	process.stderr.write(`${text}\n`);
}

/* Before anything else runs. */
async function surroundings(certificates: Certificates): Promise<Omit<Surroundings, 'seconds'>> {
	const open = async (roundTrip: number): Promise<Receiver> =>
		await Receiver.start(certificates, {tls: 'TLSv1.3', roundTrip}, await freePort());
	await using near = await open(0);
	const trips: Record<string, number> = {};
	for (const roundTrip of roundTrips) {
		await using far = await open(roundTrip);
		trips[roundTrip] = await roundTripOf(far);
	}

	return {
		messages: await messageSpeed(near),
		connections: await connectionSpeed(near),
		roundTrips: trips,
	};
}

const on = machine();
const started = performance.now();
using stack = new DisposableStack();
const directory = mkdtempSync(join(tmpdir(), 'tlsproxy-compare-'));
stack.defer(() => rmSync(directory, {recursive: true, force: true}));
/* Sinks and relays end when the channel to this process does. */
const interrupted = removeOnSignal('compare', async () => {
	await Sandbox.stopAll();
	stack.dispose();
});

async function measureAll(): Promise<readonly [Omit<Surroundings, 'seconds'>, readonly Outcome[]]> {
	try {
		const certificates = await makeCertificates(directory, SINK_NAME);
		return [await surroundings(certificates), await measure(groups, certificates, extent)];
	} finally {
		await interrupted();
	}
}

const extent: Extent = {
	rounds: ({tls, handshakes}) =>
		rounds ?? (tls === 'TLSv1.3' && handshakes === 'full' && !values.settings && !values.short ? 3 : 1),
	seconds: number('seconds', values.seconds, 0.1),
	say,
};
const [around, outcomes] = await measureAll();
const report = reportOf(on, outcomes, {...around, seconds: (performance.now() - started) / 1000});
process.stdout.write(markdown(report));
for (const path of writeReport(values.out, values.settings ? 'compare-settings' : 'compare', report)) {
	say(path);
}

stack.dispose();
process.exit(outcomes.some(({failure}) => failure !== undefined) ? 1 : 0);
