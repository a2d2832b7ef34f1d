/*++
/* NAME
/*	ticket-key 3
/* SUMMARY
/*	decode the keys of session tickets
/* DESCRIPTION
/*	tlsmgr(8) makes the keys, and gives them to all programs that issue
/*	session tickets. A key is sent as the C structure TLS_TICKET_KEY,
/*	as it is in memory on a machine with 64-bit time_t: a name, two
/*	keys, and a time.
/* SECURITY
/*	With a key, all sessions can be decrypted whose tickets were made
/*	with it.
/* SEE ALSO
/*	postfix src/tls/tls_scache.h
/*--*/

/** The name and keys of session tickets. The arrays are views of the bytes that were decoded. */
export interface TicketKey {
	/** 16 bytes; identifies the key in a ticket. */
	readonly name: Uint8Array;
	/** 32 bytes. */
	readonly cipherKey: Uint8Array;
	/** 32 bytes. */
	readonly macKey: Uint8Array;
	/** Time after which no tickets are issued with it, in seconds since 1970. */
	readonly expires: number;
}

const NAME_END = 16;
const CIPHER_KEY_END = NAME_END + 32;
const MAC_KEY_END = CIPHER_KEY_END + 32;

/** Size of the structure in bytes. */
export const TICKET_KEY_SIZE = MAC_KEY_END + 8;

/** Decodes a key. @param bytes - {@link TICKET_KEY_SIZE} bytes. */
export function ticketKeyOf(bytes: Buffer): TicketKey {
	return {
		name: bytes.subarray(0, NAME_END),
		cipherKey: bytes.subarray(NAME_END, CIPHER_KEY_END),
		macKey: bytes.subarray(CIPHER_KEY_END, MAC_KEY_END),
		expires: Number(bytes.readBigInt64LE(MAC_KEY_END)),
	};
}
