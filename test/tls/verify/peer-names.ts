import {createHash, generateKeyPairSync, X509Certificate} from 'node:crypto';
import {readFileSync} from 'node:fs';
import test from 'ava';
import {drainErrors, EVP_get_digestbyname, nonNull} from '../../../src/ffi/openssl/libcrypto.ts';
import {decodeCertificate} from '../../../src/ffi/openssl/pem.ts';
import {type X509, X509_free} from '../../../src/ffi/openssl/x509.ts';
import {
	certificateFingerprint,
	issuerCommonName,
	keyFingerprint,
	subjectCommonName,
} from '../../../src/tls/verify/peer-names.ts';
import {CertificateStore, collectLog, ecdsa, ed25519, rsa} from '../../helpers/openssl.ts';

/*
 * A certificate with arbitrary names. openssl(1) refuses to make one with malformed names, so
 * it is encoded here. Its signature is not verified.
 */
function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
	const body = Buffer.concat(contents);
	const length =
		body.length < 0x80
			? [body.length]
			: body.length < 0x100
				? [0x81, body.length]
				: [0x82, body.length >> 8, body.length & 0xff];
	return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const SEQUENCE = 0x30;
const SET = 0x31;
const BIT_STRING = 0x03;
const OID = 0x06;
const UTF8_STRING = 0x0c;
const PRINTABLE_STRING = 0x13;
const TELETEX_STRING = 0x14;
const IA5_STRING = 0x16;
const BMP_STRING = 0x1e;
const CN = Buffer.from([0x55, 0x04, 0x03]);
const O = Buffer.from([0x55, 0x04, 0x0a]);

type Attribute = readonly [type: Uint8Array, tag: number, value: Uint8Array];

function name(attributes: readonly Attribute[]): Buffer {
	return der(
		SEQUENCE,
		...attributes.map(([type, tag, value]) => der(SET, der(SEQUENCE, der(OID, type), der(tag, value)))),
	);
}

const spki = generateKeyPairSync('ed25519').publicKey.export({type: 'spki', format: 'der'});

function certificateWith(issuer: readonly Attribute[], subject: readonly Attribute[]): Buffer {
	const algorithm = der(SEQUENCE, der(OID, Buffer.from([0x2b, 0x65, 0x70])));
	const time = (text: string): Buffer => der(0x17, Buffer.from(text));
	const body = der(
		SEQUENCE,
		der(0x02, Buffer.from([1])),
		algorithm,
		name(issuer),
		der(SEQUENCE, time('200101000000Z'), time('491231000000Z')),
		name(subject),
		spki,
	);
	return der(SEQUENCE, body, algorithm, der(0x03, Buffer.alloc(65)));
}

/** Runs a function with an X509 object. */
function borrow(bytes: Uint8Array, run: (x509: X509) => void): void {
	const x509 = nonNull(decodeCertificate(bytes)?.object ?? null, 'd2i_X509');
	run(x509);
	X509_free(x509);
}

const who = 'mx.example.com[192.0.2.1]:25';
const utf8 = (text: string): Buffer => Buffer.from(text);
const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

const shows = test.macro<[subject: readonly Attribute[], expected: string, ...lines: readonly string[]]>({
	exec(t, subject, expected, ...lines) {
		const log = collectLog();
		borrow(certificateWith([], subject), x509 => t.is(subjectCommonName(x509, who), expected));
		t.deepEqual(
			log.filter(line => !line.startsWith('warning: TLS library problem: ')),
			lines,
		);
		t.deepEqual(drainErrors(), []);
	},
	title(condition = '') {
		return `subjectCommonName: ${condition}`;
	},
});

test.serial('a name', shows, [[CN, UTF8_STRING, utf8('mx.example.com')]], 'mx.example.com');
test.serial('no name at all', shows, [], '');
test.serial('only an organization', shows, [[O, UTF8_STRING, utf8('Example')]], '');
test.serial('an empty name', shows, [[CN, UTF8_STRING, utf8('')]], '');
test.serial(
	'the first of two names is used',
	shows,
	[
		[O, UTF8_STRING, utf8('Example')],
		[CN, UTF8_STRING, utf8('first')],
		[CN, UTF8_STRING, utf8('second')],
	],
	'first',
);
test.serial(
	'the first of two names is used, even if it is invalid',
	shows,
	[
		[CN, UTF8_STRING, utf8('a\nb')],
		[CN, UTF8_STRING, utf8('second')],
	],
	'',
	`warning: tls_text_name: ${who}: non-printable content in peer subject CN`,
);
test.serial('PrintableString', shows, [[CN, PRINTABLE_STRING, utf8('Example CA 1')]], 'Example CA 1');
test.serial('IA5String', shows, [[CN, IA5_STRING, utf8('a@example.com')]], 'a@example.com');
/* The result has one character per byte of UTF-8. */
test.serial('UTF-8', shows, [[CN, UTF8_STRING, utf8('Müller')]], 'M\u00C3\u00BCller');
test.serial(
	'TeletexString becomes UTF-8',
	shows,
	[[CN, TELETEX_STRING, latin1('Müller')]],
	'M\u00C3\u00BCller',
);
test.serial(
	'BMPString becomes UTF-8',
	shows,
	[[CN, BMP_STRING, Buffer.from([0x00, 0x4d, 0x67, 0x71])]],
	'M\u00E6\u009D\u00B1',
);
test.serial(
	'a trailing NUL is not part of the name',
	shows,
	[[CN, UTF8_STRING, utf8('example\0')]],
	'example',
);
test.serial(
	'many trailing NULs are not part of the name',
	shows,
	[[CN, UTF8_STRING, utf8('example\0\0\0')]],
	'example',
);
test.serial('nothing but NULs', shows, [[CN, UTF8_STRING, utf8('\0\0')]], '');
test.serial(
	'a NUL inside',
	shows,
	[[CN, UTF8_STRING, utf8('good.example.com\0.evil.example')]],
	'',
	`warning: tls_text_name: ${who}: NULL character in peer subject CN`,
);
for (const [what, character] of [
	['a line feed', '\n'],
	['a tab', '\t'],
	['an escape', '\u001B'],
	['a delete', '\u007F'],
	['a bell', '\u0007'],
] as const) {
	test.serial(
		`${what} inside`,
		shows,
		[[CN, UTF8_STRING, utf8(`a${character}b`)]],
		'',
		`warning: tls_text_name: ${who}: non-printable content in peer subject CN`,
	);
}

test.serial(
	'every printable character of ASCII',
	shows,
	[[CN, UTF8_STRING, utf8(' !"#$%&\'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~')]],
	' !"#$%&\'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~',
);
test.serial('255 bytes', shows, [[CN, UTF8_STRING, utf8('x'.repeat(255))]], 'x'.repeat(255));
test.serial(
	'256 bytes',
	shows,
	[[CN, UTF8_STRING, utf8('x'.repeat(256))]],
	'',
	`warning: tls_text_name: ${who}: peer subject CN too long: 256`,
);
test.serial(
	'255 bytes and trailing NULs',
	shows,
	[[CN, UTF8_STRING, utf8(`${'x'.repeat(255)}\0\0`)]],
	'x'.repeat(255),
);
test.serial(
	'the limit counts bytes, not characters',
	shows,
	[[CN, UTF8_STRING, utf8('ü'.repeat(128))]],
	'',
	`warning: tls_text_name: ${who}: peer subject CN too long: 256`,
);
test.serial(
	'the length is checked before the contents',
	shows,
	[[CN, UTF8_STRING, utf8(`a\0${'\n'.repeat(300)}`)]],
	'',
	`warning: tls_text_name: ${who}: peer subject CN too long: 302`,
);
/* OpenSSL does not parse a certificate with malformed strings. */
test.serial(
	'a value that is not a string',
	shows,
	[[CN, BIT_STRING, Buffer.from([0, 0x65])]],
	'',
	`warning: tls_text_name: ${who}: error decoding peer subject CN of ASN.1 type=3`,
);

const issues = test.macro<[issuer: readonly Attribute[], expected: string, ...lines: readonly string[]]>({
	exec(t, issuer, expected, ...lines) {
		const log = collectLog();
		borrow(certificateWith(issuer, [[CN, UTF8_STRING, utf8('subject')]]), x509 =>
			t.is(issuerCommonName(x509, who), expected),
		);
		t.deepEqual(log, lines);
	},
	title(condition = '') {
		return `issuerCommonName: ${condition}`;
	},
});

test.serial('a name', issues, [[CN, UTF8_STRING, utf8('Example CA')]], 'Example CA');
test.serial('nothing', issues, [], '');
test.serial('only an organization', issues, [[O, UTF8_STRING, utf8('Example Org')]], 'Example Org');
test.serial(
	'a common name precedes an organization',
	issues,
	[
		[O, UTF8_STRING, utf8('Example Org')],
		[CN, UTF8_STRING, utf8('Example CA')],
	],
	'Example CA',
);
test.serial(
	'an organization replaces an invalid common name',
	issues,
	[
		[CN, UTF8_STRING, utf8('Example\0CA')],
		[O, UTF8_STRING, utf8('Example Org')],
	],
	'Example Org',
	`warning: tls_text_name: ${who}: NULL character in peer issuer CN`,
);
test.serial(
	'both are invalid',
	issues,
	[
		[CN, UTF8_STRING, utf8('x'.repeat(300))],
		[O, UTF8_STRING, utf8('\u0001')],
	],
	'',
	`warning: tls_text_name: ${who}: peer issuer CN too long: 300`,
	`warning: tls_text_name: ${who}: non-printable content in peer issuer Organization`,
);

/* The contents of the subjectPublicKey BIT STRING, without the count of unused bits. */
function bitsOf(info: Buffer): Buffer {
	const skip = (at: number): readonly [content: number, end: number] => {
		const long = (info[at + 1] ?? 0) & 0x80 ? (info[at + 1] ?? 0) & 0x7f : 0;
		const length = long === 0 ? (info[at + 1] ?? 0) : info.readUIntBE(at + 2, long);
		return [at + 2 + long, at + 2 + long + length];
	};
	const [algorithm] = skip(0);
	const [, key] = skip(algorithm);
	const [content, end] = skip(key);
	return info.subarray(content + 1, end);
}

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
for (const [kind, key] of Object.entries({rsa, ecdsa, ed25519})) {
	store.make(kind, {key});
	const certificate = new X509Certificate(readFileSync(store.path(`${kind}.cert`)));

	for (const digest of ['md5', 'sha1', 'sha256', 'sha512']) {
		test(`fingerprints of a certificate with a key of ${kind} by ${digest}`, t => {
			const hex = (bytes: Uint8Array): string =>
				(createHash(digest).update(bytes).digest('hex').toUpperCase().match(/../g) ?? []).join(':');
			const md = nonNull(EVP_get_digestbyname(digest), digest);
			borrow(certificate.raw, x509 => {
				t.is(certificateFingerprint(x509, md), hex(certificate.raw));
				const info = certificate.publicKey.export({type: 'spki', format: 'der'});
				t.is(keyFingerprint(x509, {digest: md, bareKeys: false}), hex(info));
				t.is(keyFingerprint(x509, {digest: md, bareKeys: true}), hex(bitsOf(info)));
			});
		});
	}

	test(`fingerprints are equal to those of Node.js: ${kind}`, t => {
		borrow(certificate.raw, x509 => {
			const md = nonNull(EVP_get_digestbyname('sha256'), 'sha256');
			t.is(certificateFingerprint(x509, md), certificate.fingerprint256);
		});
	});
}
