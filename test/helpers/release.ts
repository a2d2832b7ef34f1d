import {mailVersion} from '../../postfix/lib/instance.ts';

/** The minor number of a Postfix release 3.MINOR.PATCH; by default, of the installed one. */
export function minorRelease(version: string = mailVersion()): number {
	return Number(/^3\.(\d+)/.exec(version)?.[1] ?? Number.NaN);
}
