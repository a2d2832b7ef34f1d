import {execFileSync} from 'node:child_process';
import {createHash, generateKeyPairSync, X509Certificate} from 'node:crypto';
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import {Panic} from '../../../src/base/errors.ts';
import {
	digestOf,
	drainErrors,
	EC_curve_nist2nid,
	ERR_clear_error,
	EVP_get_digestbyname,
	EVP_MD_get_size,
	EVP_PKEY_EC,
	EVP_PKEY_free,
	EVP_PKEY_get_bits,
	EVP_PKEY_get_id,
	EVP_PKEY_RSA,
	groupNameOf,
	NID_commonName,
	NID_organizationName,
	nonNull,
	OBJ_ln2nid,
	OBJ_nid2sn,
	OBJ_sn2nid,
} from '../../../src/ffi/openssl/libcrypto.ts';
import {
	BIO_free,
	BIO_new_file,
	decodeCertificate,
	decodePrivateKey,
	endOfPem,
	type PemObject,
	pathBytes,
	readPem,
} from '../../../src/ffi/openssl/pem.ts';
import {
	ASN1_STRING_type,
	derOfCertificate,
	derOfKeyIn,
	derOfPublicKey,
	oneline,
	utf8BytesOf,
	type X509,
	X509_free,
	X509_get_issuer_name,
	X509_get_subject_name,
	X509_get0_pubkey,
	X509_NAME_ENTRY_get_data,
	X509_NAME_get_entry,
	X509_NAME_get_index_by_NID,
	X509_verify_cert_error_string,
} from '../../../src/ffi/openssl/x509.ts';

const directory = mkdtempSync(join(tmpdir(), 'libcrypto-'));
const at = (name: string): string => join(directory, name);
test.after.always(() => rmSync(directory, {recursive: true}));

execFileSync(
	'openssl',
	[
		'req',
		'-x509',
		'-newkey',
		'ec',
		'-pkeyopt',
		'ec_paramgen_curve:P-256',
		'-nodes',
		'-utf8',
		'-days',
		'2',
		'-subj',
		'/O=Müller GmbH/CN=mx.example.com',
		'-keyout',
		at('key'),
		'-out',
		at('cert'),
	],
	{stdio: 'pipe'},
);
const certificate = new X509Certificate(readFileSync(at('cert')));

/** Runs with the certificate as C has it. */
function withCertificate(run: (x509: X509) => void): void {
	const decoded = decodeCertificate(certificate.raw);
	const x509 = nonNull(decoded?.object ?? null, 'd2i_X509');
	run(x509);
	X509_free(x509);
}

/** All PEM objects of a file, and whether its end was reached. */
function objectsOf(text: string): {readonly objects: readonly PemObject[]; readonly end: boolean} {
	const path = at(`pem-${createHash('sha256').update(text).digest('hex').slice(0, 16)}`);
	writeFileSync(path, text);
	ERR_clear_error();
	const bio = nonNull(BIO_new_file(pathBytes(path), 'r'), 'BIO_new_file');
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

test('nonNull passes a pointer on', t => {
	t.is(nonNull(5n, 'SSL_new'), 5n);
});

test.serial('nonNull panics about null with what the library says', t => {
	ERR_clear_error();
	decodeCertificate(Buffer.from('junk'));
	t.throws(() => nonNull(null, 'd2i_X509'), {
		instanceOf: Panic,
		message: /^d2i_X509: error:0680009B:asn1 encoding routines:[^;]*; error:.*:Type=X509:$/,
	});
	t.deepEqual(drainErrors(), []);
});

test.serial('drainErrors gives the oldest first, as Postfix words them, and empties the queue', t => {
	ERR_clear_error();
	t.deepEqual(drainErrors(), []);
	t.is(BIO_new_file(pathBytes('/nonexistent'), 'r'), null);
	const errors = drainErrors();
	t.is(errors.length, 2);
	t.regex(
		errors[0] ?? '',
		/^error:80000002:system library:[\w]*:No such file or directory:[\w./-]*bss_file\.c:\d+:calling fopen\(\/nonexistent, r\):$/,
	);
	t.regex(errors[1] ?? '', /^error:10000080:BIO routines:[\w]*:no such file:[\w./-]*bss_file\.c:\d+:$/);
	t.deepEqual(drainErrors(), []);
});

for (const name of ['md5', 'sha1', 'sha256', 'sha384', 'sha512', 'SHA256']) {
	test(`digestOf gives the ${name} of anything`, t => {
		const md = nonNull(EVP_get_digestbyname(name), name);
		t.is(EVP_MD_get_size(md), createHash(name).digest().length);
		fc.assert(
			fc.property(fc.uint8Array({minLength: 1, maxLength: 2000}), data => {
				t.is(digestOf(md, data)?.toString('hex'), createHash(name).update(data).digest('hex'));
			}),
			{numRuns: 30},
		);
	});
}

test('EVP_get_digestbyname knows no digest of another name', t => {
	t.is(EVP_get_digestbyname('sha257'), null);
});

test('decodeCertificate and derOfCertificate are inverse', t => {
	withCertificate(x509 => t.deepEqual(derOfCertificate(x509), certificate.raw));
});

test('decodeCertificate tells how many bytes are left over', t => {
	const decoded = decodeCertificate(Buffer.concat([certificate.raw, Buffer.alloc(3)]));
	t.is(decoded?.excess, 3);
	X509_free(nonNull(decoded?.object ?? null, 'd2i_X509'));
});

test.serial('decodeCertificate refuses what is none, however short', t => {
	for (const der of [Buffer.alloc(0), Buffer.from('x'), certificate.raw.subarray(0, 100)]) {
		t.is(decodeCertificate(der), undefined);
	}

	ERR_clear_error();
});

test('derOfPublicKey is the SubjectPublicKeyInfo', t => {
	withCertificate(x509 => {
		const key = nonNull(X509_get0_pubkey(x509), 'X509_get0_pubkey');
		t.deepEqual(derOfKeyIn(x509), derOfPublicKey(key));
		t.deepEqual(derOfPublicKey(key), certificate.publicKey.export({type: 'spki', format: 'der'}));
	});
});

test('groupNameOf names the curve of a key, and is empty without one', t => {
	withCertificate(x509 => {
		const key = nonNull(X509_get0_pubkey(x509), 'X509_get0_pubkey');
		t.is(groupNameOf(key), 'prime256v1');
		t.is(EVP_PKEY_get_id(key), EVP_PKEY_EC);
	});
	const der = generateKeyPairSync('rsa', {modulusLength: 2048}).privateKey.export({
		type: 'pkcs8',
		format: 'der',
	});
	const key = nonNull(decodePrivateKey(der, undefined)?.object ?? null, 'key');
	t.is(groupNameOf(key), '');
	t.is(EVP_PKEY_get_bits(key), 2048);
	EVP_PKEY_free(key);
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
	test.serial(`decodePrivateKey takes ${title}, and tells what is left over`, t => {
		for (const excess of [0, 5]) {
			const decoded = decodePrivateKey(Buffer.concat([der, Buffer.alloc(excess)]), type);
			t.is(decoded?.excess, excess);
			EVP_PKEY_free(nonNull(decoded?.object ?? null, 'key'));
		}

		t.is(decodePrivateKey(der.subarray(0, 20), type), undefined);
		ERR_clear_error();
	});
}

test('oneline shows a name as OpenSSL always did', t => {
	withCertificate(x509 => {
		const subject = nonNull(X509_get_subject_name(x509), 'subject');
		t.is(oneline(subject), '/O=M\\xC3\\xBCller GmbH/CN=mx.example.com');
		t.is(oneline(nonNull(X509_get_issuer_name(x509), 'issuer')), oneline(subject));
	});
});

test('utf8BytesOf copies the text of a name', t => {
	withCertificate(x509 => {
		const subject = nonNull(X509_get_subject_name(x509), 'subject');
		const texts = [NID_organizationName, NID_commonName].map(nid => {
			const entry = X509_NAME_get_entry(subject, X509_NAME_get_index_by_NID(subject, nid, -1));
			const data = nonNull(X509_NAME_ENTRY_get_data(nonNull(entry, 'entry')), 'data');
			const V_ASN1_UTF8STRING = 12;
			t.is(ASN1_STRING_type(data), V_ASN1_UTF8STRING);
			return utf8BytesOf(data)?.toString();
		});
		t.deepEqual(texts, ['Müller GmbH', 'mx.example.com']);
	});
});

test.serial('readPem reads every object of a file, with text between them', t => {
	const text = `before\n${pem('CERTIFICATE', certificate.raw)}between\n\n${pem('ANYTHING AT ALL', Buffer.from('abc'))}behind\n`;
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

test.serial('endOfPem tells the end of a file from a malformed object', t => {
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

for (const [name, nist, short, long] of [
	['P-256', 415, 0, 0],
	['prime256v1', 0, 415, 415],
	['X25519', 0, 1034, 1034],
	['secp384r1', 0, 715, 715],
	['nonsense', 0, 0, 0],
] as const) {
	test(`the name ${name} is ${nist}, ${short} and ${long} as a NIST, short and long name`, t => {
		t.deepEqual([EC_curve_nist2nid(name), OBJ_sn2nid(name), OBJ_ln2nid(name)], [nist, short, long]);
	});
}

test('OBJ_nid2sn names digests as Postfix reports them', t => {
	t.is(OBJ_nid2sn(OBJ_ln2nid('sha256')), 'SHA256');
	t.is(OBJ_nid2sn(999_999), null);
	ERR_clear_error();
});

test('X509_verify_cert_error_string explains a verification error', t => {
	t.is(X509_verify_cert_error_string(0), 'ok');
	t.is(X509_verify_cert_error_string(10), 'certificate has expired');
	t.is(X509_verify_cert_error_string(62), 'hostname mismatch');
});
