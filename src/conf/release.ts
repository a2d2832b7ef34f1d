/*++
/* NAME
/*	release 3
/* SUMMARY
/*	which format of the protocol a release of Postfix talks
/* DESCRIPTION
/*	Nothing in the first byte tells who is speaking: the release comes
/*	from the host, once, at start. The format changed within minor
/*	releases too, so the patch level counts.
/* DIAGNOSTICS
/*	ConfigurationError: a release before 3.4, which has no client role
/*	in tlsproxy(8), or a text that is no release.
/*--*/

import {ConfigurationError} from '../base/errors.ts';
import type {Format} from '../wire/field.ts';

/** How to talk to the clients of a release. */
export interface ReleaseFeatures {
	/** The release, as mail_version has it. */
	readonly release: string;
	/** False for a release that is newer than all we know; it is taken for the newest one. */
	readonly known: boolean;
	/** 3.MINOR.PATCH, for what else depends on the release. */
	readonly minor: number;
	readonly patch: number;
	readonly format: Format;
	/** Name of the format, for messages. */
	readonly name: string;
	/** The server speaks first. */
	readonly greeting: boolean;
	/** Trust settings are lists of digests, and no TLSA records. */
	readonly digestLists: boolean;
	/** A request that is refused does not count as a handshake that has failed. */
	readonly quietRefusal: boolean;
	/** The server role has settings on the wire, and requests can be probes. */
	readonly serverSettings: boolean;
	/** TLS sessions that a service of the server role has made are resumed by no other. */
	readonly serviceSessions: boolean;
}

/*
 * First patch level of each format, per minor release, newest first. For 3.12 it
 * is the date of the snapshot; a release has none and is newer than all of them.
 */
const formatsByRelease: Readonly<Record<number, ReadonlyArray<readonly [patch: number, format: Format]>>> = {
	4: [[0, '3.4']],
	5: [
		[20, '3.5.20'],
		[0, '3.4'],
	],
	6: [
		[10, '3.6.10'],
		[0, '3.6'],
	],
	7: [
		[6, '3.6.10'],
		[0, '3.6'],
	],
	8: [
		[1, '3.8.1'],
		[0, '3.8.0'],
	],
	9: [[0, '3.9']],
	10: [[0, '3.10']],
	11: [[0, '3.11']],
	12: [[0, '3.12']],
};

/* First patch level of each minor release that says nothing of a handshake when there was none. */
const firstQuietPatch: Readonly<Record<number, number>> = {7: 16, 8: 11, 9: 5, 10: 4};

const NEWEST = 12;

/**
 * The profile of a release.
 *
 * @param mailVersion - such as `3.7.11`, `3.11.0-RC2` or `3.12-20260821`.
 * @throws {ConfigurationError} when there is none.
 */
export function releaseFeatures(mailVersion: string): ReleaseFeatures {
	const match = /^(\d+)\.(\d+)(?:\.(\d+))?(?:-.*)?$/.exec(mailVersion);
	const [major, minor, patch] = [Number(match?.[1]), Number(match?.[2]), Number(match?.[3] ?? 0)];
	if (match === null || major < 3 || (major === 3 && minor < 4)) {
		throw new ConfigurationError(`unsupported Postfix release: mail_version = ${mailVersion}`);
	}

	const known = major === 3 && minor <= NEWEST;
	const ranges = formatsByRelease[known ? minor : NEWEST] ?? [];
	const format = ranges.find(([first]) => !known || patch >= first)?.[1] ?? '3.12';
	return {
		release: mailVersion,
		known,
		minor: known ? minor : NEWEST,
		patch: known ? patch : 0,
		format,
		name: `p${format}`,
		greeting: format !== '3.4' && format !== '3.5.20',
		digestLists: format === '3.4' || format === '3.5.20',
		quietRefusal: !known || minor > 10 || patch >= (firstQuietPatch[minor] ?? Infinity),
		serverSettings: format === '3.12',
		serviceSessions: !known || minor > 11 || (minor === 11 && patch >= 7),
	};
}
