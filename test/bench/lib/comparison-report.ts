/*
 * The report of `npm run compare`, for administrators.
 */
import type {Outcome} from './comparison.ts';
import type {Conditions, Sample} from './delivery.ts';
import {median, spread} from './measure.ts';
import type {Speed} from './receiver-speed.ts';
import {type Bars, figure, type Machine, percent, type Report, type Table} from './report.ts';
import {type Mode, modes} from './sender.ts';

/** The performance of the receiver and the relay alone. */
export interface Baseline {
	readonly messages: Speed;
	readonly connections: Speed;
	/** Measured milliseconds, by the configured milliseconds. */
	readonly roundTrips: Readonly<Record<string, number>>;
	/** Duration of the whole comparison in seconds. */
	readonly seconds: number;
}

/** Two decimals; `-` if nothing was delivered. */
function twoDecimals(value: number): string {
	return Number.isFinite(value) ? value.toFixed(2) : '-';
}

/** The median of a figure over all samples. */
function medianOf(outcome: Outcome, pick: (sample: Sample) => number): number {
	return median(outcome.samples.map(pick));
}

/* The cells of a table that describe the conditions. */
function conditionCells({
	roundTrip,
	tls,
	handshakes,
	streams,
	maxConnections,
	pace,
	again,
}: Conditions): readonly string[] {
	const limit = maxConnections === undefined ? '' : ', limited';
	const deliveries =
		pace === undefined
			? `${streams}${limit}${again === true ? ', again' : ''}`
			: pace >= 1
				? `${pace} per second`
				: `one every ${Math.round(1 / pace)} s`;
	return [`${roundTrip} ms`, tls.slice(4), handshakes, deliveries];
}

const HEAD = ['round trip', 'TLS', 'handshakes', 'deliveries'];

function groupsOf(outcomes: readonly Outcome[]): ReadonlyArray<readonly Outcome[]> {
	return [...Map.groupBy(outcomes, outcome => conditionCells(outcome).join()).values()];
}

function speedText(outcome: Outcome | undefined): string {
	return outcome === undefined || outcome.samples.length === 0
		? '-'
		: `${figure(medianOf(outcome, ({perSecond}) => perSecond))} (${twoDecimals(medianOf(outcome, ({cpu}) => cpu))})`;
}

/** Messages per second, and CPU time in parentheses: one column per mode. */
function overview(outcomes: readonly Outcome[]): Table {
	return [
		[...HEAD, ...modes],
		...groupsOf(outcomes).map(members => [
			...conditionCells(members[0] as Outcome),
			...modes.map(mode => speedText(members.find(member => member.mode === mode))),
		]),
	];
}

const DETAILS: ReadonlyArray<readonly [title: string, text: (outcome: Outcome) => string]> = [
	['messages/s', outcome => figure(medianOf(outcome, ({perSecond}) => perSecond))],
	[
		'spread',
		({samples}) => (samples.length < 2 ? '-' : percent(spread(samples.map(({perSecond}) => perSecond)))),
	],
	['messages', outcome => String(medianOf(outcome, ({messages}) => messages))],
	['handshakes per 1,000', outcome => figure(medianOf(outcome, handshakesPerThousand))],
	[
		'resumed',
		outcome => percent(medianOf(outcome, ({resumptions, handshakeCount}) => resumptions / handshakeCount)),
	],
	['CPU s per 1,000', outcome => twoDecimals(medianOf(outcome, ({cpu}) => cpu))],
	['by program', byProgram],
	['receiver CPU', outcome => twoDecimals(medianOf(outcome, ({sinkCpu}) => sinkCpu))],
	['relay CPU', outcome => twoDecimals(medianOf(outcome, ({relayCpu}) => relayCpu))],
	['memory MB', outcome => figure(medianOf(outcome, ({memory}) => memory))],
	['of which tlsproxy', outcome => figure(medianOf(outcome, ({proxyMemory}) => proxyMemory))],
	['queue s', outcome => figure(medianOf(outcome, ({queued}) => queued))],
	['connect s', outcome => figure(medianOf(outcome, ({connecting}) => connecting))],
	['send s', outcome => figure(medianOf(outcome, ({sending}) => sending))],
	[
		'refused, deferred',
		outcome =>
			`${medianOf(outcome, ({refusals}) => refusals)}, ${medianOf(outcome, ({deferred}) => deferred)}`,
	],
];

function handshakesPerThousand({handshakeCount, messages, deferred}: Sample): number {
	return (handshakeCount * 1000) / (messages - deferred);
}

function byProgram(outcome: Outcome): string {
	const names = new Set(outcome.samples.flatMap(({cpuBy}) => Object.keys(cpuBy)));
	return [...names]
		.map(name => [name, medianOf(outcome, ({cpuBy}) => cpuBy[name] ?? 0)] as const)
		.filter(([, used]) => used >= 0.02)
		.toSorted(([, a], [, b]) => b - a)
		.slice(0, 6)
		.map(([name, used]) => `${name} ${used.toFixed(2)}`)
		.join(', ');
}

function details(outcomes: readonly Outcome[], withVariant: boolean): Table {
	const measured = outcomes.filter(({samples}) => samples.length > 0);
	return [
		[...HEAD, ...(withVariant ? ['setting'] : []), 'mode', ...DETAILS.map(([title]) => title)],
		...measured.map(outcome => [
			...conditionCells(outcome),
			...(withVariant ? [outcome.variant ?? ''] : []),
			outcome.mode,
			...DETAILS.map(([, text]) => text(outcome)),
		]),
	];
}

/** Ratios to deliveries without reuse: medians over all TLS versions and kinds of handshakes. */
function conclusions(outcomes: readonly Outcome[]): readonly string[] {
	const groups = Map.groupBy(
		groupsOf(outcomes),
		([first]) =>
			`${first?.roundTrip} ms, ${first?.streams} concurrent deliveries${first?.maxConnections === undefined ? '' : ', connections limited'}`,
	);
	return [...groups].flatMap(([name, rows]) => {
		const gains = (mode: Mode, pick: (sample: Sample) => number): number =>
			median(
				rows.flatMap(members => {
					const [noReuse, reuse] = ['no reuse', mode].map(wanted =>
						members.find(member => member.mode === wanted),
					);
					return noReuse === undefined || reuse === undefined
						? []
						: [medianOf(reuse, pick) / medianOf(noReuse, pick)];
				}),
			);
		const [stock, ours] = (['stock', 'ours'] as const).map(mode => ({
			speed: gains(mode, ({perSecond}) => perSecond),
			cpu: gains(mode, ({cpu}) => cpu),
		}));
		if (stock === undefined || ours === undefined || !Number.isFinite(ours.speed)) {
			return [];
		}

		return [
			`${name}: reuse delivers ${stock.speed.toFixed(2)} (stock) and ${ours.speed.toFixed(2)} (ours) times as many messages as no reuse, with ${stock.cpu.toFixed(2)} and ${ours.cpu.toFixed(2)} times the CPU time per message.`,
		];
	});
}

function plots(outcomes: readonly Outcome[]): readonly Bars[] {
	return groupsOf(outcomes.filter(({samples}) => samples.length > 0)).flatMap(members => {
		const title = conditionCells(members[0] as Outcome).join(', ');
		const series = (pick: (sample: Sample) => number) =>
			members.map(member => ({
				name: member.variant === undefined ? member.mode : `${member.mode}, ${member.variant}`,
				value: medianOf(member, pick),
				samples: member.samples.map(pick),
			}));
		return [
			{title: `messages per second: ${title}`, unit: '1/s', series: series(({perSecond}) => perSecond)},
			{title: `CPU seconds per 1,000 messages: ${title}`, unit: 's', series: series(({cpu}) => cpu)},
		];
	});
}

/** Formats the results of a comparison. */
export function reportOf(machine: Machine, outcomes: readonly Outcome[], baseline: Baseline): Report {
	const withVariant = outcomes.some(({variant}) => variant !== undefined);
	const {messages, connections, roundTrips} = baseline;
	return {
		title: withVariant ? 'Settings for TLS connection reuse' : 'Gain from TLS connection reuse',
		machine,
		remarks: [
			'smtp(8), qmgr(8), scache(8) and tlsmgr(8) are those of the host, with default settings; only tlsproxy(8) differs. Messages wait in the queue until all are released at once. They are delivered to one destination, with the number of concurrent deliveries in the table; "limited" means that the receiver accepts no more connections than that.',
			'CPU is the time of all processes of Postfix, including those that have ended; "ended" are processes that started and ended between two samples. Memory is the PSS of all processes at the end, including idle ones. Queue, connect and send are medians of delays= in the log. Figures are medians of the samples.',
			`The receiver alone, with twenty clients in one process: at least ${figure(messages.perSecond)} messages per second over reused connections (${messages.cpu.toFixed(2)} CPU seconds per 1,000), ${figure(connections.perSecond)} with a connection for each (${connections.cpu.toFixed(2)}). It runs on the same machine: if the processor is the limit, the receiver uses part of it.`,
			`A relay delays the data. Round trips, measured with single commands: ${Object.entries(roundTrips)
				.map(([configured, measured]) => `${configured} ms: ${measured.toFixed(1)} ms`)
				.join(
					', ',
				)}. Without delay, no relay is used. The comparison took ${Math.round(baseline.seconds / 60)} minutes.`,
			...outcomes.flatMap(({mode, failure, ...conditions}) =>
				failure === undefined
					? []
					: [`Failed: ${conditionCells(conditions).join(', ')}, ${mode}: ${failure}.`],
			),
		],
		tables: withVariant ? [details(outcomes, true)] : [overview(outcomes), details(outcomes, false)],
		conclusions: withVariant ? [] : conclusions(outcomes),
		plots: plots(outcomes),
		figures: {baseline, outcomes},
	};
}
