/*++
/* NAME
/*	ticket-key 3
/* SUMMARY
/*	what session tickets are made with
/* DESCRIPTION
/*	tlsmgr(8) makes the keys and hands them to all programs that issue
/*	tickets, as a C structure as it lies in memory, of a machine with
/*	time_t of 64 bits: two keys between a name and a time.
/* SECURITY
/*	Whoever has a key can read the sessions in all tickets that were
/*	made with it.
/* SEE ALSO
/*	postfix src/tls/tls_scache.h
/*--*/

/** What session tickets are made with. */
export interface TicketKey {
	readonly name: Uint8Array;
	readonly cipherKey: Uint8Array;
	readonly macKey: Uint8Array;
	/** When it is to issue no more tickets, in seconds since 1970. */
	readonly expires: number;
}

const NAME_END = 16;
const CIPHER_KEY_END = NAME_END + 32;
const MAC_KEY_END = CIPHER_KEY_END + 32;

/** Bytes of a key with its name and time. */
export const TICKET_KEY_SIZE = MAC_KEY_END + 8;

/** The key in {@link TICKET_KEY_SIZE} bytes. */
export function ticketKeyOf(bytes: Buffer): TicketKey {
	return {
		name: bytes.subarray(0, NAME_END),
		cipherKey: bytes.subarray(NAME_END, CIPHER_KEY_END),
		macKey: bytes.subarray(CIPHER_KEY_END, MAC_KEY_END),
		expires: Number(bytes.readBigInt64LE(MAC_KEY_END)),
	};
}
