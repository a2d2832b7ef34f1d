/* The summary line has the format of tls_log_summary(), postfix src/tls/tls_misc.c. Daemon tests compare it with stock. */
import test from 'ava';
import {summary} from '../../../src/tls/report/negotiated.ts';
import type {HandshakeReport} from '../../../src/wire/handshake-report.ts';

const tls12: HandshakeReport = {
	peer_CN: '',
	issuer_CN: '',
	peer_fingerprint: '',
	peer_pubkey_fingerprint: '',
	level: 2,
	peer_status: 0,
	cipher_protocol: 'TLSv1.2',
	cipher_name: 'ECDHE-RSA-AES256-GCM-SHA384',
	cipher_usebits: 256,
	cipher_algbits: 256,
	key_exchange: '',
	key_exchange_curve: '',
	key_exchange_bits: 0,
	ctos_rpk: 0,
	stoc_rpk: 0,
	clnt_signature: '',
	clnt_signature_curve: '',
	clnt_signature_bits: 0,
	clnt_signature_digest: '',
	srvr_signature: '',
	srvr_signature_curve: '',
	srvr_signature_bits: 0,
	srvr_signature_digest: '',
	namaddr: 'mx.example.com[127.0.0.1]:25',
	rpt_reported: 0,
	trace_size_limit: 0,
};
const tls13: HandshakeReport = {
	...tls12,
	cipher_protocol: 'TLSv1.3',
	cipher_name: 'TLS_AES_256_GCM_SHA384',
	key_exchange: 'X25519',
	srvr_signature: 'RSA-PSS',
	srvr_signature_bits: 2048,
	srvr_signature_digest: 'SHA256',
};

const PRESENT = 1;
const TRUSTED = 4;
const MATCHED = 8;
const SECURED = 16;
const RAW_KEY = 32;

const logs = test.macro<[report: HandshakeReport, direction: 'to' | 'from', name: string, line: string]>({
	exec(t, report, direction, name, line) {
		t.is(summary(direction, report, name), line);
	},
	title(condition = '') {
		return `summary ${condition}`;
	},
});

const anonymous =
	'Anonymous TLS connection established to mx.example.com[127.0.0.1]:25: TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)';
test('of TLS 1.2 has the cipher only', logs, tls12, 'to', '', anonymous);
test(
	'of TLS 1.3 has the key exchange and the server signature',
	logs,
	tls13,
	'to',
	'',
	'Anonymous TLS connection established to mx.example.com[127.0.0.1]:25: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256',
);
test(
	'has curves, sizes and both signatures',
	logs,
	{
		...tls13,
		key_exchange: 'ECDHE',
		key_exchange_curve: 'prime256v1',
		srvr_signature: 'ECDSA',
		srvr_signature_curve: 'prime256v1',
		srvr_signature_bits: 0,
		clnt_signature: 'RSA-PSS',
		clnt_signature_bits: 4096,
		clnt_signature_digest: 'SHA512',
	},
	'from',
	'',
	'Anonymous TLS connection established from mx.example.com[127.0.0.1]:25: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange ECDHE (prime256v1) server-signature ECDSA (prime256v1) server-digest SHA256 client-signature RSA-PSS (4096 bits) client-digest SHA512',
);
test(
	'has the size of a finite-field group',
	logs,
	{...tls13, key_exchange: 'DHE', key_exchange_bits: 2048, srvr_signature: ''},
	'to',
	'',
	'Anonymous TLS connection established to mx.example.com[127.0.0.1]:25: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange DHE (2048 bits)',
);
test(
	'marks raw public keys',
	logs,
	{
		...tls13,
		stoc_rpk: 1,
		ctos_rpk: 1,
		clnt_signature: 'ECDSA',
		clnt_signature_curve: 'prime256v1',
		srvr_signature_digest: '',
	},
	'to',
	'',
	'Anonymous TLS connection established to mx.example.com[127.0.0.1]:25: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature RSA-PSS (2048 bit raw public key) client-signature ECDSA (prime256v1 raw public key)',
);
test(
	'has the server name that a certificate was found for',
	logs,
	tls12,
	'from',
	'mx.example.net',
	anonymous.replace('to mx.example.com[127.0.0.1]:25', 'from mx.example.com[127.0.0.1]:25 to mx.example.net'),
);

for (const [status, word] of [
	[0, 'Anonymous'],
	[PRESENT, 'Untrusted'],
	[RAW_KEY, 'Untrusted'],
	[PRESENT | MATCHED, 'Untrusted'],
	[PRESENT | TRUSTED, 'Trusted'],
	[PRESENT | TRUSTED | MATCHED, 'Trusted'],
	[PRESENT | TRUSTED | MATCHED | SECURED, 'Verified'],
	[RAW_KEY | TRUSTED | MATCHED | SECURED, 'Verified'],
	/* Without a certificate or raw public key no other bit counts. */
	[TRUSTED | MATCHED | SECURED, 'Anonymous'],
] as const) {
	test(
		`has the trust of peer_status ${status}`,
		logs,
		{...tls12, peer_status: status},
		'to',
		'',
		anonymous.replace('Anonymous', word),
	);
}
