/*++
/* NAME
/*	release 3
/* SUMMARY
/*	the differences between Postfix releases
/* DESCRIPTION
/*	One table of everything that depends on the installed release: the
/*	format of the attribute protocol, the behavior of the TLS library,
/*	and the meaning of parameters. All other code tests for a feature,
/*	not for a version number.
/*
/*	The release is that of mail_version, which is read once, when the
/*	process starts. It cannot be determined from a connection: requests
/*	of different releases begin with the same bytes. Some features
/*	changed in patch releases, so the patch level matters.
/*
/*	A release that is newer than all known ones has the features of the
/*	newest known one.
/* DIAGNOSTICS
/*	ConfigurationError: a release before 3.4, whose tlsproxy(8) has no
/*	client role, or text that is not a release.
/* SEE ALSO
/*	parameters(3), which releases have which parameter
/*	messages(3), which formats have which field
/*--*/

import {ConfigurationError, Panic} from '../base/errors.ts';

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

/** Whether a format is a certain one, or a newer one. */
function isSince(format: Format, first: Format): boolean {
	return formats.indexOf(format) >= formats.indexOf(first);
}

type DefaultGroups = readonly [curves: string, finiteFields: string];

/** The features of one release. */
export interface ReleaseFeatures {
	/** The release, as in mail_version. */
	readonly release: string;
	/** False if the release is newer than all known ones. */
	readonly known: boolean;

	/* The attribute protocol. */

	readonly format: Format;
	/** The server, tlsproxy(8) or tlsmgr(8), sends a greeting when a client connects. */
	readonly greeting: boolean;
	/** Requests contain digests of certificates and keys instead of TLSA records. */
	readonly digestLists: boolean;
	/** A request that is rejected before the handshake is not logged as a failed handshake. */
	readonly quietRefusal: boolean;
	/** Requests in the server role contain settings, and can ask for a status only. */
	readonly serverSettings: boolean;

	/* The TLS library. */

	/** Names and digests are compared by code of Postfix, not by OpenSSL. */
	readonly legacyVerification: boolean;
	/** Protocol settings can have a minimum and a maximum; the client role applies them to connections, not to the SSL_CTX. */
	readonly protocolLimits: boolean;
	/** How key exchange groups are configured: curves only, groups by number, or groups by name. */
	readonly groups: 'curves' | 'numbers' | 'names';
	/** The built-in defaults of tls_eecdh_auto_curves and tls_ffdhe_auto_groups. */
	readonly defaultGroups: DefaultGroups;
	/** The same with OpenSSL 3.5 and later, which has group keywords. */
	readonly defaultGroupsByKeyword: DefaultGroups;
	/** Without a parameter file, the Diffie-Hellman parameters are those of Postfix, not of OpenSSL. */
	readonly builtinDhParameters: boolean;
	/** Renegotiation is always disabled. */
	readonly noRenegotiation: boolean;
	/** Raw public keys (RFC 7250) are supported. */
	readonly rawPublicKeys: boolean;
	/** Log lines about certificates have the form that was introduced with raw public keys. */
	readonly credentialLines: boolean;
	/** The reported key exchange is the name of the group. */
	readonly groupAsKeyExchange: boolean;
	/** A certificate whose only error is a name mismatch is reported as trusted. */
	readonly mismatchIsTrusted: boolean;
	/** The report on a resumed session contains signature details, although nothing was signed. */
	readonly resumedHasSignatures: boolean;
	/** Only the first ticket of a connection is stored. */
	readonly firstTicketOnly: boolean;
	/** The server logs a session ticket only if it was decrypted; earlier releases, also if one was issued. */
	readonly openedTicketsOnly: boolean;
	/** tls_legacy_public_key_fingerprints has an effect. */
	readonly legacyFingerprints: boolean;
	/** The server looks up the certificate for a server name when it needs one, not when it receives the name. */
	readonly lateServerNameLookup: boolean;
	/** The log level is a setting of the connection, not of the SSL_CTX. */
	readonly logLevelPerConnection: boolean;
	/** A session of the server role can be resumed by the service that created it only. */
	readonly serviceSessions: boolean;

	/* Configuration. */

	/** compatibility_level is a version number; in earlier releases, an integer. */
	readonly compatibilityVersions: boolean;
	/** main.cf has the functions domain_to_ascii{} and domain_to_utf8{}. */
	readonly domainFunctions: boolean;
	/** Requests contain tls_low_cipherlist and tls_export_cipherlist. */
	readonly obsoleteCipherLists: boolean;
	/** tlsproxy_tls_eecdh_grade selects the curves of the server role. */
	readonly curveByGrade: boolean;
	/** If the server role is disabled, each request logs a warning; in earlier releases, the start of the process does. */
	readonly warnsOfDisabledServer: boolean;
	/** An additional warning is logged if the server role cannot be initialized. */
	readonly warnsOfServerInit: boolean;
}

/*
 * The formats of each minor release with their first patch level, newest first. Snapshots
 * and release candidates have patch level 0.
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

/* First patch level of minor releases with quietRefusal. */
const firstQuietPatch: Readonly<Record<number, number>> = {7: 16, 8: 11, 9: 5, 10: 4};

/* First patch level of minor releases without resumedHasSignatures. */
const unsignedResumption: Readonly<Record<number, number>> = {6: 17, 7: 13, 8: 8, 9: 2};

const FINITE_FIELDS = 'ffdhe2048 ffdhe3072';
const OLD_GROUPS = ['X25519 X448 prime256v1 secp521r1 secp384r1', FINITE_FIELDS] as const;
const GROUPS = ['X25519 X448 prime256v1 secp384r1 secp521r1', FINITE_FIELDS] as const;
const GROUPS_BY_KEYWORD = ['?X25519MLKEM768:DEFAULT', ''] as const;

/* Minor number of the newest known release. */
const NEWEST = Math.max(...Object.keys(formatsByRelease).map(Number));

function formatOf(minor: number, patch: number): Format {
	const format = formatsByRelease[minor]?.find(([first]) => patch >= first)?.[1];
	if (format === undefined) {
		throw new Panic(`Postfix 3.${minor} has no format`);
	}

	return format;
}

/**
 * The features of a release.
 *
 * @param mailVersion - such as `3.7.11`, `3.11.0-RC2` or `3.12-20260821`.
 * @throws {ConfigurationError} if the release is not supported, or the text is not a release.
 */
export function releaseFeatures(mailVersion: string): ReleaseFeatures {
	const match = /^(\d+)\.(\d+)(?:\.(\d+))?(?:-.*)?$/.exec(mailVersion);
	const [major, minorNumber, patchNumber] = [Number(match?.[1]), Number(match?.[2]), Number(match?.[3] ?? 0)];
	if (match === null || major < 3 || (major === 3 && minorNumber < 4)) {
		throw new ConfigurationError(`unsupported Postfix release: mail_version = ${mailVersion}`);
	}

	const known = major === 3 && minorNumber <= NEWEST;
	/* An unknown release includes all patches of the newest known one. */
	const [minor, patch] = known ? [minorNumber, patchNumber] : [NEWEST, Infinity];
	const format = formatOf(minor, patch);
	const defaultGroups = minor < 10 ? OLD_GROUPS : GROUPS;
	return {
		release: mailVersion,
		known,

		format,
		greeting: isSince(format, '3.6'),
		digestLists: !isSince(format, '3.6'),
		quietRefusal: minor > 10 || patch >= (firstQuietPatch[minor] ?? Infinity),
		serverSettings: isSince(format, '3.12'),

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

		compatibilityVersions: minor >= 6,
		domainFunctions: minor >= 11,
		obsoleteCipherLists: minor < 8,
		curveByGrade: minor < 6,
		warnsOfDisabledServer: minor >= 11,
		warnsOfServerInit: minor >= 12,
	};
}
