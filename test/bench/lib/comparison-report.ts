/*
 * What a comparison says, for administrators.
 */
import type {Outcome} from './comparison.ts';
import type {Conditions, Sample} from './delivery.ts';
import {median, spread} from './measure.ts';
import type {Speed} from './receiver-speed.ts';
import {type Bars, figure, type Machine, percent, type Report, type Table} from './report.ts';
import {type Way, ways} from './sender.ts';

/** How good the other side is. */
export interface Surroundings {
	readonly messages: Speed;
	readonly connections: Speed;
	/** Milliseconds, by those that were asked for. */
	readonly roundTrips: Readonly<Record<string, number>>;
	/** Seconds that the whole took. */
	readonly seconds: number;
}

/** Nothing where nothing was delivered. */
function two(value: number): string {
	return Number.isFinite(value) ? value.toFixed(2) : '-';
}

/** The median of a figure. */
function of(outcome: Outcome, pick: (sample: Sample) => number): number {
	return median(outcome.samples.map(pick));
}

type Where = Pick<Outcome, keyof Conditions>;

function where({roundTrip, tls, handshakes, streams, maxConnections, pace, again}: Where): readonly string[] {
	const limit = maxConnections === undefined ? '' : ', limited';
	const atATime =
		pace === undefined
			? `${streams}${limit}${again === true ? ', soon again' : ''}`
			: pace >= 1
				? `${pace} a second come`
				: `one comes every ${Math.round(1 / pace)} s`;
	return [`${roundTrip} ms`, tls.slice(4), handshakes, atATime];
}

const HEAD = ['round trip', 'TLS', 'handshakes', 'at a time'];

function groupsOf(outcomes: readonly Outcome[]): ReadonlyArray<readonly Outcome[]> {
	return [...Map.groupBy(outcomes, outcome => where(outcome).join()).values()];
}

function speedText(outcome: Outcome | undefined): string {
	return outcome === undefined || outcome.samples.length === 0
		? '-'
		: `${figure(of(outcome, ({perSecond}) => perSecond))} (${two(of(outcome, ({cpu}) => cpu))})`;
}

/** Messages per second, and CPU: the ways beside each other. */
function overview(outcomes: readonly Outcome[]): Table {
	return [
		[...HEAD, ...ways],
		...groupsOf(outcomes).map(members => [
			...where(members[0] as Outcome),
			...ways.map(way => speedText(members.find(member => member.way === way))),
		]),
	];
}

const DETAILS: ReadonlyArray<readonly [title: string, text: (outcome: Outcome) => string]> = [
	['messages/s', outcome => figure(of(outcome, ({perSecond}) => perSecond))],
	[
		'spread',
		({samples}) => (samples.length < 2 ? '-' : percent(spread(samples.map(({perSecond}) => perSecond)))),
	],
	['messages', outcome => String(of(outcome, ({messages}) => messages))],
	['handshakes per 1,000', outcome => figure(of(outcome, handshakesPerThousand))],
	[
		'resumed',
		outcome => percent(of(outcome, ({resumptions, handshakeCount}) => resumptions / handshakeCount)),
	],
	['CPU s per 1,000', outcome => two(of(outcome, ({cpu}) => cpu))],
	['by program', byProgram],
	['receiver CPU', outcome => two(of(outcome, ({sinkCpu}) => sinkCpu))],
	['relay CPU', outcome => two(of(outcome, ({relayCpu}) => relayCpu))],
	['memory MB', outcome => figure(of(outcome, ({memory}) => memory))],
	['of it tlsproxy', outcome => figure(of(outcome, ({proxyMemory}) => proxyMemory))],
	['queue s', outcome => figure(of(outcome, ({queued}) => queued))],
	['connect s', outcome => figure(of(outcome, ({connecting}) => connecting))],
	['send s', outcome => figure(of(outcome, ({sending}) => sending))],
	[
		'refused, deferred',
		outcome => `${of(outcome, ({refusals}) => refusals)}, ${of(outcome, ({deferred}) => deferred)}`,
	],
];

function handshakesPerThousand({handshakeCount, messages, deferred}: Sample): number {
	return (handshakeCount * 1000) / (messages - deferred);
}

function byProgram(outcome: Outcome): string {
	const names = new Set(outcome.samples.flatMap(({cpuBy}) => Object.keys(cpuBy)));
	return [...names]
		.map(name => [name, of(outcome, ({cpuBy}) => cpuBy[name] ?? 0)] as const)
		.filter(([, used]) => used >= 0.02)
		.toSorted(([, a], [, b]) => b - a)
		.slice(0, 6)
		.map(([name, used]) => `${name} ${used.toFixed(2)}`)
		.join(', ');
}

function details(outcomes: readonly Outcome[], withVariant: boolean): Table {
	const measured = outcomes.filter(({samples}) => samples.length > 0);
	return [
		[...HEAD, ...(withVariant ? ['setting'] : []), 'way', ...DETAILS.map(([title]) => title)],
		...measured.map(outcome => [
			...where(outcome),
			...(withVariant ? [outcome.variant ?? ''] : []),
			outcome.way,
			...DETAILS.map(([, text]) => text(outcome)),
		]),
	];
}

/** Ratios to what is delivered without reuse, over all TLS versions and handshakes. */
function conclusions(outcomes: readonly Outcome[]): readonly string[] {
	const groups = Map.groupBy(
		groupsOf(outcomes),
		([first]) =>
			`${first?.roundTrip} ms, ${first?.streams} at a time${first?.maxConnections === undefined ? '' : ', connections limited'}`,
	);
	return [...groups].flatMap(([name, rows]) => {
		const gains = (way: Way, pick: (sample: Sample) => number): number =>
			median(
				rows.flatMap(members => {
					const [none, one] = ['no reuse', way].map(wanted => members.find(member => member.way === wanted));
					return none === undefined || one === undefined ? [] : [of(one, pick) / of(none, pick)];
				}),
			);
		const [stock, ours] = (['stock', 'ours'] as const).map(way => ({
			speed: gains(way, ({perSecond}) => perSecond),
			cpu: gains(way, ({cpu}) => cpu),
		}));
		if (stock === undefined || ours === undefined || !Number.isFinite(ours.speed)) {
			return [];
		}

		return [
			`${name}: reuse delivers ${stock.speed.toFixed(2)} (stock) and ${ours.speed.toFixed(2)} (ours) times what is delivered without it, with ${stock.cpu.toFixed(2)} and ${ours.cpu.toFixed(2)} times the CPU time per message.`,
		];
	});
}

function plots(outcomes: readonly Outcome[]): readonly Bars[] {
	return groupsOf(outcomes.filter(({samples}) => samples.length > 0)).flatMap(members => {
		const title = where(members[0] as Outcome).join(', ');
		const series = (pick: (sample: Sample) => number) =>
			members.map(member => ({
				name: member.variant === undefined ? member.way : `${member.way}, ${member.variant}`,
				value: of(member, pick),
				samples: member.samples.map(pick),
			}));
		return [
			{title: `messages per second: ${title}`, unit: '1/s', series: series(({perSecond}) => perSecond)},
			{title: `CPU seconds per 1,000 messages: ${title}`, unit: 's', series: series(({cpu}) => cpu)},
		];
	});
}

/** Puts together what was measured. */
export function reportOf(on: Machine, outcomes: readonly Outcome[], around: Surroundings): Report {
	const withVariant = outcomes.some(({variant}) => variant !== undefined);
	const {messages, connections, roundTrips} = around;
	return {
		title: withVariant ? 'What settings do for TLS connection reuse' : 'What TLS connection reuse gains',
		machine: on,
		remarks: [
			'Real smtp(8), qmgr(8), scache(8) and tlsmgr(8) of the host, as they come; tlsproxy(8) is what differs. Messages wait in the queue and are delivered to one destination then, all at once, as many at a time as the table says; "limited" is a receiver that accepts no more connections than that.',
			'CPU is that of all processes of Postfix, also of those that have ended; "ended" are those that came and went unseen. Memory is that of all processes at the end (PSS), also of those that wait for work. Queue, connect and send are medians of delays= in the log. Figures are medians of the samples.',
			`The receiver alone, asked by twenty clients of one process: at least ${figure(messages.perSecond)} messages per second over connections that stay (${messages.cpu.toFixed(2)} CPU seconds per 1,000), ${figure(connections.perSecond)} with a connection each (${connections.cpu.toFixed(2)}). It runs on the same machine: where the processor is what limits, it takes its share.`,
			`The round trip is made by a relay, and was measured with single commands: ${Object.entries(roundTrips)
				.map(([asked, is]) => `${asked} ms: ${is.toFixed(1)} ms`)
				.join(
					', ',
				)}. Without distance there is no relay. All in all this took ${Math.round(around.seconds / 60)} minutes.`,
			...outcomes.flatMap(({way, failure, ...conditions}) =>
				failure === undefined ? [] : [`Failed: ${where(conditions).join(', ')}, ${way}: ${failure}.`],
			),
		],
		tables: withVariant ? [details(outcomes, true)] : [overview(outcomes), details(outcomes, false)],
		conclusions: withVariant ? [] : conclusions(outcomes),
		plots: plots(outcomes),
		figures: {surroundings: around, outcomes},
	};
}
