/*++
/* NAME
/*	ticket-keys 3
/* SUMMARY
/*	a cache of session ticket keys
/* DESCRIPTION
/*	tlsmgr(8) creates the keys. A process caches two of them: the
/*	current key, which encrypts new tickets, and the previous key.
/*	After a key has expired it decrypts tickets for the session
/*	timeout, so that the last ticket can be used as long as the first.
/*
/*	All programs of Postfix use the same rules: each program can
/*	decrypt the tickets of the others, for the same time.
/* SEE ALSO
/*	postfix src/tls/tls_scache.c, tls_scache_key()
/*--*/

import type {Seconds} from '../../base/units.ts';
import type {TicketKey} from '../../wire/ticket-key.ts';

/** The two keys that expire last. */
export class TicketKeys {
	/* The current key first. */
	#keys: readonly TicketKey[] = [];

	/**
	 * A key that is valid at a time; undefined if it is not cached.
	 *
	 * @param name - of the key that decrypts a ticket; undefined: the key that encrypts new tickets.
	 * @param time - in seconds since 1970.
	 * @param timeout - how long sessions can be resumed.
	 */
	find(name: Uint8Array | undefined, time: number, timeout: Seconds): TicketKey | undefined {
		const [newest] = this.#keys;
		if (name === undefined) {
			return newest !== undefined && newest.expires > time ? newest : undefined;
		}

		const found = this.#keys.find(key => Buffer.compare(key.name, name) === 0);
		return found !== undefined && found.expires + timeout > time ? found : undefined;
	}

	/** Adds a key, which replaces the previous key. */
	add(key: TicketKey): void {
		const [newest] = this.#keys;
		this.#keys = newest === undefined ? [key] : newest.expires < key.expires ? [key, newest] : [newest, key];
	}
}
