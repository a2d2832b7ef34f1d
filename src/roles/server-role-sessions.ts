/*++
/* NAME
/*	server-role-sessions 3
/* SUMMARY
/*	sessions that clients come back with: those of tlsmgr(8)
/* DESCRIPTION
/*	All processes of Postfix that clients may meet share these
/*	sessions and the keys of their tickets, and tlsmgr(8) has them.
/*	This process only remembers the keys.
/*--*/

import type {Seconds} from '../base/units.ts';
import type {ReleaseFeatures} from '../conf/release.ts';
import type {ServerSessionPolicy, ServerSessions} from '../tls/resume/server-resumption.ts';
import {TicketKeys} from '../tls/resume/ticket-keys.ts';
import {cachePolicy} from '../tlsmgr/cache-policy.ts';
import type {TlsmgrClient} from '../tlsmgr/tlsmgr-client.ts';
import type {TicketKey} from '../wire/ticket-key.ts';

/** The cache type of servers. */
const CACHE_TYPE = 'smtpd';

const nothing: ServerSessionPolicy = {cachable: false, timeout: 0 as Seconds};

/** Keeps sessions of clients. */
export class ServerRoleSessions implements ServerSessions {
	readonly perService: boolean;
	readonly #tlsmgr: TlsmgrClient;
	readonly #keys = new TicketKeys();
	#policy = nothing;

	/** @param manager - borrowed. */
	constructor(tlsmgr: TlsmgrClient, {serviceSessions}: ReleaseFeatures) {
		this.#tlsmgr = tlsmgr;
		this.perService = serviceSessions;
	}

	/** Learns how sessions are kept. Until then, and when nobody can tell, they are not. */
	async learn(): Promise<void> {
		this.#policy = (await cachePolicy(this.#tlsmgr, CACHE_TYPE)) ?? nothing;
	}

	policyOf(cacheType: string): ServerSessionPolicy {
		return cacheType === CACHE_TYPE ? this.#policy : nothing;
	}

	find(cacheType: string, key: string, done: (session: Uint8Array | undefined) => void): void {
		this.#tlsmgr.lookup(cacheType, key, done);
	}

	keep(cacheType: string, key: string, session: Uint8Array): void {
		this.#tlsmgr.update(cacheType, key, session);
	}

	ticketKey(
		name: Uint8Array | undefined,
		timeout: Seconds,
		done: (key: TicketKey | undefined) => void,
	): void {
		const known = this.#keys.find(name, Math.floor(Date.now() / 1000), timeout);
		if (known !== undefined) {
			done(known);
			return;
		}

		this.#tlsmgr.ticketKey(name, key => {
			if (key !== undefined) {
				this.#keys.add(key);
			}

			done(key);
		});
	}
}
