/*
 * Does the reuse of TLS connections pay? smtp(8) without it, with stock tlsproxy(8),
 * with ours. See `--help`.
 */
import {parseArgs} from 'node:util';
import {type Case, deliver, type Outcome, ways} from './lib/delivery.ts';
import {figure, machine, markdown, type Report, writeReport} from './lib/report.ts';

const {values} = parseArgs({
	options: {
		help: {type: 'boolean', short: 'h'},
		out: {type: 'string', default: 'bench-results'},
		short: {type: 'boolean'},
		'round-trips': {type: 'string'},
		tls: {type: 'string'},
		handshakes: {type: 'string'},
		streams: {type: 'string'},
		messages: {type: 'string'},
		settings: {type: 'boolean'},
	},
});
if (values.help === true) {
	process.stdout.write(`usage: npm run compare -- [--short] [--settings] [--out DIRECTORY]
	[--round-trips 0,20,100] [--tls TLSv1.2,TLSv1.3] [--handshakes full,resumed]
	[--streams 1,5,20] [--messages N]
Streams are deliveries at a time to the destination; 5 stands for one that limits connections.
--settings compares what main.cf can say about reuse, instead of the combinations.
`);
	process.exit(0);
}

if (process.getuid?.() !== 0) {
	process.stderr.write('compare: fatal: master(8) has to be started as root\n');
	process.exit(1);
}

const short = values.short === true;

function chosen(value: string | undefined, all: string, few: string): readonly string[] {
	return (value ?? (short ? few : all)).split(',');
}

/* A delivery takes some seven round trips without reuse: what is slow is measured with fewer. */
function messagesFor(roundTrip: number, streams: number): number {
	if (values.messages !== undefined) {
		return Number(values.messages);
	}

	const some = streams === 1 ? 60 : 400;
	return Math.round((some / (1 + (roundTrip * (streams === 1 ? 4 : 1)) / 100)) * (short ? 0.5 : 1));
}

function combinations(): readonly Case[] {
	return chosen(values['round-trips'], '0,20,100', '0,20')
		.map(Number)
		.flatMap(roundTrip =>
			chosen(values.tls, 'TLSv1.3,TLSv1.2', 'TLSv1.3').flatMap(tls =>
				chosen(values.handshakes, 'full,resumed', 'full').flatMap(handshakes =>
					chosen(values.streams, '1,5,20', '20')
						.map(Number)
						.flatMap(streams =>
							ways.map(way => ({
								way,
								roundTrip,
								tls: tls as Case['tls'],
								handshakes: handshakes as Case['handshakes'],
								streams,
								messages: messagesFor(roundTrip, streams),
							})),
						),
				),
			),
		);
}

/* What main.cf can say, one thing at a time. */
const settings: ReadonlyArray<readonly [variant: string, main: Readonly<Record<string, string>>]> = [
	['destinations listed', {}],
	['on demand only', {smtp_connection_cache_destinations: ''}],
	['10 deliveries per connection', {smtp_connection_reuse_count_limit: '10'}],
	['connections kept for 2 s', {smtp_connection_cache_time_limit: '2s', connection_cache_ttl_limit: '2s'}],
];

function variants(): readonly Case[] {
	return chosen(values['round-trips'], '20', '20')
		.map(Number)
		.flatMap(roundTrip =>
			settings.flatMap(([variant, main]) =>
				(['stock', 'ours'] as const).map(way => ({
					way,
					roundTrip,
					tls: 'TLSv1.3' as const,
					handshakes: 'full' as const,
					streams: 20,
					messages: messagesFor(roundTrip, 20),
					variant,
					main,
				})),
			),
		);
}

const on = machine();
const outcomes: Outcome[] = [];
const failures: string[] = [];
for (const item of values.settings === true ? variants() : combinations()) {
	const name =
		`${item.variant ?? ''} ${item.way}, ${item.roundTrip} ms, ${item.tls}, ${item.handshakes}, ${item.streams} streams`.trim();
	try {
		const outcome = await deliver(item);
		outcomes.push(outcome);
		process.stderr.write(`${name}: ${figure(outcome.perSecond)}/s, ${outcome.handshakeCount} handshakes\n`);
	} catch (reason) {
		failures.push(
			`${name}: ${reason instanceof Error ? (reason.message.split('\n')[0] ?? '') : String(reason)}`,
		);
		process.stderr.write(`${name}: ${String(reason)}\n`);
	}
}

/* What the runs say, in the words of an administrator. */
function conclusions(): readonly string[] {
	const groups = Map.groupBy(
		outcomes.filter(({variant}) => variant === undefined),
		({roundTrip, streams}) =>
			`${roundTrip} ms, ${streams === 1 ? 'one delivery' : `${streams} deliveries`} at a time`,
	);
	return [...groups].flatMap(([where, members]) => {
		const mean = (way: string, pick: (outcome: Outcome) => number): number => {
			const all = members.filter(member => member.way === way);
			return all.reduce((sum, outcome) => sum + pick(outcome), 0) / all.length;
		};
		const [none, stock, ours] = ways.map(way => ({
			speed: mean(way, ({perSecond}) => perSecond),
			cpu: mean(way, ({cpu}) => cpu),
			connecting: mean(way, ({connecting}) => connecting),
		}));
		if (
			none === undefined ||
			stock === undefined ||
			ours === undefined ||
			!Number.isFinite(none.speed + ours.speed)
		) {
			return [];
		}

		const pays =
			ours.speed > none.speed * 1.05
				? 'reuse pays'
				: ours.speed < none.speed * 0.95
					? 'reuse costs speed'
					: 'reuse changes little';
		return [
			`At ${where} ${pays}: ${figure(none.speed)} messages per second without, ${figure(stock.speed)} with stock, ${figure(ours.speed)} with ours; CPU seconds per 1,000 messages ${figure(none.cpu)}, ${figure(stock.cpu)}, ${figure(ours.cpu)}; a delivery waits ${figure(none.connecting)}, ${figure(stock.connecting)}, ${figure(ours.connecting)} s for its connection.`,
		];
	});
}

const report: Report = {
	title: 'What TLS connection reuse gains',
	machine: on,
	remarks: [
		'Messages wait in the queue, then all are delivered to one destination; smtp(8), qmgr(8) and scache(8) are those of the host. The round trip is made by a relay, which also takes one to connect. CPU is that of all processes of Postfix. Server: the share of one core that the receiving server took; near 1 it is the limit. Queue, connect and send are medians of delays= in the log.',
		...failures.map(text => `Failed: ${text}.`),
	],
	tables: [
		[
			'way|round trip|TLS|handshakes|streams|messages|messages/s|connections|full|resumed|CPU s per 1,000|by program|memory MB|server|queue s|connect s|send s'.split(
				'|',
			),
			...outcomes.map(outcome => [
				outcome.variant === undefined ? outcome.way : `${outcome.way}, ${outcome.variant}`,
				`${outcome.roundTrip} ms`,
				outcome.tls.slice(4),
				outcome.handshakes,
				String(outcome.streams),
				String(outcome.messages),
				figure(outcome.perSecond),
				String(outcome.connections),
				String(outcome.handshakeCount - outcome.resumptions),
				String(outcome.resumptions),
				figure(outcome.cpu),
				Object.entries(outcome.cpuBy)
					.slice(0, 4)
					.map(([program, used]) => `${program} ${figure(used)}`)
					.join(', '),
				figure(outcome.memory),
				outcome.serverBusy.toFixed(2),
				figure(outcome.queued),
				figure(outcome.connecting),
				figure(outcome.sending),
			]),
		],
	],
	conclusions: conclusions(),
	plots: [
		...Map.groupBy(
			outcomes,
			({roundTrip, tls, handshakes, streams}) =>
				`messages per second: ${roundTrip} ms, ${tls}, ${handshakes} handshakes, ${streams} streams`,
		),
	].map(([title, members]) => ({
		title,
		unit: '1/s',
		series: members.map(({way, variant, perSecond}) => ({
			name: variant ?? way,
			value: perSecond,
			samples: [],
		})),
	})),
	figures: outcomes,
};
process.stdout.write(markdown(report));
for (const path of writeReport(
	values.out,
	values.settings === true ? 'compare-settings' : 'compare',
	report,
)) {
	process.stderr.write(`${path}\n`);
}

process.exit(failures.length > 0 ? 1 : 0);
