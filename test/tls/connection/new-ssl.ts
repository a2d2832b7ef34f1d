import test from 'ava';
import {releaseFeatures} from '../../../src/conf/release.ts';
import {drainErrors} from '../../../src/ffi/openssl/libcrypto.ts';
import {fingerprintingFor, logConnectionSetup, newSsl} from '../../../src/tls/connection/new-ssl.ts';
import {StoredSession} from '../../../src/tls/resume/stored-session.ts';
import {clientContextFor, collectLog, postfix37} from '../../helpers/openssl.ts';

test.serial('newSsl clears the error queue, which may have errors of another session', t => {
	collectLog();
	t.is(StoredSession.parse(Buffer.from('invalid')), undefined);
	using ssl = newSsl(clientContextFor(t));
	t.not(ssl?.value, undefined);
	t.deepEqual(drainErrors(), []);
});

test.serial('fingerprintingFor uses the digest of the SSL_CTX or that of the request', t => {
	const log = collectLog();
	const context = clientContextFor(t, {mdalg: 'sha256'});
	t.is(fingerprintingFor(context, context, 'sha256')?.digest, context.digest);
	const other = fingerprintingFor(context, context, 'sha1')?.digest;
	t.true(other !== undefined && other !== context.digest);
	t.deepEqual(log, []);
	t.is(fingerprintingFor(context, context, 'sha257'), undefined);
	t.deepEqual(log, ['warning: Digest algorithm "sha257" not found', 'warning: disabling TLS support']);
});

test.serial('fingerprintingFor uses bare keys only in releases that support it', t => {
	collectLog();
	const context = clientContextFor(t, {}, {tls_legacy_public_key_fingerprints: 1});
	for (const release of ['3.7.11', '3.8.6', '3.9.0']) {
		const {params, init} = context;
		const fingerprinting = fingerprintingFor(
			context,
			{params, init, features: releaseFeatures(release)},
			'sha256',
		);
		t.is(fingerprinting?.bareKeys, release !== '3.9.0', release);
	}
});

test.serial('logConnectionSetup logs at the verbose level and returns the log mask', t => {
	const log = collectLog();
	const start = {namaddr: 'mx.example.com[127.0.0.1]:25', log_param: 'x', log_level: 'verbose'};
	const quiet = clientContextFor(t, {log_level: 'summary'});
	t.is(logConnectionSetup('to', quiet, start, postfix37), 2);
	t.is(logConnectionSetup('from', quiet, start, postfix37, 4), 6, 'with additional bits');
	t.deepEqual(log, []);
	t.is(logConnectionSetup('from', quiet, start, releaseFeatures('3.12.0')), 32);
	t.deepEqual(log, ['setting up TLS connection from mx.example.com[127.0.0.1]:25']);
});
