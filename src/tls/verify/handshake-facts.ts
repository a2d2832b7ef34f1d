/*++
/* NAME
/*	handshake-facts 3
/* SUMMARY
/*	the values that handshake reports are built from
/* DESCRIPTION
/*	A connection collects these values until the end of its handshake.
/*	There is one type per role. The connection drops them when it has
/*	built the report: a request takes kilobytes, and a session may last
/*	for hours.
/* SEE ALSO
/*	client-report(3), server-report(3), legacy-verification(3)
/*--*/

import type {ReleaseFeatures} from '../../conf/release.ts';
import type {Ssl} from '../../ffi/openssl/ssl.ts';
import type {ClientStart} from '../../wire/client-settings.ts';
import type {Fingerprinting} from './peer-names.ts';
import type {VerifyState} from './verify-callback.ts';

/** The facts that the reports of both roles need. */
interface CommonFacts {
	/** Borrowed from the connection. */
	readonly ssl: Ssl;
	readonly features: ReleaseFeatures;
	readonly verifyState: VerifyState;
	readonly fingerprinting: Fingerprinting;
}

/** A handshake with a server. */
export interface ClientHandshakeFacts extends CommonFacts {
	/** The settings of the request. */
	readonly start: ClientStart;
	/** The security level in effect: without a usable TLSA record, dane becomes encrypt. */
	readonly level: number;
	/** tls_wildcard_matches_multiple_labels */
	readonly wildcardMatchesMultipleLabels: boolean;
}

/** A handshake with a client. */
export interface ServerHandshakeFacts extends CommonFacts {
	/** Whether session tickets were issued and decrypted; up to date when the handshake is complete. */
	readonly tickets: {readonly issued: boolean; readonly opened: boolean};
	/** The server name for which a certificate was found; empty without one. */
	readonly sni: {readonly name: string} | undefined;
}
