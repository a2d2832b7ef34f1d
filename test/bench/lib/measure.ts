/*
 * Samples of benchmarks and their statistics.
 */

import type {Authority} from './rig.ts';
import {programs} from './rig.ts';

/** The parameters of a benchmark run. */
export interface RunOptions {
	readonly authority: Authority;
	/** Number of samples of each program. */
	readonly samples: number;
	/** Factor for the work in each sample: less than one in a short run. */
	readonly scale: number;
	/** Shows progress to the user. */
	readonly logProgress: (text: string) => void;
}

/** The figures of one measure. */
export interface Measure {
	/** The measured quantity, with the size of the work. */
	readonly name: string;
	readonly unit: string;
	/** Samples by program, in the order in which they were taken. */
	readonly samples: Readonly<Record<string, readonly number[]>>;
	readonly goal?: Goal;
	/** A remark for the reader. */
	readonly note?: string;
}

/** A limit for the ratio of the medians, or for the median of this program. */
export interface Goal {
	readonly of: 'ratio' | 'ours';
	readonly bound: 'at most' | 'at least';
	/** The required figure. */
	readonly limit: number;
	/** A better figure that is desired. */
	readonly target?: number;
}

/** One benchmark. Each is a file in the folder above. */
export interface Operation {
	readonly name: string;
	run(options: RunOptions): Promise<readonly Measure[]>;
}

export function median(samples: readonly number[]): number {
	return quantile(samples, 0.5);
}

/** @param share - between 0 and 1. */
export function quantile(samples: readonly number[], share: number): number {
	const sorted = samples.toSorted((a, b) => a - b);
	const position = (sorted.length - 1) * share;
	const below = sorted[Math.floor(position)] ?? Number.NaN;
	const above = sorted[Math.ceil(position)] ?? Number.NaN;
	return below + (above - below) * (position - Math.floor(position));
}

/** Half the distance of the middle half, as a share of the median. */
export function spread(samples: readonly number[]): number {
	return (quantile(samples, 0.75) - quantile(samples, 0.25)) / 2 / median(samples);
}

/** Takes samples of all subjects alternately, so that changes of the machine affect all of them. */
export async function interleaved<Subject>(
	count: number,
	subjects: ReadonlyArray<readonly [name: string, subject: Subject]>,
	sample: (subject: Subject) => Promise<number>,
): Promise<Record<string, number[]>> {
	const samples: Record<string, number[]> = Object.fromEntries(subjects.map(([name]) => [name, []]));
	for (let round = 0; round < count; round++) {
		/* The previous sample affects the next one, so the order alternates, too. */
		for (const [name, subject] of round % 2 === 0 ? subjects : subjects.toReversed()) {
			samples[name]?.push(await sample(subject));
		}
	}

	return samples;
}

/** Ratio of the medians, ours to stock; undefined if only one program was measured. */
export function ratioOf({samples}: Measure): number | undefined {
	const [stock, ours] = programs.map(name => samples[name]);
	return stock === undefined || ours === undefined ? undefined : median(ours) / median(stock);
}

/** Compares a figure with its goal; undefined without a goal. */
export function verdict(measure: Measure): 'target' | 'limit' | 'missed' | undefined {
	const {goal, samples} = measure;
	if (goal === undefined) {
		return undefined;
	}

	const value = goal.of === 'ratio' ? ratioOf(measure) : median(samples['ours'] ?? []);
	const reaches = (limit: number): boolean =>
		value !== undefined && (goal.bound === 'at most' ? value <= limit : value >= limit);
	if (goal.target !== undefined && reaches(goal.target)) {
		return 'target';
	}

	return reaches(goal.limit) ? 'limit' : 'missed';
}
