/*++
/* NAME
/*	client-settings 3
/* SUMMARY
/*	parse the settings of a request in the client role
/* DESCRIPTION
/*	The settings are one list with three objects: the global TLS
/*	settings of the client process, the settings that select an
/*	SSL_CTX, and the settings of one connection.
/*
/*	Two thirds of a list come from main.cf and master.cf: they are the
/*	same in all requests of a service, whatever the destination. The
/*	parser remembers these bytes with the objects that they encode,
/*	and does not parse them again. The objects are shared: requests
/*	with the same bytes have the same objects.
/* SEE ALSO
/*	messages(3), the fields
/*	postfix src/tls/tls_proxy_client_scan.c
/*--*/

import {Lru} from '../base/lru.ts';
import type {ReleaseFeatures} from '../conf/release.ts';
import {type AttributeList, printList} from './attribute-list.ts';
import {AttributeReader, type MessageOf, print, scan} from './field.ts';
import {clientInitFields, clientParamsFields, clientStartFields} from './messages.ts';
import {settingsKey} from './settings-key.ts';

/** The global TLS settings of the client process. */
export type ClientParams = MessageOf<typeof clientParamsFields>;
/** The settings that select an SSL_CTX. */
export type ClientInit = MessageOf<typeof clientInitFields>;
/** The settings of one connection. */
export type ClientStart = MessageOf<typeof clientStartFields>;

/** All settings of a request in the client role. */
export interface ClientSettings {
	readonly params: ClientParams;
	readonly init: ClientInit;
	readonly start: ClientStart;
}

/** The first two objects of a list, which all connections of a service have in common. */
export type CommonSettings = Pick<ClientSettings, 'params' | 'init'>;

function scanCommon(reader: AttributeReader): CommonSettings {
	return {
		params: scan(clientParamsFields, reader, 'client_params'),
		init: scan(clientInitFields, reader, 'client_init'),
	};
}

function scanStart(reader: AttributeReader): ClientStart {
	const start = scan(clientStartFields, reader, 'client_start');
	reader.finish('client_start');
	return start;
}

/** The bytes with which a list begins, and the objects that they encode. */
interface KnownPrefix {
	/** The bytes, one character per byte. */
	readonly key: string;
	readonly bytes: Uint8Array;
	readonly common: CommonSettings;
}

/* Number of prefixes. A service of master.cf has one, and another one after each change of its settings. */
const PREFIX_LIMIT = 16;

/** Parses settings. The objects that most lists begin with are parsed once. */
export class ClientSettingsParser {
	readonly #features: ReleaseFeatures;
	readonly #prefixes = new Lru<string, KnownPrefix>(PREFIX_LIMIT);

	constructor(features: ReleaseFeatures) {
		this.#features = features;
	}

	/**
	 * Finds the known prefix of a list.
	 *
	 * @param bytes - from the beginning of a list.
	 * @returns the length of the prefix and the objects that it encodes; undefined if no known prefix matches.
	 */
	recognize(bytes: Buffer): {readonly common: CommonSettings; readonly taken: number} | undefined {
		for (const {key, bytes: known, common} of this.#prefixes.values()) {
			if (bytes.length >= known.length && bytes.subarray(0, known.length).equals(known)) {
				this.#prefixes.get(key);
				return {common, taken: known.length};
			}
		}

		return undefined;
	}

	/**
	 * Parses a list.
	 *
	 * @param common - the result of {@link recognize}; then the list is the part after the prefix.
	 * @throws {PeerError} if the list is not one of a client of this release.
	 */
	parse(list: AttributeList, common?: CommonSettings): ClientSettings {
		const reader = new AttributeReader(list, this.#features.format);
		if (common !== undefined) {
			return {...common, start: scanStart(reader)};
		}

		const parsed = scanCommon(reader);
		const attributes = list.slice(0, reader.taken);
		const start = scanStart(reader);
		/* Without the end of the list, which does not follow the prefix. */
		const bytes = printList(attributes).subarray(0, -1);
		const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
		this.#prefixes.set(key, {key, bytes, common: parsed});
		return {...parsed, start};
	}
}

/** The key of the settings that select an SSL_CTX. */
export function clientSettingsKey({params, init}: CommonSettings, {format}: ReleaseFeatures): string {
	return settingsKey([
		...print(clientParamsFields, params, format),
		...print(clientInitFields, init, format),
	]);
}
