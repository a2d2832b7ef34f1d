/*
 * Issues certificates for any name, thousands per second. openssl(1) would need a
 * process for each.
 */
import {generateKeyPairSync, sign} from 'node:crypto';

/* Object identifiers, encoded. */
const ECDSA_WITH_SHA256 = '2a8648ce3d040302';
const COMMON_NAME = '550403';
const SUBJECT_ALT_NAME = '551d11';
const BASIC_CONSTRAINTS = '551d13';

/* Tags. */
const BOOLEAN = 0x01;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const UTC_TIME = 0x17;
const SEQUENCE = 0x30;
const SET = 0x31;
const VERSION = 0xa0;
const EXTENSIONS = 0xa3;
const DNS_NAME = 0x82;

function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
	const content = Buffer.concat(contents);
	const size = content.length;
	const length = size < 0x80 ? [size] : size < 0x1_00 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
	return Buffer.concat([Buffer.from([tag, ...length]), content]);
}

function oid(hex: string): Buffer {
	return der(OBJECT_IDENTIFIER, Buffer.from(hex, 'hex'));
}

function nameOf(commonName: string): Buffer {
	return der(SEQUENCE, der(SET, der(SEQUENCE, oid(COMMON_NAME), der(UTF8_STRING, Buffer.from(commonName)))));
}

function extension(id: string, value: Uint8Array): Buffer {
	return der(SEQUENCE, oid(id), der(OCTET_STRING, value));
}

const algorithm = der(SEQUENCE, oid(ECDSA_WITH_SHA256));
const validity = der(
	SEQUENCE,
	...['200101000000Z', '491231235959Z'].map(time => der(UTC_TIME, Buffer.from(time))),
);

function pem(label: string, bytes: Buffer): string {
	const lines = bytes.toString('base64').replaceAll(/.{1,64}/g, '$&\n');
	return `-----BEGIN ${label}-----\n${lines}-----END ${label}-----\n`;
}

/** An authority that issues server certificates. All servers have the same key. */
export class Issuer {
	readonly #authority = generateKeyPairSync('ec', {namedCurve: 'P-256'});
	readonly #server = generateKeyPairSync('ec', {namedCurve: 'P-256'});
	readonly #name = nameOf('Names Root');
	readonly #issued = new Map<string, string>();
	#serial = 0x40_00_00_00;

	/** Certificate of the authority. */
	readonly authority: string = this.#issue(
		this.#name,
		this.#authority.publicKey.export({type: 'spki', format: 'der'}),
		extension(BASIC_CONSTRAINTS, der(SEQUENCE, der(BOOLEAN, Buffer.from([0xff])))),
	);
	/** Key of the servers. */
	readonly key: string = this.#server.privateKey.export({type: 'pkcs8', format: 'pem'});

	/** The certificate for a DNS name, which need not be ASCII. A name always has the same certificate. */
	certificateFor(name: string): string {
		const certificate =
			this.#issued.get(name) ??
			this.#issue(
				nameOf('server'),
				this.#server.publicKey.export({type: 'spki', format: 'der'}),
				extension(SUBJECT_ALT_NAME, der(SEQUENCE, der(DNS_NAME, Buffer.from(name)))),
			);
		this.#issued.set(name, certificate);
		return certificate;
	}

	#issue(subject: Buffer, key: Buffer, ...extensions: readonly Buffer[]): string {
		const serial = Buffer.alloc(4);
		serial.writeUInt32BE(++this.#serial);
		const body = der(
			SEQUENCE,
			der(VERSION, der(INTEGER, Buffer.from([2]))),
			der(INTEGER, serial),
			algorithm,
			this.#name,
			validity,
			subject,
			key,
			der(EXTENSIONS, der(SEQUENCE, ...extensions)),
		);
		const signature = sign('sha256', body, this.#authority.privateKey);
		return pem('CERTIFICATE', der(SEQUENCE, body, algorithm, der(BIT_STRING, Buffer.from([0]), signature)));
	}
}
