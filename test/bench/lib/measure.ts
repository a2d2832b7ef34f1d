/*
 * Samples, and what is made of them.
 */

import type {Authority} from './rig.ts';
import {programs} from './rig.ts';

/** What an operation is measured with. */
export interface Setting {
	readonly authority: Authority;
	/** Samples of each program. */
	readonly samples: number;
	/** Share of the usual work in each sample: less than one in a short run. */
	readonly scale: number;
	/** Tells who waits what is going on. */
	readonly say: (text: string) => void;
}

/** The figures of one measure. */
export interface Measure {
	/** What is measured, with its size. */
	readonly name: string;
	readonly unit: string;
	/** Samples by program; the order is that in which they were taken. */
	readonly samples: Readonly<Record<string, readonly number[]>>;
	/** What the figure has to be, and what would be better still. */
	readonly goal?: Goal;
	/** What a reader has to know. */
	readonly note?: string;
}

/** A limit for a ratio of medians, or for the median of ours. */
export interface Goal {
	readonly of: 'ratio' | 'ours';
	readonly sense: 'at most' | 'at least';
	readonly must: number;
	readonly beyond?: number;
}

/** One operation: a file of this folder. */
export interface Operation {
	readonly name: string;
	run(setting: Setting): Promise<readonly Measure[]>;
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

/** Takes samples in turns, so that what changes on the machine changes for all. */
export async function interleaved<Subject>(
	count: number,
	subjects: ReadonlyArray<readonly [name: string, subject: Subject]>,
	sample: (subject: Subject) => Promise<number>,
): Promise<Record<string, number[]>> {
	const samples: Record<string, number[]> = Object.fromEntries(subjects.map(([name]) => [name, []]));
	for (let round = 0; round < count; round++) {
		/* Who comes second finds the machine as the first has left it: they take turns at that too. */
		for (const [name, subject] of round % 2 === 0 ? subjects : subjects.toReversed()) {
			samples[name]?.push(await sample(subject));
		}
	}

	return samples;
}

/** Ratio of the medians, ours to stock; undefined where there is only one of them. */
export function ratioOf({samples}: Measure): number | undefined {
	const [stock, ours] = programs.map(name => samples[name]);
	return stock === undefined || ours === undefined ? undefined : median(ours) / median(stock);
}

/** Whether a figure is as wanted: undefined where nothing was wanted. */
export function verdict(measure: Measure): 'beyond' | 'met' | 'missed' | undefined {
	const {goal, samples} = measure;
	if (goal === undefined) {
		return undefined;
	}

	const value = goal.of === 'ratio' ? ratioOf(measure) : median(samples['ours'] ?? []);
	const reaches = (limit: number): boolean =>
		value !== undefined && (goal.sense === 'at most' ? value <= limit : value >= limit);
	if (goal.beyond !== undefined && reaches(goal.beyond)) {
		return 'beyond';
	}

	return reaches(goal.must) ? 'met' : 'missed';
}
