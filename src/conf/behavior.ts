/*++
/* NAME
/*	behavior 3
/* SUMMARY
/*	what the TLS engine of a Postfix release does differently
/* DESCRIPTION
/*	Clients of tlsproxy(8) and readers of its log know the engine of
/*	their release. Some changes came with patch levels, so those count.
/*	All differences are here, as data: the engine asks what it should
/*	do, and never which release this is.
/* SEE ALSO
/*	release(3), for the differences on the wire
/*--*/

/** A release: 3.MINOR.PATCH. */
export interface PatchLevel {
	readonly minor: number;
	readonly patch: number;
}

type DefaultGroups = readonly [curves: string, finiteFields: string];

/** How the engine of a release behaves. */
export interface Behavior {
	/** Names and digests are compared by Postfix's own code, not by OpenSSL. */
	readonly legacyVerification: boolean;
	/** The lowest and the highest protocol are limited for each connection, and not at all for the context. */
	readonly protocolLimits: boolean;
	/** How key exchange groups are configured: curves alone, groups by number, groups by name. */
	readonly groups: 'curves' | 'numbers' | 'names';
	/** The groups that the release has compiled in: those of tls_eecdh_auto_curves and tls_ffdhe_auto_groups. */
	readonly defaultGroups: DefaultGroups;
	/** The same for a library that knows groups by keyword: OpenSSL 3.5. */
	readonly defaultGroupsByKeyword: DefaultGroups;
	/** Diffie-Hellman parameters are those of the release where the administrator has none, and not those of the library. */
	readonly builtinDhParameters: boolean;
	/** Renegotiation is always off. */
	readonly noRenegotiation: boolean;
	/** Raw public keys instead of certificates. RFC 7250. */
	readonly rawPublicKeys: boolean;
	/** The line about a peer's certificate has the words that came with raw public keys. */
	readonly credentialLines: boolean;
	/** Key exchanges are called by their group. */
	readonly groupAsKeyExchange: boolean;
	/** A certificate is trusted when its name is all that is wrong with it. */
	readonly mismatchIsTrusted: boolean;
	/** What has been signed is told of resumed sessions too, although nothing has. */
	readonly resumedHasSignatures: boolean;
	/** Of several tickets on one connection only the first is kept. */
	readonly firstTicketOnly: boolean;
	/** Of a resumed session it is told that it was in a ticket only where it was, and not where it is now. */
	readonly openedTicketsOnly: boolean;
	/** tls_legacy_public_key_fingerprints has a meaning. */
	readonly legacyFingerprints: boolean;
	/** A server name is taken note of in any case, and its certificate is looked for when one is needed. */
	readonly lateServerNameLookup: boolean;
	/** Log levels are those of the connection, not of what selects its context. */
	readonly logLevelPerConnection: boolean;
}

/* The first patch level, per minor release, in which resumed sessions have no signatures. */
const unsignedResumption: Readonly<Record<number, number>> = {6: 17, 7: 13, 8: 8, 9: 2};

const FINITE_FIELDS = 'ffdhe2048 ffdhe3072';
const OLD_GROUPS = ['X25519 X448 prime256v1 secp521r1 secp384r1', FINITE_FIELDS] as const;
const GROUPS = ['X25519 X448 prime256v1 secp384r1 secp521r1', FINITE_FIELDS] as const;
const GROUPS_BY_KEYWORD = ['?X25519MLKEM768:DEFAULT', ''] as const;

/** The behavior of a release. */
export function behaviorOf({minor, patch}: PatchLevel): Behavior {
	const defaultGroups = minor < 10 ? OLD_GROUPS : GROUPS;
	return {
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
	};
}
