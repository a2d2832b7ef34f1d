/*++
/* NAME
/*	cache-policy 3
/* SUMMARY
/*	asks tlsmgr(8) how sessions are stored, at process start
/* DESCRIPTION
/*	This is the only request to tlsmgr(8) that is made when no client
/*	is served yet. So its reply can be awaited with a promise.
/*--*/

import type {CachePolicy} from './message.ts';
import type {TlsmgrClient} from './tlsmgr-client.ts';

/** How sessions of a type are stored; undefined if tlsmgr(8) did not reply: the reason has been logged. */
export async function cachePolicy(tlsmgr: TlsmgrClient, cacheType: string): Promise<CachePolicy | undefined> {
	const {promise, resolve} = Promise.withResolvers<CachePolicy | undefined>();
	/* The reactor does not run inside a Node.js callback, which would run microtasks at its end. setImmediate() does. */
	tlsmgr.policy(cacheType, policy => setImmediate(resolve, policy));
	return await promise;
}
