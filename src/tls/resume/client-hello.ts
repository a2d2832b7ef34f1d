/*++
/* NAME
/*	client-hello 3
/* SUMMARY
/*	what a client offers to resume
/* DESCRIPTION
/*	Tells from the hello of a client which tickets and which sessions
/*	OpenSSL will ask for a moment later. It is a guess: OpenSSL has not
/*	chosen the protocol yet. What is forgotten here costs a complete
/*	handshake, what is too much costs a question.
/*
/*	The hello comes from a stranger. Whatever does not look like what
/*	it should is nothing.
/* SEE ALSO
/*	RFC 8446, section 4.2; RFC 5077
/*--*/

/** A hello, as far as it matters here. */
export interface ClientHello {
	readonly sessionId: Uint8Array;
	/** The contents of an extension; undefined when there is none of that type. */
	extension(type: number): Uint8Array | undefined;
}

/** What the server's side has to do with it. */
export interface ServerCapabilities {
	/** TLS 1.3 may be chosen. */
	readonly modern: boolean;
	/** Sessions travel in tickets. */
	readonly tickets: boolean;
	/** Sessions are kept. */
	readonly sessions: boolean;
}

/** What is offered. */
export interface OfferedResumption {
	/** Names of the keys of tickets. */
	readonly keyNames: readonly Uint8Array[];
	/** Ids of sessions. */
	readonly sessionIds: readonly Uint8Array[];
}

/* Types of extensions. Source: RFC 5077, RFC 8446. */
const SESSION_TICKET = 35;
const PRE_SHARED_KEY = 41;
const SUPPORTED_VERSIONS = 43;

const TLS1_3_VERSION = 0x0304;
/** Bytes of the name of a key, at the beginning of a ticket. */
const NAME_SIZE = 16;
const SESSION_ID_LIMIT = 32;
/** Offers that are looked at. Clients make one. */
const OFFER_LIMIT = 4;

/** What a client offers to resume. */
export function offeredResumption(
	hello: ClientHello,
	{modern, tickets, sessions}: ServerCapabilities,
): OfferedResumption {
	/* With TLS 1.3 the session id is random, and the ticket of an older protocol does not count. */
	if (modern && offersModern(hello.extension(SUPPORTED_VERSIONS))) {
		const identities = identitiesOf(hello.extension(PRE_SHARED_KEY));
		return {
			keyNames: tickets ? identities.flatMap(keyNameOf) : [],
			sessionIds: !tickets && sessions ? identities.filter(isSessionId) : [],
		};
	}

	const ticket = hello.extension(SESSION_TICKET);
	if (tickets && ticket !== undefined && ticket.length > 0) {
		return {keyNames: keyNameOf(ticket), sessionIds: []};
	}

	return {keyNames: [], sessionIds: sessions ? [hello.sessionId].filter(isSessionId) : []};
}

function isSessionId(bytes: Uint8Array): boolean {
	return bytes.length > 0 && bytes.length <= SESSION_ID_LIMIT;
}

function keyNameOf(ticket: Uint8Array): readonly Uint8Array[] {
	return ticket.length >= NAME_SIZE ? [ticket.subarray(0, NAME_SIZE)] : [];
}

function offersModern(versions: Uint8Array | undefined): boolean {
	if (versions === undefined) {
		return false;
	}

	for (let at = 1; at + 2 <= versions.length; at += 2) {
		if (wordAt(versions, at) === TLS1_3_VERSION) {
			return true;
		}
	}

	return false;
}

/* Each one has its length in front, and its age behind it. */
function identitiesOf(offer: Uint8Array | undefined): readonly Uint8Array[] {
	const identities: Uint8Array[] = [];
	if (offer === undefined || offer.length < 2) {
		return identities;
	}

	const end = Math.min(2 + wordAt(offer, 0), offer.length);
	for (let at = 2; at + 2 <= end && identities.length < OFFER_LIMIT; ) {
		const length = wordAt(offer, at);
		if (at + 2 + length + 4 > end) {
			break;
		}

		identities.push(offer.subarray(at + 2, at + 2 + length));
		at += 2 + length + 4;
	}

	return identities;
}

function wordAt(bytes: Uint8Array, at: number): number {
	return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
