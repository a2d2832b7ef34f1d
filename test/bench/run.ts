/*
 * Stock tlsproxy(8) and ours, side by side. See `--help`.
 */
import {parseArgs} from 'node:util';
import {removeOnSignal} from '../../postfix/lib/interruption.ts';
import {Sandbox} from '../../postfix/lib/sandbox.ts';
import {bareClient} from './bare-client.ts';
import {bulk} from './bulk.ts';
import {capacity} from './capacity.ts';
import {handshake} from './handshake.ts';
import {type Measure, median, type Operation, ratioOf, spread, verdict} from './lib/measure.ts';
import {figure, machine, markdown, percent, type Report, writeReport} from './lib/report.ts';
import {Authority} from './lib/rig.ts';
import {noise} from './noise.ts';
import {processes} from './process.ts';
import {resumed} from './resumed.ts';
import {roundTrip} from './round-trip.ts';
import {sessions} from './sessions.ts';
import {throughput} from './throughput.ts';

const operations: readonly Operation[] = [
	noise,
	handshake,
	resumed,
	throughput,
	bulk,
	roundTrip,
	processes,
	bareClient,
	sessions,
	capacity,
];
const names = operations.map(({name}) => name);

const {values, positionals} = parseArgs({
	allowPositionals: true,
	options: {
		help: {type: 'boolean', short: 'h'},
		out: {type: 'string', default: 'bench-results'},
		samples: {type: 'string'},
		short: {type: 'boolean'},
	},
});
const unknown = positionals.filter(name => !names.includes(name));
if (values.help === true || unknown.length > 0) {
	process.stdout.write(`usage: npm run bench -- [--short] [--samples N] [--out DIRECTORY] [name ...]
names: ${names.join(', ')}; all of them unless chosen
`);
	process.exit(unknown.length > 0 ? 1 : 0);
}

if (process.getuid?.() !== 0) {
	process.stderr.write('bench: fatal: master(8) has to be started as root\n');
	process.exit(1);
}

const short = values.short === true;
const samples = Number(values.samples ?? (short ? 3 : 7));
const on = machine();
using authority = await Authority.make();
const interrupted = removeOnSignal('bench', async () => {
	await Sandbox.stopAll();
	authority[Symbol.dispose]();
});
const measures: Measure[] = [];
const failures: string[] = [];
for (const operation of operations.filter(
	({name}) => positionals.length === 0 || positionals.includes(name),
)) {
	try {
		measures.push(
			...(await operation.run({
				authority,
				samples,
				scale: short ? 0.25 : 1,
				say: text => process.stderr.write(`${text}\n`),
			})),
		);
	} catch (reason) {
		await interrupted();
		/* The others are worth having. */
		failures.push(`${operation.name}: ${reason instanceof Error ? reason.message : String(reason)}`);
		process.stderr.write(`${operation.name}: ${String(reason)}\n`);
	}
}

const verdicts = {beyond: 'beyond', met: 'met', missed: '**missed**'} as const;

function goalText({goal}: Measure): string {
	if (goal === undefined) {
		return '';
	}

	const sign = goal.sense === 'at most' ? '≤' : '≥';
	return `${goal.of} ${sign} ${goal.must}${goal.beyond === undefined ? '' : ` (${goal.beyond})`}`;
}

/* A figure per step of something, or samples of one figure. */
function cell(measure: Measure, which: string): string {
	const taken = measure.samples[which];
	if (taken === undefined) {
		return '';
	}

	if (measure.name.startsWith('growth')) {
		return `${taken.map(figure).join(', ')} ${measure.unit}`;
	}

	return `${figure(median(taken))} ${measure.unit}${taken.length > 2 ? ` ± ${percent(spread(taken))}` : ''}`.trim();
}

const report: Report = {
	title: 'Stock tlsproxy(8) and ours',
	machine: on,
	remarks: [
		`Medians of ${samples} samples, taken in turns; ± half the distance of the middle half. Stock is warm: max_use and max_idle are raised, but where it says defaults. CPU time is that of all processes of the service, user and system. Settings are those that smtp(8) sends at level secure, with loglevel 1.${short ? ' A short run: a quarter of the work, for a first look only.' : ''}`,
		...failures.map(text => `Not measured: ${text}.`),
	],
	tables: [
		[
			['measure', 'stock', 'ours', 'ratio', 'must be (beyond)', ''],
			...measures.map(measure => {
				const ratio = measure.name.startsWith('growth') ? undefined : ratioOf(measure);
				const result = verdict(measure);
				return [
					measure.note === undefined ? measure.name : `${measure.name} (${measure.note})`,
					cell(measure, 'stock'),
					cell(measure, 'ours'),
					ratio === undefined ? '' : ratio.toFixed(2),
					goalText(measure),
					result === undefined ? '' : verdicts[result],
				];
			}),
		],
	],
	plots: measures.map(({name, unit, samples: taken}) => ({
		title: name,
		unit,
		series: Object.entries(taken).flatMap(([which, figures]) =>
			name.startsWith('growth')
				? figures.map((value, index) => ({name: `${which}, step ${index + 1}`, value, samples: []}))
				: [{name: which, value: median(figures), samples: figures}],
		),
	})),
	figures: measures.map(measure => ({...measure, ratio: ratioOf(measure), verdict: verdict(measure)})),
};
process.stdout.write(markdown(report));
for (const path of writeReport(values.out, 'bench', report)) {
	process.stderr.write(`${path}\n`);
}

/* Peers and event loops have nothing left to do. */
process.exit(failures.length > 0 ? 1 : 0);
