/*++
/* NAME
/*	session-key 3
/* SUMMARY
/*	under which name a TLS session is kept
/* DESCRIPTION
/*	A session that is resumed is as trusted as its first handshake was:
/*	certificates are not looked at again. So the name has everything
/*	in it that the verdict depends on: who the client believes to talk
/*	to, the settings that it has for that, and the release of OpenSSL
/*	that wrote the session.
/*
/*	The name is the one that the installed release of Postfix uses:
/*	tlsmgr(8) keeps the sessions of all programs in one table, and what
/*	one has stored the other can resume.
/* SEE ALSO
/*	postfix src/tls/tls_fprint.c, tls_serverid_digest()
/*--*/

import {Panic} from '../../base/errors.ts';
import {sha256} from '../../ffi/openssl/libcrypto.ts';
import type {ClientStart} from '../../wire/client-settings.ts';
import {disabledVersions} from '../option-lists.ts';
import {isDaneLevel, mustMatch} from '../verify/policy.ts';

/** What the name is made of besides the request itself. */
export interface SessionKeyParts {
	/** OpenSSL's cipher list. */
	readonly ciphers: string;
	/** SSL_OP_NO_ bits of the protocols that the request turns off. */
	readonly disabled: number;
	/** Security level in effect. */
	readonly level: number;
	/** The policy could not be applied: nothing the peer presents may count. */
	readonly mustFail: boolean;
	/** The server name that is sent; empty for none. */
	readonly sni: string;
	/** OpenSSL_version_num(). */
	readonly library: number;
	/** Trust settings are lists of digests, as before 3.6. */
	readonly digestLists: boolean;
	/**
	 * Who we are for servers and whom we trust, where that is not what the service is configured with. The
	 * C program, which serves with its own settings, leaves it out.
	 */
	readonly scope: string;
}

/** The name: what the client calls the server, and a digest of the rest. */
export function sessionKey(start: ClientStart, parts: SessionKeyParts): string {
	const input = new Input();
	input.text(start.helo).number(8, parts.library);
	if (parts.digestLists) {
		legacyParts(input, start, parts);
	} else {
		currentParts(input, start, parts);
	}

	if (parts.scope !== '') {
		input.text(parts.scope);
	}

	return `${start.serverid}&${input.digest()}`;
}

function currentParts(input: Input, start: ClientStart, parts: SessionKeyParts): void {
	input.text(start.protocols).text(parts.ciphers);
	if (start.enable_rpk !== undefined) {
		input.number(4, start.enable_rpk);
	}

	input.number(4, parts.mustFail ? 1 : 0);
	const verified = mustMatch(parts.level);
	const records = verified ? (start.dane?.tlsa ?? []).map(recordBytes) : [];
	input.number(4, records.length);
	for (const record of records.toSorted(compareRecords)) {
		input.bytes(record);
	}

	input.text(verified ? parts.sni : '');
}

function legacyParts(input: Input, start: ClientStart, parts: SessionKeyParts): void {
	input.number(8, disabledVersions(parts.disabled)).text(parts.ciphers);
	if (start.dane === undefined) {
		return;
	}

	const anchors = start.dane.ta ?? [];
	if (anchors.length > 0) {
		input.text('ta');
	}

	for (const {mdalg = '', pkeys = [], certs = []} of anchors) {
		input.text(mdalg).list('pkeys', pkeys).list('certs', certs);
	}

	input.text(isDaneLevel(parts.level) ? start.host : '');
}

type TlsaRecord = NonNullable<NonNullable<ClientStart['dane']>['tlsa']>[number];

/* Usage, selector, matching type, length as C has it in memory, data. */
function recordBytes({usage = 0, selector = 0, mtype = 0, data = new Uint8Array(0)}: TlsaRecord): Buffer {
	const head = Buffer.from([usage, selector, mtype, 0, 0]);
	head.writeUInt16LE(data.length, 3);
	return Buffer.concat([head, data]);
}

function compareRecords(a: Buffer, b: Buffer): number {
	return (
		Buffer.compare(a.subarray(0, 3), b.subarray(0, 3)) ||
		a.readUInt16LE(3) - b.readUInt16LE(3) ||
		Buffer.compare(a, b)
	);
}

/* Bytes as they lie in the memory of the C program. */
class Input {
	readonly #parts: Uint8Array[] = [];

	bytes(bytes: Uint8Array): this {
		this.#parts.push(bytes);
		return this;
	}

	/** With its terminator. */
	text(wire: string): this {
		return this.bytes(Buffer.from(`${wire}\0`, 'latin1'));
	}

	number(size: 4 | 8, value: number): this {
		const bytes = Buffer.alloc(size);
		bytes.writeUInt32LE(value >>> 0);
		return this.bytes(bytes);
	}

	list(name: string, values: readonly string[]): this {
		if (values.length > 0) {
			this.text(name);
			for (const value of values) {
				this.text(value);
			}
		}

		return this;
	}

	digest(): string {
		const digest = sha256(Buffer.concat(this.#parts));
		if (digest === undefined) {
			throw new Panic('error computing session digest');
		}

		return digest.toString('hex').toUpperCase();
	}
}
