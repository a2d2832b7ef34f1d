import {once} from 'node:events';
import {createServer} from 'node:net';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {Panic} from '../../../src/base/errors.ts';
import {AGAIN, END, FAILED, WANT_READ} from '../../../src/base/io-result.ts';
import {allocate} from '../../../src/ffi/libc/libc.ts';
import {drainErrors} from '../../../src/ffi/openssl/libcrypto.ts';
import {
	SSL_CIPHER_get_name,
	SSL_get_current_cipher,
	SSL_get_version,
} from '../../../src/ffi/openssl/libssl.ts';
import {openClientConnection} from '../../../src/tls/connection/client-connection.ts';
import {type Connection, DONE} from '../../../src/tls/connection/connection.ts';
import type {ClientInit, ClientParams, ClientStart} from '../../../src/wire/client-settings.ts';
import {openDescriptors, socketPair} from '../../helpers/descriptors.ts';
import {
	applicationFor,
	CertificateStore,
	collectLog,
	connectionTo,
	defaultStart,
	ecdsa,
	finish,
	lineFrom,
	type PeerServer,
	rsa,
	sServer,
} from '../../helpers/openssl.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('rsa', {key: rsa});
store.make('ec', {key: ecdsa});

const block = allocate(65_536);

function server(t: ExecutionContext, ...words: readonly string[]): Promise<PeerServer> {
	return sServer(t, '-cert', store.path('rsa.cert'), '-key', store.path('rsa.key'), ...words);
}

/** Protocol and cipher of a connection. */
function agreed(connection: Connection): readonly [string, string] {
	const cipher = SSL_get_current_cipher(connection.ssl);
	return [SSL_get_version(connection.ssl), cipher === null ? '' : SSL_CIPHER_get_name(cipher)];
}

/** A TCP server that does something of its own with each connection. */
async function rawServer(t: ExecutionContext, run: Parameters<typeof createServer>[1]): Promise<number> {
	const raw = createServer(run).listen(0, '127.0.0.1');
	t.teardown(() => raw.close());
	await once(raw, 'listening');
	const address = raw.address();
	return typeof address === 'object' && address !== null ? address.port : 0;
}

for (const protocol of ['tls1_2', 'tls1_3'] as const) {
	test.serial(`a connection shakes hands, moves data both ways and says goodbye: ${protocol}`, async t => {
		const log = collectLog();
		const {port} = await server(t, '-rev', `-${protocol}`);
		const connection = connectionTo(t, port, applicationFor(t));
		t.is(await finish(() => connection.handshake()), DONE);
		t.is(connection.handshake(), DONE, 'once done it stays done');
		/* Tickets of TLS 1.3 may have come by then, or not. */
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

test.serial('write sends one record at most, of 16 kilobytes', async t => {
	collectLog();
	const {port} = await server(t);
	const connection = connectionTo(t, port, applicationFor(t));
	t.is(await finish(() => connection.handshake()), DONE);
	t.is(connection.write(block.address, 65_536), 16_384);
});

test.serial('a connection that is disposed refuses to be used', async t => {
	const {port} = await server(t);
	const connection = connectionTo(t, port, applicationFor(t));
	connection[Symbol.dispose]();
	connection[Symbol.dispose]();
	t.throws(() => connection.handshake(), {instanceOf: Panic});
	t.throws(() => connection.ssl, {instanceOf: Panic});
});

test.serial('disposal does not close the descriptor, which is borrowed', t => {
	collectLog();
	const [mine, theirs] = socketPair(t);
	const before = openDescriptors();
	const connection = openClientConnection(applicationFor(t), defaultStart, mine.fd);
	connection?.[Symbol.dispose]();
	t.is(openDescriptors(), before);
	t.not(mine.fd, theirs.fd);
});

/* How a peer can end a handshake, and what the log says about it. */
for (const [how, end] of [
	['closes at once', (socket: {destroy(): void}) => socket.destroy()],
	['resets the connection', (socket: {resetAndDestroy(): void}) => socket.resetAndDestroy()],
] as const) {
	test.serial(`a peer that ${how} is not worth a line`, async t => {
		const log = collectLog();
		const port = await rawServer(t, socket => {
			socket.on('error', () => undefined);
			socket.once('data', () => end(socket));
		});
		const connection = connectionTo(t, port, applicationFor(t));
		t.is(await finish(() => connection.handshake()), END);
		t.deepEqual(log, []);
		t.deepEqual(drainErrors(), []);
	});
}

test.serial('a peer that does not speak TLS fails, with the words of the library', async t => {
	const log = collectLog();
	const port = await rawServer(t, socket => {
		socket.on('error', () => undefined);
		socket.end('220 this is no TLS\r\n');
	});
	const connection = connectionTo(t, port, applicationFor(t));
	t.is(await finish(() => connection.handshake()), FAILED);
	t.is(log.length, 1);
	t.regex(
		log[0] ?? '',
		/^warning: TLS library problem: error:0A00010B:SSL routines::wrong version number:[\w./-]+\.c:\d+:$/,
	);
});

test.serial('an alert of the peer fails, with its number', async t => {
	const log = collectLog();
	/* No common cipher: the server sends handshake_failure. */
	const {port} = await server(t, '-tls1_2', '-cipher', 'ECDHE-RSA-CHACHA20-POLY1305');
	const connection = connectionTo(t, port, applicationFor(t), {cipher_exclusions: 'CHACHA20'});
	t.is(await finish(() => connection.handshake()), FAILED);
	t.is(log.length, 1);
	t.regex(
		log[0] ?? '',
		/^warning: TLS library problem: error:(?:0A000410|14094410):SSL routines:\w*:(?:sslv3|ssl\/tls) alert handshake failure:[\w./-]+\.c:\d+:SSL alert number 40:$/,
	);
});

test.serial('a server that requires a certificate says so behind the handshake of TLS 1.3', async t => {
	const log = collectLog();
	const {port} = await server(t, '-Verify', '1', '-tls1_3');
	const connection = connectionTo(t, port, applicationFor(t));
	t.is(await finish(() => connection.handshake()), DONE);
	t.is(await finish(() => connection.read(block.address, 65_536)), FAILED);
	t.regex(log.at(-1) ?? '', /^warning: TLS library problem: error:0A00045C:.*:SSL alert number 116:$/);
});

for (const [how, stop] of [['is gone without close_notify', (peer: PeerServer) => peer.stop()]] as const) {
	test.serial(`a peer that ${how} ends the connection without a word`, async t => {
		const log = collectLog();
		const peer = await server(t, '-rev');
		const connection = connectionTo(t, peer.port, applicationFor(t));
		t.is(await finish(() => connection.handshake()), DONE);
		await delay(20);
		await stop(peer);
		t.is(await finish(() => connection.read(block.address, 65_536)), END);
		t.deepEqual(log, []);
	});
}

test.serial('goodbye of the peer ends the connection', async t => {
	const log = collectLog();
	const {port} = await server(t, '-rev');
	const connection = connectionTo(t, port, applicationFor(t));
	t.is(await finish(() => connection.handshake()), DONE);
	/* What s_server takes for the end. */
	t.is(connection.write(Buffer.from('CLOSE\n'), 6), 6);
	t.is(await finish(() => connection.read(block.address, 65_536)), END);
	t.deepEqual(log, []);
});

interface Case {
	readonly start?: Partial<ClientStart>;
	readonly init?: Partial<ClientInit>;
	readonly params?: Partial<ClientParams>;
}

/* What a request says, and what comes of it with a server that can do everything. */
const agrees = test.macro({
	async exec(t, {start = {}, init = {}, params = {}}: Case, protocol: string, cipher: string) {
		const log = collectLog();
		const {port} = await server(t, '-dcert', store.path('ec.cert'), '-dkey', store.path('ec.key'));
		const connection = connectionTo(t, port, applicationFor(t, init, params), start);
		t.is(await finish(() => connection.handshake()), DONE, log.join('\n'));
		t.deepEqual(agreed(connection), [protocol, cipher]);
		t.deepEqual(log, []);
	},
	title(_, {start = {}, params = {}}: Case) {
		return `a request with ${JSON.stringify({...start, ...params})} is honoured`;
	},
});

const TLS13 = 'TLS_AES_256_GCM_SHA384';
test.serial(agrees, {}, 'TLSv1.3', TLS13);
test.serial(agrees, {start: {protocols: '!SSLv2, !SSLv3'}}, 'TLSv1.3', TLS13);
test.serial(agrees, {start: {protocols: '<=TLSv1.2'}}, 'TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384');
test.serial(agrees, {start: {protocols: '!TLSv1.3'}}, 'TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384');
test.serial(agrees, {start: {protocols: 'TLSv1.2'}}, 'TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384');
test.serial(agrees, {start: {protocols: '>=0303 <=0x0303'}}, 'TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384');
test.serial(
	agrees,
	{start: {protocols: 'TLSv1.2', cipher_exclusions: 'aECDSA'}},
	'TLSv1.2',
	'ECDHE-RSA-AES256-GCM-SHA384',
);
test.serial(
	agrees,
	{start: {protocols: 'TLSv1.2', cipher_exclusions: 'aECDSA, AES256 CHACHA20'}},
	'TLSv1.2',
	'ECDHE-RSA-AES128-GCM-SHA256',
);
/* Exclusions never reach TLS 1.3. */
test.serial(agrees, {start: {cipher_exclusions: 'AES256'}}, 'TLSv1.3', TLS13);
test.serial(
	agrees,
	{
		start: {protocols: 'TLSv1.2', cipher_grade: 'high'},
		params: {tls_high_cipherlist: 'ECDHE-RSA-AES128-SHA256'},
	},
	'TLSv1.2',
	'ECDHE-RSA-AES128-SHA256',
);

test.serial('connections of one application differ in their cipher lists and protocols', async t => {
	const log = collectLog();
	const context = applicationFor(t);
	const outcome: Array<readonly [string, string]> = [];
	for (const start of [
		{protocols: 'TLSv1.2'},
		{protocols: 'TLSv1.2', cipher_exclusions: 'AES256 CHACHA20'},
		{},
		{protocols: 'TLSv1.2'},
	]) {
		/* One server each: it serves one connection at a time. */
		const {port} = await server(t);
		const connection = connectionTo(t, port, context, start);
		t.is(await finish(() => connection.handshake()), DONE);
		outcome.push(agreed(connection));
	}

	t.deepEqual(outcome, [
		['TLSv1.2', 'ECDHE-RSA-AES256-GCM-SHA384'],
		['TLSv1.2', 'ECDHE-RSA-AES128-GCM-SHA256'],
		['TLSv1.3', TLS13],
		['TLSv1.2', 'ECDHE-RSA-AES256-GCM-SHA384'],
	]);
	t.deepEqual(log, []);
});

/* Requests that cannot be honoured. Names are logged in lower case, but for protocols. */
const refuses = test.macro<[start: Partial<ClientStart>, ...lines: readonly string[]]>({
	exec(t, start, ...lines) {
		const log = collectLog();
		const [mine] = socketPair(t);
		t.is(openClientConnection(applicationFor(t), {...defaultStart, ...start}, mine.fd), undefined);
		const texts = log.map(text =>
			text.replace(/^(warning: TLS library problem: error):[0-9A-F]{8}:[^:]*:[^:]*:([^:]*):.*$/, '$1: $2'),
		);
		/* Some releases of OpenSSL say the same thing twice. */
		t.deepEqual([...new Set(texts)], lines);
		t.deepEqual(drainErrors(), []);
	},
	title(_, start) {
		return `openClientConnection refuses ${JSON.stringify(start).slice(0, 80)}`;
	},
});

test.serial(
	refuses,
	{protocols: 'TLSv1.7'},
	'warning: MX.example.com[127.0.0.1]:25: Invalid TLS protocol list "TLSv1.7": aborting TLS session',
);
test.serial(
	refuses,
	{cipher_grade: 'best'},
	'warning: mx.example.com[127.0.0.1]:25: invalid cipher grade: "best"',
);
test.serial(
	refuses,
	{cipher_exclusions: 'MD5, !RC4'},
	"warning: mx.example.com[127.0.0.1]:25: invalid unary '!+-@' in cipher exclusion: !RC4",
);
test.serial(
	refuses,
	{cipher_exclusions: 'ALL'},
	'warning: mx.example.com[127.0.0.1]:25: error setting cipher grade: "medium"',
	'warning: TLS library problem: error: no cipher match',
);
test.serial(
	refuses,
	{sni: 'x'.repeat(256)},
	`warning: MX.example.com[127.0.0.1]:25: ignoring too long SNI hostname: ${'x'.repeat(100)}`,
);

test.serial('a protocol limit that the library refuses does not end the session', t => {
	const log = collectLog();
	const [mine] = socketPair(t);
	const connection = openClientConnection(
		applicationFor(t),
		{...defaultStart, protocols: '>=0999 <=0998'},
		mine.fd,
	);
	t.not(connection, undefined);
	connection?.[Symbol.dispose]();
	t.deepEqual(log, [
		'warning: mx.example.com[127.0.0.1]:25: error setting minimum TLS version to: 0x0999',
		'warning: mx.example.com[127.0.0.1]:25: error setting maximum TLS version to: 0x0998',
	]);
});

test.serial('a list that leaves no protocol fails in the handshake', async t => {
	const log = collectLog();
	const {port} = await server(t);
	const connection = connectionTo(t, port, applicationFor(t), {protocols: 'TLSv1.2:!TLSv1.2'});
	t.is(await finish(() => connection.handshake()), FAILED);
	t.regex(
		log.join('\n'),
		/^warning: TLS library problem: error:0A0000BF:SSL routines::no protocols available:[^\n]*$/,
	);
});

const names = test.macro({
	async exec(t, start: Partial<ClientStart>, expected: string | undefined) {
		collectLog();
		const peer = await server(
			t,
			'-servername',
			'nobody',
			'-cert2',
			store.path('ec.cert'),
			'-key2',
			store.path('ec.key'),
		);
		const connection = connectionTo(t, peer.port, applicationFor(t), start);
		t.is(await finish(() => connection.handshake()), DONE);
		await delay(50);
		t.is(/Hostname in TLS extension: "([^"]*)"/.exec(peer.output())?.[1], expected);
	},
	title(_, start: Partial<ClientStart>, expected: string | undefined) {
		return `${JSON.stringify(start)} sends ${expected ?? 'no'} server name`;
	},
});

test.serial(names, {sni: ''}, undefined);
test.serial(names, {sni: 'hostname'}, 'mx.example.com');
test.serial(names, {sni: 'nexthop'}, 'example.com');
test.serial(names, {sni: 'Hostname'}, 'Hostname');
test.serial(names, {sni: 'other.example.net', tls_level: 1}, 'other.example.net');

test.serial('the log tells what is set up when it is verbose', t => {
	const log = collectLog();
	const [mine] = socketPair(t);
	const context = applicationFor(t, {log_level: 'verbose, ssl-debug'});
	openClientConnection(context, {...defaultStart, sni: 'hostname', cipher_exclusions: 'RC4'}, mine.fd)?.[
		Symbol.dispose
	]();
	t.deepEqual(log, [
		'initializing the client-side TLS engine',
		'setting up TLS connection to MX.example.com[127.0.0.1]:25',
		'MX.example.com[127.0.0.1]:25: TLS cipher list "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH:!RC4"',
		'MX.example.com[127.0.0.1]:25: SNI hostname: mx.example.com',
	]);
});
