import {constants} from 'node:crypto';
import test from 'ava';
import {drainErrors} from '../../../src/ffi/openssl/libcrypto.ts';
import * as libssl from '../../../src/ffi/openssl/libssl.ts';

/* Node.js has its own copy of the header. */
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

const values: Readonly<Record<string, unknown>> = libssl;
for (const name of options) {
	test(`${name} is what the header says`, t => {
		t.is(values[name], constants[name]);
	});
}

test('SSL_OP_ALL is made of what the header says', t => {
	t.is(
		(libssl.SSL_OP_CRYPTOPRO_TLSEXT_BUG |
			libssl.SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS |
			libssl.SSL_OP_TLSEXT_PADDING |
			libssl.SSL_OP_SAFARI_ECDHE_ECDSA_BUG) >>>
			0,
		libssl.SSL_OP_ALL(),
	);
	t.is(libssl.SSL_OP_ALL(), constants.SSL_OP_ALL);
});

/** A context and a connection that nobody else has. */
function connection(): readonly [libssl.SslCtx, libssl.Ssl, Disposable] {
	const stack = new DisposableStack();
	const ctx = libssl.SSL_CTX_new(libssl.TLS_client_method());
	if (ctx === null) {
		throw new Error('SSL_CTX_new');
	}

	stack.defer(() => libssl.SSL_CTX_free(ctx));
	const ssl = libssl.SSL_new(ctx);
	if (ssl === null) {
		throw new Error('SSL_new');
	}

	stack.defer(() => libssl.SSL_free(ssl));
	return [ctx, ssl, stack];
}

test('SSL_CTX_set_options returns the options that are on, 32 bits and above', t => {
	const [ctx, , stack] = connection();
	using _ = stack;
	const before = BigInt(libssl.SSL_CTX_set_options(ctx, 0));
	const after = BigInt(libssl.SSL_CTX_set_options(ctx, libssl.SSL_OP_ALL()));
	t.is(after, before | BigInt(libssl.SSL_OP_ALL()));
	t.true(after >= 2n ** 31n);
});

test('SSL_CTX_set_mode returns the mode bits', t => {
	const [ctx, , stack] = connection();
	using _ = stack;
	const mode =
		libssl.SSL_MODE_ENABLE_PARTIAL_WRITE |
		libssl.SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
		libssl.SSL_MODE_RELEASE_BUFFERS;
	t.is(libssl.SSL_CTX_set_mode(ctx, mode) & mode, mode);
});

test('SSL_set_min_proto_version takes versions and refuses numbers that are none', t => {
	const [, ssl, stack] = connection();
	using _ = stack;
	for (const version of [0, 0x0301, 0x0302, 0x0303, 0x0304]) {
		t.is(libssl.SSL_set_min_proto_version(ssl, version), 1);
	}

	t.is(libssl.SSL_set_min_proto_version(ssl, 0x0999), 0);
	t.is(libssl.SSL_set_max_proto_version(ssl, 0x0304), 1);
	drainErrors();
});

test('SSL_set_tlsext_host_name takes 255 bytes, and neither more nor none', t => {
	const [, ssl, stack] = connection();
	using _ = stack;
	t.is(libssl.SSL_set_tlsext_host_name(ssl, 'x'.repeat(255)), 1);
	t.is(libssl.SSL_set_tlsext_host_name(ssl, 'x'.repeat(256)), 0);
	t.is(libssl.SSL_set_tlsext_host_name(ssl, ''), 0);
	drainErrors();
});

test('SSL_CTX_set1_groups takes groups by number', t => {
	const [ctx, , stack] = connection();
	using _ = stack;
	const NID_X25519 = 1034;
	const NID_prime256v1 = 415;
	t.is(libssl.SSL_CTX_set1_groups(ctx, [NID_X25519, NID_prime256v1]), 1);
	t.is(libssl.SSL_CTX_set1_groups(ctx, [13]), 0);
	drainErrors();
});

test('a connection without a handshake has no outcome', t => {
	const [, ssl, stack] = connection();
	using _ = stack;
	t.is(libssl.SSL_get_current_cipher(ssl), null);
	t.is(libssl.SSL_get0_peer_certificate(ssl), null);
	t.is(libssl.SSL_get_privatekey(ssl), null);
	t.is(libssl.SSL_get_peer_tmp_key(ssl), null);
	t.is(libssl.SSL_get_peer_signature_nid(ssl), undefined);
	t.is(libssl.SSL_get_signature_nid(ssl), undefined);
	t.is(libssl.SSL_session_reused(ssl), 0);
	t.is(libssl.SSL_get0_peername(ssl), null);
});

test('alerts have names', t => {
	const FATAL_HANDSHAKE_FAILURE = 0x0228;
	t.is(libssl.SSL_alert_type_string_long(FATAL_HANDSHAKE_FAILURE), 'fatal');
	t.is(libssl.SSL_alert_desc_string_long(FATAL_HANDSHAKE_FAILURE), 'handshake failure');
});

test('the library is loaded beside the one inside of Node.js', t => {
	const report = process.report.getReport() as unknown as {sharedObjects: readonly string[]};
	t.true(report.sharedObjects.some(path => path.includes('libssl.so.3')));
	/* Both work: had their symbols been mixed, one of the two would have died. */
	const [, , stack] = connection();
	stack[Symbol.dispose]();
	t.truthy(process.versions.openssl);
});
