/*
 * A self-signed certificate, as Node.js and as C have it.
 */
import {execFileSync} from 'node:child_process';
import {X509Certificate} from 'node:crypto';
import {nonNull} from '../../../src/ffi/openssl/libcrypto.ts';
import {decodeCertificate} from '../../../src/ffi/openssl/pem.ts';
import {type X509, X509_free} from '../../../src/ffi/openssl/x509.ts';

const request =
	'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -utf8 -days 2 -keyout /dev/null -subj';

/** A certificate with a P-256 key. */
export const certificate = new X509Certificate(
	execFileSync('openssl', [...request.split(' '), '/O=Müller GmbH/CN=mx.example.com'], {stdio: 'pipe'}),
);

/** Calls a function with the certificate as a C object, and releases it. */
export function withCertificate(run: (x509: X509) => void): void {
	const x509 = nonNull(decodeCertificate(certificate.raw)?.object ?? null, 'd2i_X509');
	try {
		run(x509);
	} finally {
		X509_free(x509);
	}
}
