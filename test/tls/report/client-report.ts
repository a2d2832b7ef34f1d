/* Reports about servers: trust, matches and log lines. Daemon tests compare the log lines with stock. */
import test, {type ExecutionContext} from 'ava';
import {DONE} from '../../../src/tls/connection/connection.ts';
import type {ClientStart} from '../../../src/wire/client-settings.ts';
import {
	CertificateStore,
	clientContextFor,
	collectLog,
	connectionTo,
	finish,
	openssl,
	rsa,
	sServer,
} from '../../helpers/openssl.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('root', {extensions: ['basicConstraints=critical,CA:true']});
store.make('mx', {key: rsa, issuer: 'root', extensions: ['subjectAltName=DNS:mx.example.com']});
store.make('unknown', {});

const PRESENT = 1;
const TRUSTED = 4;
const MATCHED = 8;
const SECURED = 16;
const ENCRYPT = 2;
const FINGERPRINT = 3;
const DANE_ONLY = 6;
const VERIFY = 7;
const NAMADDR = 'mx.example.com[127.0.0.1]:25';

const LEVEL = 'summary untrusted certmatch';

/** Makes a connection to a server with a certificate. */
async function connect(t: ExecutionContext, certificate: string, start: Partial<ClientStart>) {
	const log = collectLog();
	const {port} = await sServer(
		t,
		'-cert',
		store.path(`${certificate}.cert`),
		'-key',
		store.path(`${certificate}.key`),
	);
	const context = clientContextFor(t, {CAfile: store.path('root.cert'), log_level: LEVEL});
	const connection = connectionTo(t, port, context, start);
	t.is(await finish(() => connection.handshake()), DONE, log.join('\n'));
	return {report: connection.report(), log};
}

/** The SHA-256 digest of a certificate, in binary form. */
function digestOf(certificate: string): Buffer {
	const line = openssl('x509', '-noout', '-fingerprint', '-sha256', '-in', store.path(`${certificate}.cert`));
	return Buffer.from(line.replace(/^.*=/, '').replaceAll(/[:\s]/g, ''), 'hex');
}

function colons(bytes: Buffer): string {
	return bytes.toString('hex').toUpperCase().match(/../g)?.join(':') ?? '';
}

test.serial('at level encrypt a trusted certificate is reported without a match', async t => {
	const {report, log} = await connect(t, 'mx', {tls_level: ENCRYPT});
	t.like(report, {
		level: ENCRYPT,
		peer_status: PRESENT | TRUSTED,
		peer_CN: 'mx.example.com',
		issuer_CN: 'root.example.com',
		peer_fingerprint: colons(digestOf('mx')),
		cipher_protocol: 'TLSv1.3',
		srvr_signature: 'RSA-PSS',
		clnt_signature: '',
		namaddr: NAMADDR,
	});
	t.is(
		log[0],
		/* Before raw public keys, stock logs this line with the name as the client has written it. */
		`MX.example.com[127.0.0.1]:25: subject_CN=mx.example.com, issuer_CN=root.example.com, fingerprint=${report.peer_fingerprint}, pkey_fingerprint=${report.peer_pubkey_fingerprint}`,
	);
	t.true(log.at(-1)?.startsWith(`Trusted TLS connection established to ${NAMADDR}: `));
});

test.serial('at level verify a trusted certificate with a matching name is secured', async t => {
	const {report, log} = await connect(t, 'mx', {tls_level: VERIFY, matchargv: ['hostname']});
	t.like(report, {level: VERIFY, peer_status: PRESENT | TRUSTED | MATCHED | SECURED});
	t.is(log[0], `${NAMADDR}: matched peername: mx.example.com`);
	t.true(log.at(-1)?.startsWith(`Verified TLS connection established to ${NAMADDR}: `));
});

test.serial('at level verify a trusted certificate with another name is not matched', async t => {
	const {report, log} = await connect(t, 'mx', {tls_level: VERIFY, matchargv: ['other.example.com']});
	t.is(report.peer_status & (MATCHED | SECURED), 0);
	t.true(
		log.some(line => line.includes('num=62:')),
		log.join('\n'),
	);
});

test.serial('at level verify an unknown issuer is not trusted, and the reason is logged', async t => {
	const {report, log} = await connect(t, 'unknown', {tls_level: VERIFY, matchargv: ['unknown.example.com']});
	t.is(report.peer_status, PRESENT);
	t.is(log[0], `certificate verification failed for ${NAMADDR}: self-signed certificate`);
	t.true(log.at(-1)?.startsWith('Untrusted TLS connection established to '));
});

test.serial('a forced failure is neither trusted nor matched', async t => {
	const {report} = await connect(t, 'mx', {
		tls_level: VERIFY,
		matchargv: ['hostname'],
		forced_failure_type: 'certificate-expired',
	});
	t.is(report.peer_status, PRESENT);
});

for (const [name, digest, matches] of [
	['the fingerprint of the certificate', () => digestOf('unknown'), true],
	['another fingerprint', () => Buffer.alloc(32), false],
] as const) {
	test.serial(`at level fingerprint with ${name}`, async t => {
		const record = {usage: 3, selector: 0, mtype: 1, data: digest()};
		const {report, log} = await connect(t, 'unknown', {
			tls_level: FINGERPRINT,
			dane: {domain: '', tlsa: [record]},
		});
		t.is((report.peer_status & MATCHED) !== 0, matches);
		t.is(
			log.includes(`${NAMADDR}: Matched fingerprint: ${digestOf('unknown').toString('hex').toUpperCase()}`),
			matches,
			log.join('\n'),
		);
	});
}

test.serial('at level dane-only a matching TLSA record is logged', async t => {
	const record = {usage: 3, selector: 0, mtype: 1, data: digestOf('unknown')};
	const {report, log} = await connect(t, 'unknown', {
		tls_level: DANE_ONLY,
		matchargv: ['hostname'],
		dane: {domain: 'mx.example.com', tlsa: [record]},
	});
	t.is(report.peer_status, PRESENT | TRUSTED | MATCHED | SECURED, log.join('\n'));
	t.true(
		log.some(line => line.startsWith(`${NAMADDR}: Matched DANE EE certificate at depth 0: 3 0 1 `)),
		log.join('\n'),
	);
});
