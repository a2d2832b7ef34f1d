/*++
/* NAME
/*	server-role-sessions 3
/* SUMMARY
/*	stores the TLS sessions and ticket keys of the server role
/* DESCRIPTION
/*	tlsmgr(8) stores the sessions and the ticket keys for all server
/*	processes of Postfix. This process only caches the keys.
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

const noSessions: ServerSessionPolicy = {cachable: false, timeout: 0 as Seconds};

/** Stores sessions of clients with tlsmgr(8). */
export class ServerRoleSessions implements ServerSessions {
	readonly perService: boolean;
	readonly #tlsmgr: TlsmgrClient;
	readonly #keys = new TicketKeys();
	#policy = noSessions;

	/** @param tlsmgr - borrowed. */
	constructor(tlsmgr: TlsmgrClient, {serviceSessions}: ReleaseFeatures) {
		this.#tlsmgr = tlsmgr;
		this.perService = serviceSessions;
	}

	/** Asks tlsmgr(8) how sessions are stored. Until the reply, and without a reply, no session is stored. */
	async loadCachePolicy(): Promise<void> {
		this.#policy = (await cachePolicy(this.#tlsmgr, CACHE_TYPE)) ?? noSessions;
	}

	policyOf(cacheType: string): ServerSessionPolicy {
		return cacheType === CACHE_TYPE ? this.#policy : noSessions;
	}

	find(cacheType: string, key: string, done: (session: Uint8Array | undefined) => void): void {
		this.#tlsmgr.lookup(cacheType, key, done);
	}

	store(cacheType: string, key: string, session: Uint8Array): void {
		this.#tlsmgr.update(cacheType, key, session);
	}

	ticketKey(
		name: Uint8Array | undefined,
		timeout: Seconds,
		done: (key: TicketKey | undefined) => void,
	): void {
		const cached = this.#keys.find(name, Math.floor(Date.now() / 1000), timeout);
		if (cached !== undefined) {
			done(cached);
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
