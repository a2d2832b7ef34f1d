import {createHash, generateKeyPairSync} from 'node:crypto';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {cText} from '../../../src/ffi/libc/libc.ts';
import {BIO_free, BIO_new_file} from '../../../src/ffi/openssl/bio.ts';
import {
	ERR_clear_error,
	EVP_PKEY_EC,
	EVP_PKEY_free,
	EVP_PKEY_RSA,
	nonNull,
} from '../../../src/ffi/openssl/libcrypto.ts';
import {
	decodeCertificate,
	decodePrivateKey,
	endOfPem,
	type PemObject,
	readPem,
} from '../../../src/ffi/openssl/pem.ts';
import {derOfCertificate, X509_free} from '../../../src/ffi/openssl/x509.ts';
import {certificate, withCertificate} from './_certificate.ts';

const directory = mkdtempSync(join(tmpdir(), 'pem-'));
test.after.always(() => rmSync(directory, {recursive: true}));

/** The PEM objects of a file, and whether its end was reached. */
function objectsOf(text: string): {readonly objects: readonly PemObject[]; readonly end: boolean} {
	const path = join(directory, createHash('sha256').update(text).digest('hex').slice(0, 16));
	writeFileSync(path, text);
	ERR_clear_error();
	const bio = nonNull(BIO_new_file(cText(path), 'r'), 'BIO_new_file');
	const objects: PemObject[] = [];
	for (let object = readPem(bio); object !== undefined; object = readPem(bio)) {
		objects.push(object);
	}

	BIO_free(bio);
	const end = endOfPem();
	ERR_clear_error();
	return {objects, end};
}

const pem = (label: string, der: Uint8Array): string =>
	`-----BEGIN ${label}-----\n${Buffer.from(der)
		.toString('base64')
		.replaceAll(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----\n`;

test('decodeCertificate is the inverse of derOfCertificate', t => {
	withCertificate(x509 => t.deepEqual(derOfCertificate(x509), certificate.raw));
});

test('decodeCertificate returns the number of bytes after the certificate', t => {
	const decoded = decodeCertificate(Buffer.concat([certificate.raw, Buffer.alloc(3)]));
	t.is(decoded?.excess, 3);
	X509_free(nonNull(decoded?.object ?? null, 'd2i_X509'));
});

test.serial('decodeCertificate rejects other bytes of any length', t => {
	for (const der of [Buffer.alloc(0), Buffer.from('x'), certificate.raw.subarray(0, 100)]) {
		t.is(decodeCertificate(der), undefined);
	}

	ERR_clear_error();
});

for (const [title, type, der] of [
	['PKCS#8', undefined, generateKeyPairSync('ed25519').privateKey.export({type: 'pkcs8', format: 'der'})],
	[
		'a traditional RSA key',
		EVP_PKEY_RSA,
		generateKeyPairSync('rsa', {modulusLength: 2048}).privateKey.export({type: 'pkcs1', format: 'der'}),
	],
	[
		'a traditional EC key',
		EVP_PKEY_EC,
		generateKeyPairSync('ec', {namedCurve: 'P-384'}).privateKey.export({type: 'sec1', format: 'der'}),
	],
] as const) {
	test.serial(`decodePrivateKey decodes ${title}, and returns the number of bytes after it`, t => {
		for (const excess of [0, 5]) {
			const decoded = decodePrivateKey(Buffer.concat([der, Buffer.alloc(excess)]), type);
			t.is(decoded?.excess, excess);
			EVP_PKEY_free(nonNull(decoded?.object ?? null, 'key'));
		}

		t.is(decodePrivateKey(der.subarray(0, 20), type), undefined);
		ERR_clear_error();
	});
}

test.serial('readPem reads all objects of a file, and skips the text between them', t => {
	const text = `before\n${pem('CERTIFICATE', certificate.raw)}between\n\n${pem('ANYTHING AT ALL', Buffer.from('abc'))}after\n`;
	const {objects, end} = objectsOf(text);
	t.deepEqual(objects, [
		{label: 'CERTIFICATE', der: certificate.raw},
		{label: 'ANYTHING AT ALL', der: Buffer.from('abc')},
	]);
	t.true(end);
});

test.serial('readPem stops at an object without a body', t => {
	t.deepEqual(objectsOf('-----BEGIN EMPTY-----\n-----END EMPTY-----\n'), {objects: [], end: false});
});

test.serial('endOfPem is true at the end of a file, and false at a malformed object', t => {
	t.deepEqual(objectsOf(''), {objects: [], end: true});
	t.deepEqual(objectsOf('no PEM at all\n'), {objects: [], end: true});
	t.deepEqual(objectsOf('-----BEGIN CERTIFICATE-----\n*** no base64 ***\n-----END CERTIFICATE-----\n'), {
		objects: [],
		end: false,
	});
	t.deepEqual(objectsOf('-----BEGIN CERTIFICATE-----\nAAAA\n'), {objects: [], end: false});
	const {objects, end} = objectsOf(`${pem('ONE', Buffer.from('abc'))}-----BEGIN TWO-----\nAAAA\n`);
	t.is(objects.length, 1);
	t.false(end);
});
