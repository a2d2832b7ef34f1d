/*++
/* NAME
/*	ticket-keys 3
/* SUMMARY
/*	the session ticket keys that this process knows
/* DESCRIPTION
/*	tlsmgr(8) makes keys; a process remembers two of them, that which
/*	issues tickets and that before it. A key opens tickets for as long
/*	again as sessions are kept, so that the last ticket that it has
/*	issued is worth as much as the first.
/*
/*	The same in all programs of Postfix: a ticket of one is good for
/*	the others, and for none longer than for another.
/* SEE ALSO
/*	postfix src/tls/tls_scache.c, tls_scache_key()
/*--*/

import type {Seconds} from '../../base/units.ts';
import type {TicketKey} from '../../wire/ticket-key.ts';

/** Two keys, the one that expires last in front. */
export class TicketKeys {
	#keys: readonly TicketKey[] = [];

	/**
	 * A key that is good at a time.
	 *
	 * @param name - of the key that has to open a ticket; without, one is to be issued.
	 * @param time - in seconds since 1970.
	 * @param timeout - how long sessions are kept.
	 */
	find(name: Uint8Array | undefined, time: number, timeout: Seconds): TicketKey | undefined {
		const [newest] = this.#keys;
		if (name === undefined) {
			return newest !== undefined && newest.expires > time ? newest : undefined;
		}

		const found = this.#keys.find(key => Buffer.compare(key.name, name) === 0);
		return found !== undefined && found.expires + timeout > time ? found : undefined;
	}

	/** Remembers a key, in place of the older one. */
	add(key: TicketKey): void {
		const [newest] = this.#keys;
		this.#keys = newest === undefined ? [key] : newest.expires < key.expires ? [key, newest] : [newest, key];
	}
}
