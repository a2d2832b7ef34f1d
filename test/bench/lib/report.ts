/*
 * Results as a Markdown table, as JSON, and as an HTML page without external files.
 */
import {execFileSync} from 'node:child_process';
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {cpus, release, totalmem} from 'node:os';
import {join} from 'node:path';

/** The machine on which figures were measured. */
export interface Machine {
	readonly date: string;
	readonly processor: string;
	readonly cores: number;
	readonly memory: string;
	readonly kernel: string;
	readonly node: string;
	readonly openssl: string;
	readonly postfix: string;
	readonly revision: string;
	/** Load averages before the run. If they are not near zero, wall-clock times are not reliable. */
	readonly load: string;
}

function outputOf(command: string, ...args: readonly string[]): string {
	try {
		return execFileSync(command, args, {encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore']}).trim();
	} catch {
		return 'unknown';
	}
}

/** Collects the properties of this machine. */
export function describeMachine(): Machine {
	return {
		date: new Date().toISOString().slice(0, 16).replace('T', ' '),
		processor: cpus()[0]?.model.trim() ?? 'unknown',
		cores: cpus().length,
		memory: `${Math.round(totalmem() / 2 ** 30)} GB`,
		kernel: release(),
		node: process.version,
		openssl: outputOf('openssl', 'version'),
		postfix: outputOf('postconf', '-dh', 'mail_version'),
		revision: outputOf('git', 'describe', '--always', '--dirty'),
		load: readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 2).join(' '),
	};
}

function machineText(machine: Machine): string {
	return `${machine.date} UTC; ${machine.cores} × ${machine.processor}, ${machine.memory}; Linux ${machine.kernel}; Node.js ${machine.node}; ${machine.openssl}; Postfix ${machine.postfix}; revision ${machine.revision}; load before the run ${machine.load}`;
}

/** A table. The first row is the header. */
export type Table = ReadonlyArray<readonly string[]>;

function line(cells: readonly string[]): string {
	return `| ${cells.join(' | ')} |\n`;
}

function markdownTable([head = [], ...rows]: Table): string {
	return line(head) + line(head.map(() => '---')) + rows.map(line).join('');
}

function row(cells: readonly string[], tag: string): string {
	return `<tr>${cells.map(cell => `<${tag}>${escape(cell)}</${tag}>`).join('')}</tr>\n`;
}

function htmlTable([head = [], ...rows]: Table): string {
	return `<table>\n<thead>${row(head, 'th')}</thead>\n<tbody>${rows.map(cells => row(cells, 'td')).join('')}</tbody>\n</table>\n`;
}

/** A group of bars: one value per series, with its samples as dots. */
export interface Bars {
	readonly title: string;
	readonly unit: string;
	readonly series: ReadonlyArray<{
		readonly name: string;
		readonly value: number;
		readonly samples: readonly number[];
	}>;
}

const colours = ['#7a869a', '#1f6feb', '#2da44e', '#bf8700', '#cf222e', '#8250df'];
const WIDTH = 640;
const LABEL = 170;
const BAR = 18;

/** Horizontal bars with a common scale. */
function barPlot({title, unit, series}: Bars): string {
	const maximum = Math.max(...series.flatMap(({value, samples}) => [value, ...samples]), Number.MIN_VALUE);
	const scale = (WIDTH - LABEL - 90) / maximum;
	const bars = series.map(({name, value, samples}, index) => {
		const top = 26 + index * (BAR + 6);
		const dots = samples
			.map(
				sample =>
					`<circle cx="${(LABEL + sample * scale).toFixed(1)}" cy="${top + BAR / 2}" r="2" fill="#24292f" fill-opacity="0.55"/>`,
			)
			.join('');
		return (
			`<text x="${LABEL - 8}" y="${top + 13}" text-anchor="end">${escape(name)}</text>` +
			`<rect x="${LABEL}" y="${top}" width="${(value * scale).toFixed(1)}" height="${BAR}" fill="${colours[index % colours.length]}" fill-opacity="0.75"/>${dots}` +
			`<text x="${WIDTH - 84}" y="${top + 13}">${figure(value)} ${escape(unit)}</text>`
		);
	});
	const height = 30 + series.length * (BAR + 6);
	return `<svg viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escape(title)}"><text x="0" y="14" font-weight="bold">${escape(title)}</text>${bars.join('')}</svg>\n`;
}

/** A number with three significant digits, or an integer from 100. */
export function figure(value: number): string {
	if (!Number.isFinite(value)) {
		return '-';
	}

	return Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

export function percent(share: number): string {
	return Number.isFinite(share) ? `${(share * 100).toFixed(1)} %` : '-';
}

/** The content of a report. */
export interface Report {
	readonly title: string;
	readonly machine: Machine;
	/** Paragraphs in front of the tables. */
	readonly remarks: readonly string[];
	readonly tables: readonly Table[];
	/** Paragraphs after the tables. */
	readonly conclusions?: readonly string[];
	readonly plots: readonly Bars[];
	/** All figures, for the JSON file. */
	readonly figures: unknown;
}

export function markdown({title, machine, remarks, tables, conclusions}: Report): string {
	return [
		`# ${title}\n`,
		`${machineText(machine)}.\n`,
		...remarks.map(text => `${text}\n`),
		...tables.map(markdownTable),
		...(conclusions ?? []).map(text => `${text}\n`),
	].join('\n');
}

function html({title, machine, remarks, tables, conclusions, plots}: Report): string {
	const paragraphs = (texts: readonly string[]): string =>
		texts.map(text => `<p>${escape(text)}</p>\n`).join('');
	return `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>${escape(title)}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #24292f; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid #d0d7de; padding: 0.3em 0.7em; text-align: left; }
th { background: #f6f8fa; }
svg { display: block; margin: 0.8em 0; font: 12px system-ui, sans-serif; max-width: 100%; }
</style></head><body>
<h1>${escape(title)}</h1>
<p>${escape(machineText(machine))}</p>
${paragraphs(remarks)}${tables.map(htmlTable).join('')}${paragraphs(conclusions ?? [])}${plots.map(barPlot).join('')}</body></html>
`;
}

function escape(text: string): string {
	return text
		.replaceAll('&', '&amp;')
		.replaceAll('<', '&lt;')
		.replaceAll('>', '&gt;')
		.replaceAll('"', '&quot;');
}

/** Writes the three forms. Returns their paths. */
export function writeReport(directory: string, name: string, report: Report): readonly string[] {
	mkdirSync(directory, {recursive: true});
	const {machine, figures} = report;
	return Object.entries({
		md: markdown(report),
		json: `${JSON.stringify({machine, figures}, null, '\t')}\n`,
		html: html(report),
	}).map(([suffix, text]) => {
		const path = join(directory, `${name}.${suffix}`);
		writeFileSync(path, text);
		return path;
	});
}
