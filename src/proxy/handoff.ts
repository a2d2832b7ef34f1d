/*++
/* NAME
/*	handoff 3
/* SUMMARY
/*	the lists that a client sends before it passes a descriptor
/* DESCRIPTION
/*	Collects bytes from a local client until the request and, where
/*	the role has them, the settings are complete. The client waits for
/*	our status then, so bytes behind the last list are not its due.
/* DIAGNOSTICS
/*	PeerError: what came is not what a client of this release sends,
/*	or is larger than any client's. The message says which attribute.
/* SEE ALSO
/*	postfix src/tls/tls_proxy_clnt.c
/*--*/

import {PeerError} from '../errors.ts';
import {AttributeFramer, type AttributeList} from '../wire/attr.ts';
import {type ClientSettings, parseClientSettings} from '../wire/client.ts';
import type {Profile} from '../wire/release.ts';
import {parseRequest, type Request} from '../wire/request.ts';
import {parseServerSettings} from '../wire/server.ts';

/** Collects one hand-off. */
export class Handoff {
	readonly #profile: Profile;
	readonly #framer = new AttributeFramer();
	#request: Request | undefined;
	#settings: ClientSettings | undefined;
	#complete = false;

	/** @param profile - of the release that the clients belong to. */
	constructor(profile: Profile) {
		this.#profile = profile;
	}

	/** What the client asks for; undefined until that list is complete. */
	get request(): Request | undefined {
		return this.#request;
	}

	/** The settings of the client role; undefined until complete, and in the server role. */
	get settings(): ClientSettings | undefined {
		return this.#settings;
	}

	/**
	 * Takes bytes from the client.
	 *
	 * @returns whether the hand-off is complete.
	 * @throws {PeerError} when it never will be.
	 */
	push(bytes: Uint8Array): boolean {
		let rest = bytes;
		while (!this.#complete) {
			const framed = this.#framer.push(rest);
			if (framed === undefined) {
				return false;
			}

			rest = rest.subarray(framed.taken);
			this.#take(framed.list);
		}

		if (rest.length > 0) {
			throw new PeerError(`${rest.length} bytes behind the request`);
		}

		return true;
	}

	#take(list: AttributeList): void {
		if (this.#request === undefined) {
			const request = parseRequest(list, this.#profile);
			this.#request = request;
			/* The server role has settings in later releases only, a probe never has. */
			this.#complete = request.probeOnly || (request.role === 'server' && !this.#profile.serverSettings);
			return;
		}

		if (this.#request.role === 'client') {
			this.#settings = parseClientSettings(list, this.#profile);
		} else {
			parseServerSettings(list, this.#profile);
		}

		this.#complete = true;
	}
}
