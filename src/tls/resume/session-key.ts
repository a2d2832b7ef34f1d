/*++
/* NAME
/*	session-key 3
/* SUMMARY
/*	the cache key of a TLS session in the client role
/* DESCRIPTION
/*	A resumed session is as trusted as its first handshake:
/*	certificates are not verified again. So the key contains everything
/*	that the verification result depends on: the server that the client
/*	connects to, the settings for that server, and the OpenSSL release
/*	that encoded the session.
/*
/*	The key is identical to that of the installed Postfix release:
/*	tlsmgr(8) stores the sessions of all programs in one table, and
/*	each program can resume the sessions of the others.
/* SEE ALSO
/*	postfix src/tls/tls_fprint.c, tls_serverid_digest()
/*--*/

import {Panic} from '../../base/errors.ts';
import {hexText} from '../../base/text.ts';
import {sha256} from '../../ffi/openssl/libcrypto.ts';
import type {ClientStart} from '../../wire/client-settings.ts';
import {disabledVersions} from '../option-lists.ts';
import {isDaneLevel, mustMatch} from '../verify/policy.ts';

/** The parts of the key that are not in the request. */
export interface SessionKeyParts {
	/** OpenSSL's cipher list. */
	readonly ciphers: string;
	/** SSL_OP_NO_ bits of the protocols that the request disables. */
	readonly disabled: number;
	/** The security level in effect. */
	readonly level: number;
	/** The policy could not be applied: the peer must not be reported as matched. */
	readonly mustFail: boolean;
	/** The server name that is sent; empty if no name is sent. */
	readonly sni: string;
	/** OpenSSL_version_num(). */
	readonly library: number;
	/** Trust settings are lists of digests, as before 3.6. */
	readonly digestLists: boolean;
	/**
	 * The client certificate and the trusted certificates; empty if they are those of main.cf. The C
	 * program, which always uses main.cf, has no such part.
	 */
	readonly scope: string;
}

/** The key: the server id of the request, and a digest of the other parts. */
export function sessionKey(start: ClientStart, parts: SessionKeyParts): string {
	const input = new DigestInput();
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

function currentParts(input: DigestInput, start: ClientStart, parts: SessionKeyParts): void {
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

function legacyParts(input: DigestInput, start: ClientStart, parts: SessionKeyParts): void {
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

/* Usage, selector, matching type, length in native byte order, data. */
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

/* Digest input in the memory layout of the C program. */
class DigestInput {
	readonly #parts: Uint8Array[] = [];

	bytes(bytes: Uint8Array): this {
		this.#parts.push(bytes);
		return this;
	}

	/** A string with its NUL. */
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

		return hexText(digest);
	}
}
