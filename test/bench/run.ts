/*
 * Compares stock tlsproxy(8) with this program. See `--help`.
 */
import {parseArgs} from 'node:util';
import {removeOnSignal} from '../../postfix/lib/interruption.ts';
import {Sandbox} from '../../postfix/lib/sandbox.ts';
import {errorText} from '../../src/base/text.ts';
import {bareClient} from './bare-client.ts';
import {bulk} from './bulk.ts';
import {capacity} from './capacity.ts';
import {handshake} from './handshake.ts';
import {type Measure, median, type Operation, ratioOf, spread, verdict} from './lib/measure.ts';
import {describeMachine, figure, markdown, percent, type Report, writeReport} from './lib/report.ts';
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
names: ${names.join(', ')}; default: all
`);
	process.exit(unknown.length > 0 ? 1 : 0);
}

if (process.getuid?.() !== 0) {
	process.stderr.write('bench: fatal: must be run as root, because master(8) must be started as root\n');
	process.exit(1);
}

const short = values.short === true;
const samples = Number(values.samples ?? (short ? 3 : 7));
const machine = describeMachine();
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
				logProgress: text => process.stderr.write(`${text}\n`),
			})),
		);
	} catch (reason) {
		await interrupted();
		/* The other benchmarks continue. */
		failures.push(`${operation.name}: ${errorText(reason)}`);
		process.stderr.write(`${operation.name}: ${String(reason)}\n`);
	}
}

const verdicts = {target: 'target met', limit: 'limit met', missed: '**missed**'} as const;

function goalText({goal}: Measure): string {
	if (goal === undefined) {
		return '';
	}

	const sign = goal.bound === 'at most' ? '≤' : '≥';
	return `${goal.of} ${sign} ${goal.limit}${goal.target === undefined ? '' : ` (${goal.target})`}`;
}

/* The median of the samples; for a growth measure, the figure of each step. */
function cell(measure: Measure, program: string): string {
	const figures = measure.samples[program];
	if (figures === undefined) {
		return '';
	}

	if (measure.name.startsWith('growth')) {
		return `${figures.map(figure).join(', ')} ${measure.unit}`;
	}

	return `${figure(median(figures))} ${measure.unit}${figures.length > 2 ? ` ± ${percent(spread(figures))}` : ''}`.trim();
}

const report: Report = {
	title: 'Stock tlsproxy(8) and this program',
	machine,
	remarks: [
		`Medians of ${samples} samples, taken alternately; ± half the interquartile range. max_use and max_idle are raised so that processes of stock do not end, except where the table says defaults. CPU time is that of all processes of the service, user and system. Settings are those that smtp(8) sends at level secure, with loglevel 1.${short ? ' This was a short run with a quarter of the work: the figures are rough.' : ''}`,
		...failures.map(text => `Not measured: ${text}.`),
	],
	tables: [
		[
			['measure', 'stock', 'ours', 'ratio', 'limit (target)', ''],
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
	plots: measures.map(({name, unit, samples: byProgram}) => ({
		title: name,
		unit,
		series: Object.entries(byProgram).flatMap(([program, figures]) =>
			name.startsWith('growth')
				? figures.map((value, index) => ({name: `${program}, step ${index + 1}`, value, samples: []}))
				: [{name: program, value: median(figures), samples: figures}],
		),
	})),
	figures: measures.map(measure => ({...measure, ratio: ratioOf(measure), verdict: verdict(measure)})),
};
process.stdout.write(markdown(report));
for (const path of writeReport(values.out, 'bench', report)) {
	process.stderr.write(`${path}\n`);
}

/* Channels to child processes would keep this process alive. */
process.exit(failures.length > 0 ? 1 : 0);
