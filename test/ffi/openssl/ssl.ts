import test from 'ava';
import {drainErrors} from '../../../src/ffi/openssl/libcrypto.ts';
import {
	SSL_alert_desc_string_long,
	SSL_alert_type_string_long,
	SSL_get_current_cipher,
	SSL_get_peer_signature_nid,
	SSL_get_peer_tmp_key,
	SSL_get_privatekey,
	SSL_get_signature_nid,
	SSL_get0_peer_certificate,
	SSL_get0_peername,
	SSL_session_reused,
	SSL_set_max_proto_version,
	SSL_set_min_proto_version,
	SSL_set_tlsext_host_name,
	serverNameOf,
} from '../../../src/ffi/openssl/ssl.ts';
import {newConnection} from './_connection.ts';

test('SSL_set_min_proto_version and SSL_set_max_proto_version accept versions only', t => {
	using connection = newConnection();
	for (const version of [0, 0x0301, 0x0302, 0x0303, 0x0304]) {
		t.is(SSL_set_min_proto_version(connection.ssl, version), 1);
	}

	t.is(SSL_set_min_proto_version(connection.ssl, 0x0999), 0);
	t.is(SSL_set_max_proto_version(connection.ssl, 0x0304), 1);
	drainErrors();
});

test('SSL_set_tlsext_host_name accepts 1 to 255 bytes', t => {
	using connection = newConnection();
	t.is(SSL_set_tlsext_host_name(connection.ssl, 'x'.repeat(255)), 1);
	t.is(serverNameOf(connection.ssl), 'x'.repeat(255));
	t.is(SSL_set_tlsext_host_name(connection.ssl, 'x'.repeat(256)), 0);
	t.is(SSL_set_tlsext_host_name(connection.ssl, ''), 0);
	drainErrors();
});

test('a connection without a handshake has no results', t => {
	using connection = newConnection();
	const {ssl} = connection;
	t.is(SSL_get_current_cipher(ssl), null);
	t.is(SSL_get0_peer_certificate(ssl), null);
	t.is(SSL_get_privatekey(ssl), null);
	t.is(SSL_get_peer_tmp_key(ssl), null);
	t.is(SSL_get_peer_signature_nid(ssl), undefined);
	t.is(SSL_get_signature_nid(ssl), undefined);
	t.is(SSL_session_reused(ssl), 0);
	t.is(SSL_get0_peername(ssl), null);
	t.is(serverNameOf(ssl), '');
	drainErrors();
});

test('alerts have names', t => {
	const FATAL_HANDSHAKE_FAILURE = 0x0228;
	t.is(SSL_alert_type_string_long(FATAL_HANDSHAKE_FAILURE), 'fatal');
	t.is(SSL_alert_desc_string_long(FATAL_HANDSHAKE_FAILURE), 'handshake failure');
});
