import test from 'ava';
import {NID_commonName, NID_organizationName, nonNull} from '../../../src/ffi/openssl/libcrypto.ts';
import {
	ASN1_STRING_type,
	derOfKeyIn,
	derOfPublicKey,
	isForServersOnly,
	keyBitsIn,
	oneline,
	utf8BytesOf,
	X509_get_issuer_name,
	X509_get_subject_name,
	X509_get0_pubkey,
	X509_NAME_ENTRY_get_data,
	X509_NAME_get_entry,
	X509_NAME_get_index_by_NID,
	X509_verify_cert_error_string,
} from '../../../src/ffi/openssl/x509.ts';
import {certificate, withCertificate} from './_certificate.ts';

test('derOfPublicKey is the SubjectPublicKeyInfo', t => {
	withCertificate(x509 => {
		const key = nonNull(X509_get0_pubkey(x509), 'X509_get0_pubkey');
		t.deepEqual(derOfKeyIn(x509), derOfPublicKey(key));
		t.deepEqual(derOfPublicKey(key), certificate.publicKey.export({type: 'spki', format: 'der'}));
	});
});

test('oneline is the old one-line format of OpenSSL', t => {
	withCertificate(x509 => {
		const subject = nonNull(X509_get_subject_name(x509), 'subject');
		t.is(oneline(subject), '/O=M\\xC3\\xBCller GmbH/CN=mx.example.com');
		t.is(oneline(nonNull(X509_get_issuer_name(x509), 'issuer')), oneline(subject));
	});
});

test('utf8BytesOf is the text of a name in UTF-8', t => {
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

test('X509_verify_cert_error_string is the text of a verification error', t => {
	t.is(X509_verify_cert_error_string(0), 'ok');
	t.is(X509_verify_cert_error_string(10), 'certificate has expired');
	t.is(X509_verify_cert_error_string(62), 'hostname mismatch');
});

test('keyBitsIn is the public key without its algorithm', t => {
	withCertificate(x509 => {
		const bits = Buffer.from(keyBitsIn(x509) ?? []);
		t.is(bits[0], 4);
		t.is(bits.length, 65);
		t.true(certificate.publicKey.export({type: 'spki', format: 'der'}).includes(bits));
	});
});

test('a certificate without extended key usage is not for servers only', t => {
	withCertificate(x509 => t.false(isForServersOnly(x509)));
});
