/*++
/* NAME
/*	release 3
/* SUMMARY
/*	what differs between releases of Postfix
/* DESCRIPTION
/*	One table of everything that depends on the installed release: the
/*	format of the attribute protocol, the behavior of the TLS library,
/*	and the meaning of parameters. All other code asks for a feature,
/*	never for a version number.
/*
/*	The first byte of a connection does not identify the sender's
/*	release: it comes from mail_version of the host, once, at start.
/*	Some features changed in patch releases, so the patch level counts.
/*
/*	A release newer than every known one is treated as the newest one.
/* DIAGNOSTICS
/*	ConfigurationError: a release before 3.4, whose tlsproxy(8) has no
/*	client role, or text that is not a release.
/* SEE ALSO
/*	parameters(3), which releases have which parameter
/*--*/

import {ConfigurationError} from '../base/errors.ts';

/** A Postfix release, `major.minor`. */
export type Release = `${number}.${number}`;

/** Orders releases: negative when `a` is older than `b`. */
export function compareReleases(a: Release, b: Release): number {
	const [aMajor = 0, aMinor = 0] = a.split('.').map(Number);
	const [bMajor = 0, bMinor = 0] = b.split('.').map(Number);
	return aMajor - bMajor || aMinor - bMinor;
}

/** Formats of the attribute protocol, oldest first, each named after the release that introduced it. */
export const formats = [
	'3.4',
	'3.5.20',
	'3.6',
	'3.6.10',
	'3.8.0',
	'3.8.1',
	'3.9',
	'3.10',
	'3.11',
	'3.12',
] as const;

/** A format of the attribute protocol. */
export type Format = (typeof formats)[number];

type DefaultGroups = readonly [curves: string, finiteFields: string];

/** The features of one release. */
export interface ReleaseFeatures {
	/** The release, as in mail_version. */
	readonly release: string;
	/** False for a release newer than every known one; it has the features of the newest known one. */
	readonly known: boolean;
	/** Of 3.MINOR.PATCH; for an unknown release, of the newest known one. */
	readonly minor: number;
	/** Of 3.MINOR.PATCH; zero for an unknown release. */
	readonly patch: number;

	/* The attribute protocol. */

	readonly format: Format;
	/** The server sends a greeting when a client connects. */
	readonly greeting: boolean;
	/** Trust settings are lists of digests instead of TLSA records. */
	readonly digestLists: boolean;
	/** Refusing a request is not logged as a failed handshake. */
	readonly quietRefusal: boolean;
	/** Requests of the server role carry settings, and can ask for a status only. */
	readonly serverSettings: boolean;

	/* The TLS library. */

	/** Names and digests are compared by Postfix's own code, not by OpenSSL. */
	readonly legacyVerification: boolean;
	/** Protocol versions are limited per connection (minimum and maximum), not in the SSL_CTX. */
	readonly protocolLimits: boolean;
	/** How key exchange groups are configured: curves only, groups by number, or groups by name. */
	readonly groups: 'curves' | 'numbers' | 'names';
	/** The compiled-in defaults of tls_eecdh_auto_curves and tls_ffdhe_auto_groups. */
	readonly defaultGroups: DefaultGroups;
	/** The same with an OpenSSL that has group keywords, 3.5 and later. */
	readonly defaultGroupsByKeyword: DefaultGroups;
	/** Without a parameter file, Diffie-Hellman parameters are Postfix's, not OpenSSL's. */
	readonly builtinDhParameters: boolean;
	/** Renegotiation is always disabled. */
	readonly noRenegotiation: boolean;
	/** Raw public keys are supported. RFC 7250. */
	readonly rawPublicKeys: boolean;
	/** The log line about a peer's certificate has the form that raw public keys introduced. */
	readonly credentialLines: boolean;
	/** The reported key exchange is the name of the group. */
	readonly groupAsKeyExchange: boolean;
	/** A certificate whose only error is a name mismatch is reported as trusted. */
	readonly mismatchIsTrusted: boolean;
	/** Reports of resumed sessions contain signature details, although nothing was signed. */
	readonly resumedHasSignatures: boolean;
	/** Only the first ticket of a connection is stored. */
	readonly firstTicketOnly: boolean;
	/** A resumed session is logged as a ticket only when a ticket was opened. */
	readonly openedTicketsOnly: boolean;
	/** tls_legacy_public_key_fingerprints has an effect. */
	readonly legacyFingerprints: boolean;
	/** Any server name is accepted at first; its certificate is looked up when one is needed. */
	readonly lateServerNameLookup: boolean;
	/** Log levels belong to a connection, not to its SSL_CTX. */
	readonly logLevelPerConnection: boolean;
	/** Sessions that a service of the server role created are resumed by no other service. */
	readonly serviceSessions: boolean;

	/* Configuration. */

	/** main.cf has the functions domain_to_ascii{} and domain_to_utf8{}. */
	readonly domainFunctions: boolean;
	/** compatibility_level is a version; in earlier releases it is one number. */
	readonly compatibilityVersions: boolean;
	/** Requests contain tls_low_cipherlist and tls_export_cipherlist. */
	readonly obsoleteCipherLists: boolean;
	/** tlsproxy_tls_eecdh_grade selects the curve of the server role. */
	readonly curveByGrade: boolean;
	/** Clients of a disabled server role are told so in a warning for each request, not in one at start. */
	readonly warnsOfDisabledServer: boolean;
	/** A server role that cannot be initialized is logged in a line of its own. */
	readonly warnsOfServerInit: boolean;
}

/*
 * First patch level of each format, per minor release, newest first. For 3.12 the patch
 * level is the date of the snapshot; a release has none and is newer than all of them.
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

/* First patch level, per minor release, that does not log a refusal as a failed handshake. */
const firstQuietPatch: Readonly<Record<number, number>> = {7: 16, 8: 11, 9: 5, 10: 4};

/* First patch level, per minor release, that reports no signatures for resumed sessions. */
const unsignedResumption: Readonly<Record<number, number>> = {6: 17, 7: 13, 8: 8, 9: 2};

const FINITE_FIELDS = 'ffdhe2048 ffdhe3072';
const OLD_GROUPS = ['X25519 X448 prime256v1 secp521r1 secp384r1', FINITE_FIELDS] as const;
const GROUPS = ['X25519 X448 prime256v1 secp384r1 secp521r1', FINITE_FIELDS] as const;
const GROUPS_BY_KEYWORD = ['?X25519MLKEM768:DEFAULT', ''] as const;

const NEWEST = 12;

/**
 * The features of a release.
 *
 * @param mailVersion - such as `3.7.11`, `3.11.0-RC2` or `3.12-20260821`.
 * @throws {ConfigurationError} when the release is not supported, or the text is not a release.
 */
export function releaseFeatures(mailVersion: string): ReleaseFeatures {
	const match = /^(\d+)\.(\d+)(?:\.(\d+))?(?:-.*)?$/.exec(mailVersion);
	const [major, minorNumber, patchNumber] = [Number(match?.[1]), Number(match?.[2]), Number(match?.[3] ?? 0)];
	if (match === null || major < 3 || (major === 3 && minorNumber < 4)) {
		throw new ConfigurationError(`unsupported Postfix release: mail_version = ${mailVersion}`);
	}

	const known = major === 3 && minorNumber <= NEWEST;
	const [minor, patch] = known ? [minorNumber, patchNumber] : [NEWEST, 0];
	const format = formatsByRelease[minor]?.find(([first]) => !known || patch >= first)?.[1] ?? '3.12';
	const defaultGroups = minor < 10 ? OLD_GROUPS : GROUPS;
	return {
		release: mailVersion,
		known,
		minor,
		patch,

		format,
		greeting: format !== '3.4' && format !== '3.5.20',
		digestLists: format === '3.4' || format === '3.5.20',
		quietRefusal: minor > 10 || patch >= (firstQuietPatch[minor] ?? Infinity),
		serverSettings: format === '3.12',

		legacyVerification: minor < 6,
		protocolLimits: minor >= 6,
		groups: minor < 8 ? 'curves' : minor < 10 ? 'numbers' : 'names',
		defaultGroups,
		defaultGroupsByKeyword: minor < 11 ? defaultGroups : GROUPS_BY_KEYWORD,
		builtinDhParameters: minor < 6,
		noRenegotiation: minor >= 8,
		rawPublicKeys: minor >= 9,
		credentialLines: minor >= 9,
		groupAsKeyExchange: minor >= 10,
		mismatchIsTrusted: minor > 10 || (minor === 10 && patch >= 4),
		resumedHasSignatures: minor < 6 || patch < (unsignedResumption[minor] ?? 0),
		firstTicketOnly: minor >= 11,
		openedTicketsOnly: minor >= 11,
		legacyFingerprints: minor < 9,
		lateServerNameLookup: minor >= 12,
		logLevelPerConnection: minor >= 12,
		serviceSessions: minor > 11 || (minor === 11 && patch >= 7),

		domainFunctions: minor >= 11,
		compatibilityVersions: minor >= 6,
		obsoleteCipherLists: minor < 8,
		curveByGrade: minor < 6,
		warnsOfDisabledServer: minor >= 11,
		warnsOfServerInit: minor >= 12,
	};
}
