import {mailVersion} from '../../postfix/lib/instance.ts';
import {releaseFeatures} from '../../src/conf/release.ts';

/** The minor number of a Postfix release 3.MINOR.PATCH; by default, of the installed one. */
export function minorRelease(version: string = mailVersion()): number {
	return Number(/^3\.(\d+)/.exec(version)?.[1] ?? Number.NaN);
}

/** The minor number of the newest Postfix release that this program knows. */
export const newestMinor = newestKnown(4);

function newestKnown(minor: number): number {
	return releaseFeatures(`3.${minor + 1}.0`).known ? newestKnown(minor + 1) : minor;
}
