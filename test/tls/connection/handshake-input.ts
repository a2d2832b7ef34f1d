import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {AGAIN, END, WANT_READ} from '../../../src/base/io-result.ts';
import {allocate} from '../../../src/ffi/libc/libc.ts';
import {type Connection, DONE} from '../../../src/tls/connection/connection.ts';
import {
	CertificateStore,
	clientContextFor,
	collectLog,
	connectedTo,
	connectionTo,
	ecdsa,
	finish,
} from '../../helpers/openssl.ts';
import {type RawTls, rawTlsPeer, TLS1_2_VERSION, TLS1_3_VERSION} from '../../helpers/raw-tls.ts';
import {tcpPeer} from '../../helpers/remote-servers.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('peer', {key: ecdsa});
const files = {key: store.path('peer.key'), cert: store.path('peer.cert')};

const block = allocate(65_536);

/** A server that sends data together with the end of its handshake. Returns its port. */
async function server(t: ExecutionContext, version: number, send: (tls: RawTls) => void): Promise<number> {
	return await rawTlsPeer(t, version, files, send);
}

async function connected(t: ExecutionContext, port: number): Promise<Connection> {
	return await connectedTo(t, port, clientContextFor(t));
}

/** The received text, up to a size. */
async function text(connection: Connection, size: number): Promise<string> {
	let received = '';
	while (received.length < size) {
		const count = await finish(() => connection.read(block.address, 65_536));
		if (count <= 0) {
			break;
		}

		received += Buffer.from(block.bytes.subarray(0, count)).toString();
	}

	return received;
}

for (const [name, version] of [
	['TLS 1.2', TLS1_2_VERSION],
	['TLS 1.3', TLS1_3_VERSION],
] as const) {
	test.serial(`data that arrives with the end of the handshake is not lost: ${name}`, async t => {
		collectLog();
		const connection = await connected(
			t,
			await server(t, version, tls => {
				tls.write(Buffer.from('in one '));
				tls.write(Buffer.from('piece'));
			}),
		);
		t.is(await text(connection, 12), 'in one piece');
		t.is(await finish(() => connection.shutdown()), END);
	});

	test.serial(`more data than a step reads arrives with the end of the handshake: ${name}`, async t => {
		collectLog();
		const size = 200_000;
		const connection = await connected(
			t,
			await server(t, version, tls => {
				for (let count = 0; count < size / 10_000; count++) {
					tls.write(Buffer.alloc(10_000, 'x'));
				}
			}),
		);
		t.is((await text(connection, size)).length, size);
	});
}

test.serial('a read processes one message without data and returns AGAIN', async t => {
	collectLog();
	const connection = await connected(
		t,
		await server(t, TLS1_3_VERSION, tls => {
			for (let count = 0; count < 5; count++) {
				tls.keyUpdate(false);
			}

			tls.write(Buffer.from('data'));
		}),
	);
	await delay(100);
	let again = 0;
	let result: number;
	while ((result = connection.read(block.address, 65_536)) === AGAIN) {
		again++;
	}

	t.is(result, 4);
	/* Tickets are messages too. */
	t.true(again >= 5, `${again} times`);
	t.is(connection.read(block.address, 65_536), WANT_READ);
});

test.serial('with a packet dump a read returns WANT_READ when there is nothing to read', async t => {
	const log = collectLog();
	const port = await server(t, TLS1_3_VERSION, tls => tls.write(Buffer.from('data')));
	const connection = connectionTo(t, port, clientContextFor(t, {log_level: '4'}), {log_level: '4'});
	t.is(await finish(() => connection.handshake()), DONE);
	connection.endDump();
	t.is(await text(connection, 4), 'data');
	/* The dump callback changes errno, so that the first result may be AGAIN. */
	const results = [1, 2].map(() => connection.read(block.address, 65_536));
	t.is(results.at(-1), WANT_READ);
	t.true(log.some(line => line.startsWith('read from ')));
});

test.serial('a server that sends only messages that OpenSSL skips is read in steps', async t => {
	collectLog();
	const record = Buffer.concat([Buffer.from([0x16, 3, 3, 0x40, 0]), Buffer.alloc(0x4000)]);
	const port = await tcpPeer(t, socket => {
		socket.write(Buffer.concat(Array.from({length: 16}, () => record)));
	});
	const connection = connectionTo(t, port, clientContextFor(t));
	t.is(connection.handshake(), WANT_READ);
	await delay(200);
	let steps = 0;
	while (connection.handshake() === AGAIN) {
		steps++;
	}

	t.true(steps >= 4, `${steps} steps`);
});

test.serial('a server that disconnects in the middle of its flight is not logged', async t => {
	const log = collectLog();
	const port = await tcpPeer(t, socket => {
		socket.once('data', () => socket.end(Buffer.from([0x16, 3, 3, 0, 100, 2, 0])));
	});
	const connection = connectionTo(t, port, clientContextFor(t));
	t.is(await finish(() => connection.handshake()), END);
	t.deepEqual(log, []);
});
