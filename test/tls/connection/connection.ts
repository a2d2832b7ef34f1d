import {once} from 'node:events';
import {createServer} from 'node:net';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {Panic} from '../../../src/base/errors.ts';
import {AGAIN, END, FAILED, WANT_READ} from '../../../src/base/io-result.ts';
import {allocate} from '../../../src/ffi/libc/libc.ts';
import {drainErrors} from '../../../src/ffi/openssl/libcrypto.ts';
import {openClientConnection} from '../../../src/tls/connection/client-connection.ts';
import {DONE} from '../../../src/tls/connection/connection.ts';
import {openDescriptors, socketPair} from '../../helpers/descriptors.ts';
import {
	CertificateStore,
	clientContextFor,
	collectLog,
	connectionTo,
	defaultStart,
	finish,
	lineFrom,
	type PeerServer,
	rsa,
	sServer,
} from '../../helpers/openssl.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('rsa', {key: rsa});

const block = allocate(65_536);

function server(t: ExecutionContext, ...options: readonly string[]): Promise<PeerServer> {
	return sServer(t, '-cert', store.path('rsa.cert'), '-key', store.path('rsa.key'), ...options);
}

/** A TCP server that runs a function for each connection. Returns its port. */
async function rawServer(t: ExecutionContext, run: Parameters<typeof createServer>[1]): Promise<number> {
	const raw = createServer(run).listen(0, '127.0.0.1');
	t.teardown(() => raw.close());
	await once(raw, 'listening');
	const address = raw.address();
	return typeof address === 'object' && address !== null ? address.port : 0;
}

for (const protocol of ['tls1_2', 'tls1_3'] as const) {
	test.serial(`handshake, data in both directions and shutdown: ${protocol}`, async t => {
		const log = collectLog();
		const {port} = await server(t, '-rev', `-${protocol}`);
		const connection = connectionTo(t, port, clientContextFor(t));
		t.is(await finish(() => connection.handshake()), DONE);
		t.is(connection.handshake(), DONE, 'a further step after the handshake returns DONE');
		/* TLS 1.3 tickets may have arrived or not. */
		let result = AGAIN;
		while (result === AGAIN) {
			result = connection.read(block.address, 65_536);
		}

		t.is(result, WANT_READ);
		t.is(connection.write(Buffer.from('hello\n'), 6), 6);
		t.is(await lineFrom(connection), 'olleh\n');
		block.bytes.set(Buffer.from('from C\n'));
		t.is(connection.write(block.address, 7), 7);
		t.is(await lineFrom(connection), 'C morf\n');
		t.is(connection.shutdown(), END);
		t.is(await finish(() => connection.read(block.address, 65_536)), END);
		t.deepEqual(log, []);
	});
}

test.serial('write sends at most one record, of 16 kilobytes', async t => {
	collectLog();
	const {port} = await server(t);
	const connection = connectionTo(t, port, clientContextFor(t));
	t.is(await finish(() => connection.handshake()), DONE);
	t.is(connection.write(block.address, 65_536), 16_384);
});

test.serial('a disposed connection cannot be used', async t => {
	const {port} = await server(t);
	const connection = connectionTo(t, port, clientContextFor(t));
	connection[Symbol.dispose]();
	connection[Symbol.dispose]();
	t.throws(() => connection.handshake(), {instanceOf: Panic});
	t.throws(() => connection.ssl, {instanceOf: Panic});
});

test.serial('disposal does not close the borrowed descriptor', t => {
	collectLog();
	const [local, remote] = socketPair(t);
	const before = openDescriptors();
	const connection = openClientConnection(clientContextFor(t), defaultStart, local.fd);
	connection?.[Symbol.dispose]();
	t.is(openDescriptors(), before);
	t.not(local.fd, remote.fd);
});

/* Ends of a handshake, and their log lines. */
for (const [how, end] of [
	['closes at once', (socket: {destroy(): void}) => socket.destroy()],
	['resets the connection', (socket: {resetAndDestroy(): void}) => socket.resetAndDestroy()],
] as const) {
	test.serial(`a peer that ${how} is not logged`, async t => {
		const log = collectLog();
		const port = await rawServer(t, socket => {
			socket.on('error', () => undefined);
			socket.once('data', () => end(socket));
		});
		const connection = connectionTo(t, port, clientContextFor(t));
		t.is(await finish(() => connection.handshake()), END);
		t.deepEqual(log, []);
		t.deepEqual(drainErrors(), []);
	});
}

test.serial('a peer that does not use TLS is a failure, and the error of OpenSSL is logged', async t => {
	const log = collectLog();
	const port = await rawServer(t, socket => {
		socket.on('error', () => undefined);
		socket.end('220 this is no TLS\r\n');
	});
	const connection = connectionTo(t, port, clientContextFor(t));
	t.is(await finish(() => connection.handshake()), FAILED);
	t.is(log.length, 1);
	t.regex(
		log[0] ?? '',
		/^warning: TLS library problem: error:0A00010B:SSL routines::wrong version number:[\w./-]+\.c:\d+:$/,
	);
});

test.serial('an alert from the peer is a failure, and its number is logged', async t => {
	const log = collectLog();
	/* No common cipher: the server sends handshake_failure. */
	const {port} = await server(t, '-tls1_2', '-cipher', 'ECDHE-RSA-CHACHA20-POLY1305');
	const connection = connectionTo(t, port, clientContextFor(t), {cipher_exclusions: 'CHACHA20'});
	t.is(await finish(() => connection.handshake()), FAILED);
	t.is(log.length, 1);
	t.regex(
		log[0] ?? '',
		/^warning: TLS library problem: error:(?:0A000410|14094410):SSL routines:\w*:(?:sslv3|ssl\/tls) alert handshake failure:[\w./-]+\.c:\d+:SSL alert number 40:$/,
	);
});

test.serial('with TLS 1.3 a server rejects a missing client certificate after the handshake', async t => {
	const log = collectLog();
	const {port} = await server(t, '-Verify', '1', '-tls1_3');
	const connection = connectionTo(t, port, clientContextFor(t));
	t.is(await finish(() => connection.handshake()), DONE);
	t.is(await finish(() => connection.read(block.address, 65_536)), FAILED);
	t.regex(log.at(-1) ?? '', /^warning: TLS library problem: error:0A00045C:.*:SSL alert number 116:$/);
});

test.serial('a peer that disconnects without close_notify is not logged', async t => {
	const log = collectLog();
	const peer = await server(t, '-rev');
	const connection = connectionTo(t, peer.port, clientContextFor(t));
	t.is(await finish(() => connection.handshake()), DONE);
	await delay(20);
	await peer.stop();
	t.is(await finish(() => connection.read(block.address, 65_536)), END);
	t.deepEqual(log, []);
});

test.serial('close_notify of the peer ends the connection', async t => {
	const log = collectLog();
	const {port} = await server(t, '-rev');
	const connection = connectionTo(t, port, clientContextFor(t));
	t.is(await finish(() => connection.handshake()), DONE);
	/* s_server closes the connection when it receives this line. */
	t.is(connection.write(Buffer.from('CLOSE\n'), 6), 6);
	t.is(await finish(() => connection.read(block.address, 65_536)), END);
	t.deepEqual(log, []);
});
