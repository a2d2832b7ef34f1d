/* Reports about clients with and without a certificate. Daemon tests compare the log lines with stock. */
import test from 'ava';
import type {Owned} from '../../../src/base/owned.ts';
import {DONE} from '../../../src/tls/connection/connection.ts';
import type {ServerContext} from '../../../src/tls/context/server-context.ts';
import type {HandshakeReport} from '../../../src/wire/handshake-report.ts';
import {CertificateStore, collectLog, ecdsa, rsa} from '../../helpers/openssl.ts';
import {TLS1_2_VERSION, TLS1_3_VERSION} from '../../helpers/raw-tls.ts';
import {ServerPair, serverContextFor} from '../../helpers/server-role.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {key: ecdsa});
store.make('root', {key: ecdsa, extensions: ['basicConstraints=critical,CA:true']});
store.make('trusted', {key: rsa, issuer: 'root', extensions: ['extendedKeyUsage=clientAuth']});
store.make('unknown', {key: ecdsa});

const PRESENT = 1;
const TRUSTED = 4;

function contextFor(
	t: Parameters<typeof serverContextFor>[0],
	log_level: string,
	release?: string,
): ServerContext {
	return serverContextFor(t, {
		init: {
			cert_file: store.path('server.cert'),
			key_file: store.path('server.key'),
			CAfile: store.path('root.cert'),
			ask_ccert: 1,
			log_level,
		},
		...(release !== undefined && {release}),
	});
}

/** Makes a connection with a client certificate. Returns the report, and the session for the next one. */
function connect(
	t: Parameters<typeof serverContextFor>[0],
	context: ServerContext,
	version: number,
	certificate: string | undefined,
	session?: Owned<bigint>,
): {readonly report: HandshakeReport; readonly session: Owned<bigint>} {
	const pair = new ServerPair(t, context, {version, ...(session !== undefined && {session})});
	if (certificate !== undefined) {
		pair.client.useCertificate({
			cert: store.path(`${certificate}.cert`),
			key: store.path(`${certificate}.key`),
		});
	}

	t.is(pair.handshake(), DONE);
	const report = pair.server.report();
	pair.echo('data');
	const next = pair.client.session();
	t.teardown(() => next[Symbol.dispose]());
	return {report, session: next};
}

for (const [protocol, version] of [
	['TLS 1.2', TLS1_2_VERSION],
	['TLS 1.3', TLS1_3_VERSION],
] as const) {
	test.serial(`${protocol}: a client without a certificate is anonymous`, t => {
		const log = collectLog();
		const {report} = connect(t, contextFor(t, 'summary untrusted peercert'), version, undefined);
		t.like(report, {peer_status: 0, peer_CN: '', peer_fingerprint: '', level: 0});
		t.is(log.length, 1);
		t.regex(
			log[0] ?? '',
			/^Anonymous TLS connection established from client\.example\.com\[127\.0\.0\.1\]:2525: /,
		);
	});

	test.serial(`${protocol}: the certificate of a trusted client is reported`, t => {
		const log = collectLog();
		const {report} = connect(t, contextFor(t, 'summary untrusted peercert'), version, 'trusted');
		t.like(report, {
			peer_status: PRESENT | TRUSTED,
			peer_CN: 'trusted.example.com',
			issuer_CN: 'root.example.com',
			clnt_signature: version === TLS1_3_VERSION ? 'RSA-PSS' : '',
			clnt_signature_bits: version === TLS1_3_VERSION ? 2048 : 0,
		});
		t.regex(report.peer_fingerprint, /^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/);
		t.not(report.peer_pubkey_fingerprint, report.peer_fingerprint);
		t.is(
			log[0],
			`client.example.com[127.0.0.1]:2525: subject_CN=trusted.example.com, issuer=root.example.com, fingerprint=${report.peer_fingerprint}, pkey_fingerprint=${report.peer_pubkey_fingerprint}`,
		);
		t.true(log[1]?.startsWith('Trusted TLS connection established from '));
		t.is(log.length, 2);
	});

	test.serial(`${protocol}: an unknown issuer is explained in the first handshake only`, t => {
		const log = collectLog();
		const context = contextFor(t, 'untrusted cache');
		const {report, session} = connect(t, context, version, 'unknown');
		t.is(report.peer_status, PRESENT);
		t.true(log.some(line => /certificate verification failed for .*: self-signed certificate$/.test(line)));
		log.splice(0);
		const again = connect(t, context, version, 'unknown', session);
		t.is(again.report.peer_status, PRESENT);
		t.is(again.report.peer_fingerprint, report.peer_fingerprint);
		const name = 'client.example.com[127.0.0.1]:2525';
		t.deepEqual(
			log.filter(line => /Reusing|re-using/.test(line)),
			[
				`${name}: Reusing old session (RFC 5077 session ticket)`,
				`${name}: re-using session with untrusted certificate, look for details earlier in the log`,
			],
		);
	});
}

test.serial('subject and issuer are logged at the verbose level', t => {
	const log = collectLog();
	connect(t, contextFor(t, 'verbose'), TLS1_3_VERSION, 'trusted');
	t.true(log.includes('subject=/CN=trusted.example.com'));
	t.true(log.includes('issuer=/CN=root.example.com'));
});

test.serial('from 3.9 on the log line names the kinds of fingerprints', t => {
	const log = collectLog();
	const {report} = connect(t, contextFor(t, 'peercert', '3.9.0'), TLS1_3_VERSION, 'trusted');
	t.deepEqual(log, [
		`client.example.com[127.0.0.1]:2525: subject_CN=trusted.example.com, issuer=root.example.com, cert fingerprint=${report.peer_fingerprint}, pkey fingerprint=${report.peer_pubkey_fingerprint}`,
	]);
});
