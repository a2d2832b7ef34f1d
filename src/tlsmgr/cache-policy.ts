/*++
/* NAME
/*	cache-policy 3
/* SUMMARY
/*	asks tlsmgr(8) how sessions are kept, before the jail
/* DESCRIPTION
/*	The one question that is asked where there is nobody to serve yet:
/*	its answer can be waited for with a promise.
/*--*/

import type {CachePolicy} from './message.ts';
import type {TlsmgrClient} from './tlsmgr-client.ts';

/** How sessions of a type are kept; undefined when nobody can tell, and the log says why. */
export async function cachePolicy(tlsmgr: TlsmgrClient, cacheType: string): Promise<CachePolicy | undefined> {
	const {promise, resolve} = Promise.withResolvers<CachePolicy | undefined>();
	/* Promises go on when Node.js has called us; the reactor was called by nobody it knows. */
	tlsmgr.policy(cacheType, policy => setImmediate(resolve, policy));
	return await promise;
}
