import {constants} from 'node:crypto';
import test from 'ava';
import {drainErrors} from '../../../src/ffi/openssl/libcrypto.ts';
import * as sslCtx from '../../../src/ffi/openssl/ssl-ctx.ts';
import {newConnection} from './_connection.ts';

/* Options that Node.js exports from its copy of the header. */
const options = [
	'SSL_OP_CIPHER_SERVER_PREFERENCE',
	'SSL_OP_CRYPTOPRO_TLSEXT_BUG',
	'SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS',
	'SSL_OP_LEGACY_SERVER_CONNECT',
	'SSL_OP_NO_COMPRESSION',
	'SSL_OP_NO_RENEGOTIATION',
	'SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION',
	'SSL_OP_NO_SSLv3',
	'SSL_OP_NO_TICKET',
	'SSL_OP_NO_TLSv1',
	'SSL_OP_NO_TLSv1_1',
	'SSL_OP_NO_TLSv1_2',
	'SSL_OP_NO_TLSv1_3',
	'SSL_OP_PRIORITIZE_CHACHA',
	'SSL_OP_TLS_ROLLBACK_BUG',
] as const;

const values: Readonly<Record<string, unknown>> = sslCtx;
for (const name of options) {
	test(`${name} has the value of the header`, t => {
		t.is(values[name], constants[name]);
	});
}

test('SSL_OP_ALL consists of the options that the header lists', t => {
	t.is(
		(sslCtx.SSL_OP_CRYPTOPRO_TLSEXT_BUG |
			sslCtx.SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS |
			sslCtx.SSL_OP_TLSEXT_PADDING |
			sslCtx.SSL_OP_SAFARI_ECDHE_ECDSA_BUG) >>>
			0,
		sslCtx.SSL_OP_ALL(),
	);
	t.is(sslCtx.SSL_OP_ALL(), constants.SSL_OP_ALL);
});

test('SSL_CTX_set_options returns the options that are set, including bit 31', t => {
	using connection = newConnection();
	const before = BigInt(sslCtx.SSL_CTX_set_options(connection.ctx, 0));
	const after = BigInt(sslCtx.SSL_CTX_set_options(connection.ctx, sslCtx.SSL_OP_ALL()));
	t.is(after, before | BigInt(sslCtx.SSL_OP_ALL()));
	t.true(after >= 2n ** 31n);
});

test('SSL_CTX_set_mode returns the mode', t => {
	using connection = newConnection();
	const mode =
		sslCtx.SSL_MODE_ENABLE_PARTIAL_WRITE |
		sslCtx.SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
		sslCtx.SSL_MODE_RELEASE_BUFFERS;
	t.is(sslCtx.SSL_CTX_set_mode(connection.ctx, mode) & mode, mode);
});

test('SSL_CTX_set_min_proto_version and SSL_CTX_set_max_proto_version accept versions only', t => {
	using connection = newConnection();
	for (const version of [0, 0x0301, 0x0302, 0x0303, 0x0304]) {
		t.is(sslCtx.SSL_CTX_set_min_proto_version(connection.ctx, version), 1);
		t.is(sslCtx.SSL_CTX_set_max_proto_version(connection.ctx, version), 1);
	}

	t.is(sslCtx.SSL_CTX_set_min_proto_version(connection.ctx, 0x0999), 0);
	t.is(sslCtx.SSL_CTX_set_max_proto_version(connection.ctx, 0x0999), 0);
	drainErrors();
});

test('SSL_CTX_set1_groups accepts groups by number, SSL_CTX_set1_groups_list by name', t => {
	using connection = newConnection();
	const NID_X25519 = 1034;
	const NID_prime256v1 = 415;
	const NID_commonName = 13;
	t.is(sslCtx.SSL_CTX_set1_groups(connection.ctx, [NID_X25519, NID_prime256v1]), 1);
	t.is(sslCtx.SSL_CTX_set1_groups(connection.ctx, [NID_commonName]), 0);
	t.is(sslCtx.SSL_CTX_set1_groups_list(connection.ctx, 'X25519:P-256'), 1);
	t.is(sslCtx.SSL_CTX_set1_groups_list(connection.ctx, 'X25519:no-such-group'), 0);
	drainErrors();
});
