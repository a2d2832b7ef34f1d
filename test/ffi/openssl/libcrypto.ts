import {createHash, generateKeyPairSync} from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import {Panic} from '../../../src/base/errors.ts';
import {cText} from '../../../src/ffi/libc/libc.ts';
import {BIO_new_file} from '../../../src/ffi/openssl/bio.ts';
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
	groupNameOf,
	nonNull,
	OBJ_ln2nid,
	OBJ_nid2sn,
	OBJ_sn2nid,
	sha256,
} from '../../../src/ffi/openssl/libcrypto.ts';
import {decodeCertificate, decodePrivateKey} from '../../../src/ffi/openssl/pem.ts';
import {X509_get0_pubkey} from '../../../src/ffi/openssl/x509.ts';
import {withCertificate} from './_certificate.ts';

test('nonNull returns a pointer that is not null', t => {
	t.is(nonNull(5n, 'SSL_new'), 5n);
});

test.serial('nonNull panics for null with the entries of the error queue', t => {
	ERR_clear_error();
	decodeCertificate(Buffer.from('junk'));
	t.throws(() => nonNull(null, 'd2i_X509'), {
		instanceOf: Panic,
		message: /^d2i_X509: error:0680009B:asn1 encoding routines:[^;]*; error:.*:Type=X509:$/,
	});
	t.deepEqual(drainErrors(), []);
});

test.serial('drainErrors removes all entries, oldest first, and formats them as Postfix does', t => {
	ERR_clear_error();
	t.deepEqual(drainErrors(), []);
	t.is(BIO_new_file(cText('/nonexistent'), 'r'), null);
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
	test(`digestOf computes ${name}`, t => {
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

test('sha256 is the digest of that name', t => {
	const data = Buffer.from('data');
	t.deepEqual(sha256(data), createHash('sha256').update(data).digest());
});

test('EVP_get_digestbyname returns null for an unknown name', t => {
	t.is(EVP_get_digestbyname('sha257'), null);
});

test('groupNameOf is the name of the curve, or empty without one', t => {
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

for (const [name, nist, short, long] of [
	['P-256', 415, 0, 0],
	['prime256v1', 0, 415, 415],
	['X25519', 0, 1034, 1034],
	['secp384r1', 0, 715, 715],
	['nonsense', 0, 0, 0],
] as const) {
	test(`${name} has the numbers ${nist}, ${short} and ${long} as a NIST, short and long name`, t => {
		t.deepEqual([EC_curve_nist2nid(name), OBJ_sn2nid(name), OBJ_ln2nid(name)], [nist, short, long]);
	});
}

test('OBJ_nid2sn returns the names of digests that Postfix reports', t => {
	t.is(OBJ_nid2sn(OBJ_ln2nid('sha256')), 'SHA256');
	t.is(OBJ_nid2sn(999_999), null);
	ERR_clear_error();
});
