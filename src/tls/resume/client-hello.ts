/*++
/* NAME
/*	client-hello 3
/* SUMMARY
/*	predicts from a ClientHello which sessions OpenSSL looks up
/* DESCRIPTION
/*	Determines from the ClientHello which ticket keys and sessions
/*	OpenSSL will need a moment later. This is a prediction: OpenSSL has
/*	not chosen the protocol version yet. A missing entry costs a full
/*	handshake, an unnecessary entry costs a lookup.
/* SECURITY
/*	The ClientHello is untrusted input. Malformed parts are ignored.
/* SEE ALSO
/*	RFC 8446, section 4.2; RFC 5077
/*--*/

/** The parts of a ClientHello that offer a session. */
export interface ClientHello {
	readonly sessionId: Uint8Array;
	/** The contents of the extension of a type; undefined if the ClientHello has no such extension. */
	extension(type: number): Uint8Array | undefined;
}

/** How the server can resume sessions. */
export interface ServerCapabilities {
	/** TLS 1.3 is enabled. */
	readonly tls13: boolean;
	/** Tickets are enabled. */
	readonly tickets: boolean;
	/** Sessions are stored under their ids. */
	readonly sessionIds: boolean;
}

/** The sessions that a client offers. */
export interface OfferedResumption {
	/** Names of the keys that its tickets are encrypted with: 16 bytes each. */
	readonly keyNames: readonly Uint8Array[];
	/** Session ids: 1 to 32 bytes each. */
	readonly sessionIds: readonly Uint8Array[];
}

/* Extension types. Source: RFC 5077, RFC 8446. */
const SESSION_TICKET = 35;
const PRE_SHARED_KEY = 41;
const SUPPORTED_VERSIONS = 43;

const TLS1_3_VERSION = 0x0304;
/** Bytes of the key name at the start of a ticket. */
const KEY_NAME_SIZE = 16;
/** Bytes of a session id. */
const SESSION_ID_LIMIT = 32;
/** Identities of pre_shared_key that are examined. Clients send one. */
const IDENTITY_LIMIT = 4;

/** The sessions that a client offers, as far as the server can resume them. */
export function offeredResumption(
	hello: ClientHello,
	{tls13, tickets, sessionIds}: ServerCapabilities,
): OfferedResumption {
	/* With TLS 1.3 the session id is random, and the ticket extension of older protocols is ignored. */
	if (tls13 && offersTls13(hello.extension(SUPPORTED_VERSIONS))) {
		const identities = pskIdentities(hello.extension(PRE_SHARED_KEY));
		return {
			keyNames: tickets ? identities.flatMap(keyNameOf) : [],
			sessionIds: !tickets && sessionIds ? identities.filter(isSessionId) : [],
		};
	}

	const ticket = hello.extension(SESSION_TICKET);
	if (tickets && ticket !== undefined && ticket.length > 0) {
		return {keyNames: keyNameOf(ticket), sessionIds: []};
	}

	return {keyNames: [], sessionIds: sessionIds ? [hello.sessionId].filter(isSessionId) : []};
}

function isSessionId(bytes: Uint8Array): boolean {
	return bytes.length > 0 && bytes.length <= SESSION_ID_LIMIT;
}

function keyNameOf(ticket: Uint8Array): readonly Uint8Array[] {
	return ticket.length >= KEY_NAME_SIZE ? [ticket.subarray(0, KEY_NAME_SIZE)] : [];
}

function offersTls13(versions: Uint8Array | undefined): boolean {
	if (versions === undefined) {
		return false;
	}

	for (let at = 1; at + 2 <= versions.length; at += 2) {
		if (uint16At(versions, at) === TLS1_3_VERSION) {
			return true;
		}
	}

	return false;
}

/* Source: RFC 8446, section 4.2.11: a list of uint16 length, identity, uint32 age. */
function pskIdentities(extension: Uint8Array | undefined): readonly Uint8Array[] {
	const identities: Uint8Array[] = [];
	if (extension === undefined || extension.length < 2) {
		return identities;
	}

	const end = Math.min(2 + uint16At(extension, 0), extension.length);
	for (let at = 2; at + 2 <= end && identities.length < IDENTITY_LIMIT; ) {
		const length = uint16At(extension, at);
		if (at + 2 + length + 4 > end) {
			break;
		}

		identities.push(extension.subarray(at + 2, at + 2 + length));
		at += 2 + length + 4;
	}

	return identities;
}

function uint16At(bytes: Uint8Array, at: number): number {
	return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
