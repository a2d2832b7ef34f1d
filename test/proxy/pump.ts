/*
 * Both sides are socket pairs with small buffers. In place of TLS there is a
 * connection that moves plain bytes in records, and that returns WANT_READ and
 * WANT_WRITE where TLS might.
 */
import test, {type ExecutionContext} from 'ava';
import fc from 'fast-check';
import koffi from 'koffi';
import {AGAIN, END, FAILED, WANT_READ, WANT_WRITE} from '../../src/base/io-result.ts';
import type {Fd} from '../../src/base/units.ts';
import {BUFFER_SIZE, buffer, writeStream} from '../../src/event/stream.ts';
import {type Address, read, send} from '../../src/ffi/libc/libc.ts';
import {CIPHERTEXT_ENDED, MORE, PLAINTEXT_ENDED, Pump, WAITING} from '../../src/proxy/pump.ts';
import {type Held, socketPair} from '../helpers/descriptors.ts';

const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SHUT_WR = 1;
const RECORD_SIZE = 16_384;
const libc = koffi.load('libc.so.6');
const setsockopt: (fd: Fd, level: number, name: number, value: Int32Array, size: number) => number =
	libc.func('int setsockopt(int sockfd, int level, int optname, const void *optval, unsigned int optlen)');
const shutdown: (fd: Fd, how: number) => number = libc.func('int shutdown(int sockfd, int how)');

/** A connected pair whose writes block after some thousand bytes. */
function narrowPair(t: ExecutionContext): readonly [Held, Held] {
	const pair = socketPair(t);
	for (const {fd} of pair) {
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, Int32Array.of(4096, 0, 0, 0), 4);
	}

	return pair;
}

/** The result that the connection returns before its next read or write succeeds. */
type Interruption = 'none' | 'again' | 'want-read' | 'want-write';

type Interruptions = (call: 'read' | 'write') => Interruption;

/** In place of a TLS connection: bytes are not encrypted. */
class FakeConnection {
	readonly #fd: Fd;
	readonly #next: Interruptions;
	/* The bytes that have to be passed to the next write. Source: SSL_write(3), SSL_ERROR_WANT_READ. */
	#retry: Buffer | undefined;

	constructor(fd: Fd, next: Interruptions = () => 'none') {
		this.#fd = fd;
		this.#next = next;
	}

	read(to: Address, size: number): number {
		if (size < RECORD_SIZE) {
			throw new Error(`no space for a record: ${size}`);
		}

		const interruption = this.#next('read');
		if (interruption === 'again' || interruption === 'want-write') {
			return interruption === 'again' ? AGAIN : WANT_WRITE;
		}

		const count = read(this.#fd, to, RECORD_SIZE);
		return count > 0 ? count : count === 0 ? END : WANT_READ;
	}

	write(from: Address | Uint8Array, size: number): number {
		const bytes = Buffer.from(
			typeof from === 'bigint'
				? buffer.bytes.subarray(Number(from - buffer.address)).subarray(0, size)
				: from.subarray(0, size),
		);
		if (this.#retry !== undefined && !bytes.subarray(0, this.#retry.length).equals(this.#retry)) {
			throw new Error('a write was repeated with other bytes');
		}

		const interruption = this.#next('write');
		const count =
			interruption === 'want-read'
				? WANT_READ
				: interruption === 'want-write'
					? WANT_WRITE
					: writeStream(this.#fd, bytes, Math.min(size, RECORD_SIZE));
		this.#retry = count === WANT_READ || count === WANT_WRITE ? bytes : undefined;
		return count;
	}
}

interface Fixture {
	readonly pump: Pump;
	/** The other ends. */
	readonly client: Held;
	readonly peer: Held;
	/** Whether the pump waits for EPOLLOUT of the client. */
	readonly registration: {writeInterest: boolean};
}

function fixture(t: ExecutionContext, next?: Interruptions): Fixture {
	const [client, plaintext] = narrowPair(t);
	const [peer, ciphertext] = narrowPair(t);
	const registration = {writeInterest: false};
	const pump = new Pump(new FakeConnection(ciphertext.fd, next), plaintext.fd, registration);
	t.teardown(() => pump[Symbol.dispose]());
	return {pump, client, peer, registration};
}

/** Bytes of which no two neighbours are equal, and no two streams. */
function pattern(size: number, seed: number): Buffer {
	const bytes = Buffer.alloc(size);
	for (let index = 0; index < size; index++) {
		bytes[index] = (index * 31 + (index >> 8) * 7 + seed) & 0xff;
	}

	return bytes;
}

const scratch = Buffer.alloc(BUFFER_SIZE);

/** Reads up to a number of bytes; undefined at end-of-file. */
function readSome(socket: Held, limit = scratch.length): Buffer | undefined {
	const count = read(socket.fd, scratch, Math.min(limit, scratch.length));
	return count === 0 ? undefined : Buffer.from(scratch.subarray(0, Math.max(count, 0)));
}

function writeSome(socket: Held, bytes: Uint8Array): number {
	return Math.max(send(socket.fd, bytes, bytes.length, 0), 0);
}

/** All events that an edge-triggered epoll could report now. */
function reportReady({pump, registration}: Fixture): void {
	pump.plaintextReady(true, registration.writeInterest);
	pump.ciphertextReady(true, true);
}

test('run moves bytes in both directions, then waits', t => {
	const f = fixture(t);
	writeSome(f.client, Buffer.from('EHLO'));
	writeSome(f.peer, Buffer.from('220 ready'));
	t.is(f.pump.run(), WAITING);
	t.is(readSome(f.peer)?.toString(), 'EHLO');
	t.is(readSome(f.client)?.toString(), '220 ready');
	t.is(f.pump.moved, 13);
	t.is(f.pump.run(), WAITING);
	t.is(f.pump.moved, 13);
	t.false(f.registration.writeInterest);
});

test('run does not read again before readiness is reported', t => {
	const f = fixture(t);
	t.is(f.pump.run(), WAITING);
	writeSome(f.client, Buffer.from('a'));
	writeSome(f.peer, Buffer.from('b'));
	t.is(f.pump.run(), WAITING);
	t.is(f.pump.moved, 0);
	f.pump.plaintextReady(true, false);
	t.is(f.pump.run(), WAITING);
	t.is(f.pump.moved, 1);
	f.pump.ciphertextReady(true, false);
	t.is(f.pump.run(), WAITING);
	t.is(f.pump.moved, 2);
});

test('a peer that does not read does not stop data in the other direction', t => {
	const f = fixture(t);
	for (let round = 0; round < 50; round++) {
		writeSome(f.client, pattern(10_000, 1));
		reportReady(f);
		t.is(f.pump.run(), WAITING);
	}

	t.is(writeSome(f.client, Buffer.from('x')), 0, 'the pump has stopped to read from the client');
	writeSome(f.peer, Buffer.from('220 ready'));
	reportReady(f);
	t.is(f.pump.run(), WAITING);
	t.is(readSome(f.client)?.toString(), '220 ready');
});

test('a client that does not read does not stop data in the other direction', t => {
	const f = fixture(t);
	for (let round = 0; round < 50; round++) {
		writeSome(f.peer, pattern(10_000, 1));
		f.pump.ciphertextReady(true, false);
		t.is(f.pump.run(), WAITING);
	}

	t.is(writeSome(f.peer, Buffer.from('x')), 0, 'the pump has stopped to read from the peer');
	t.true(f.registration.writeInterest);
	writeSome(f.client, Buffer.from('QUIT'));
	f.pump.plaintextReady(true, false);
	t.is(f.pump.run(), WAITING);
	t.is(readSome(f.peer)?.toString(), 'QUIT');
});

test('EPOLLOUT of the client is turned off when it was not needed', t => {
	const f = fixture(t);
	f.registration.writeInterest = true;
	f.pump.plaintextReady(false, true);
	t.false(f.registration.writeInterest);
});

test('queueReport sends the report before data, and reportSent follows its last byte', t => {
	const f = fixture(t);
	const report = pattern(20_000, 1);
	f.pump.queueReport(report);
	t.false(f.pump.reportSent);
	writeSome(f.peer, Buffer.from('220 ready'));
	const received: Buffer[] = [];
	let size = 0;
	while (size < report.length + 9) {
		t.is(f.pump.run(), WAITING);
		/* The client has read less than the report, and a socket buffer is smaller than the rest. */
		if (size === 0) {
			t.false(f.pump.reportSent);
		}

		const bytes = readSome(f.client) ?? Buffer.alloc(0);
		received.push(bytes);
		size += bytes.length;
		f.pump.plaintextReady(false, f.registration.writeInterest);
	}

	t.true(f.pump.reportSent);
	t.deepEqual(Buffer.concat(received), Buffer.concat([report, Buffer.from('220 ready')]));
});

test('a run is limited: empty records cannot occupy the process', t => {
	const f = fixture(t, () => 'again');
	t.is(f.pump.run(), MORE);
	t.is(f.pump.run(), MORE);
	t.is(f.pump.moved, 0);
});

test('a run is limited: a fast session does not occupy the process', t => {
	const [client, plaintext] = socketPair(t);
	let written = 0;
	const pump = new Pump(
		{
			read: (_to, size) => {
				t.true(size >= RECORD_SIZE);
				return WANT_READ;
			},
			write: (_from, size) => {
				written += size;
				/* Never empty. */
				while (writeSome(client, pattern(RECORD_SIZE, 1)) > 0);
				return size;
			},
		},
		plaintext.fd,
		{writeInterest: false},
	);
	while (writeSome(client, pattern(RECORD_SIZE, 1)) > 0);
	t.is(pump.run(), MORE);
	t.true(written > 0 && written <= 5 * BUFFER_SIZE, `${written}`);
});

test('run returns PLAINTEXT_ENDED when the data of a client that has closed is sent', t => {
	const f = fixture(t);
	/* More than the peer's side accepts at once. */
	let sent = 0;
	while (sent < 100_000) {
		const count = writeSome(f.client, pattern(100_000, 1).subarray(sent));
		sent += count;
		reportReady(f);
		t.is(f.pump.run(), WAITING);
		if (count === 0) {
			readSome(f.peer, 1000);
		}
	}

	f.client.close();
	let result = f.pump.run();
	for (let round = 0; result === WAITING && round < 10_000; round++) {
		readSome(f.peer, 5000);
		reportReady(f);
		result = f.pump.run();
	}

	t.is(result, PLAINTEXT_ENDED);
	t.is(f.pump.moved, 100_000);
});

test('run returns CIPHERTEXT_ENDED when the data of a peer that has closed is written', t => {
	const f = fixture(t);
	writeSome(f.peer, Buffer.from('221 bye'));
	f.peer.close();
	t.is(f.pump.run(), CIPHERTEXT_ENDED);
	t.is(readSome(f.client)?.toString(), '221 bye');
});

test('a client that has sent end-of-file still gets the data that is pending', t => {
	const f = fixture(t);
	writeSome(f.client, Buffer.from('QUIT'));
	shutdown(f.client.fd, SHUT_WR);
	writeSome(f.peer, Buffer.from('221 bye'));
	t.is(f.pump.run(), PLAINTEXT_ENDED);
	t.is(readSome(f.peer)?.toString(), 'QUIT');
});

test('a broken ciphertext connection ends the session, after data that has arrived', t => {
	const [client, plaintext] = socketPair(t);
	const reads = [4, END];
	const pump = new Pump(
		{
			read: to => {
				const size = reads.shift() ?? END;
				if (size > 0) {
					buffer.bytes.set(Buffer.from('221 '), Number(to - buffer.address));
				}

				return size;
			},
			write: () => FAILED,
		},
		plaintext.fd,
		{writeInterest: false},
	);
	writeSome(client, Buffer.from('QUIT'));
	t.is(pump.run(), CIPHERTEXT_ENDED);
	t.is(readSome(client)?.toString(), '221 ');
});

test('disposal wipes the buffers of pending data before another session gets them', t => {
	const first = fixture(t);
	for (let round = 0; round < 10; round++) {
		writeSome(first.client, Buffer.alloc(50_000, 'secret'));
		reportReady(first);
		first.pump.run();
	}

	first.pump[Symbol.dispose]();
	first.pump[Symbol.dispose]();
	const [client, plaintext] = socketPair(t);
	const results = [WANT_WRITE, 4];
	const pending: Uint8Array[] = [];
	const second = new Pump(
		{
			read: () => WANT_READ,
			write: from => {
				if (typeof from !== 'bigint') {
					pending.push(from);
				}

				return results.shift() ?? FAILED;
			},
		},
		plaintext.fd,
		{writeInterest: false},
	);
	writeSome(client, Buffer.from('EHLO'));
	t.is(second.run(), WAITING);
	second.ciphertextReady(false, true);
	t.is(second.run(), WAITING);
	t.is(pending.length, 1);
	/* By now this buffer is released, too, so that all of it has to be zero. */
	const reused = Buffer.from(pending[0]?.buffer ?? new ArrayBuffer());
	t.is(reused.length, BUFFER_SIZE);
	t.true(reused.every(byte => byte === 0));
});

const size = fc.integer({min: 20, max: 40_000});
const interruption = fc.constantFrom<Interruption>(
	'none',
	'none',
	'none',
	'again',
	'want-read',
	'want-write',
);

test('all bytes arrive in order in both directions, whatever the sizes and interruptions', t => {
	fc.assert(
		fc.property(
			fc.record({
				toPeer: fc.integer({min: 0, max: 300_000}),
				toClient: fc.integer({min: 0, max: 300_000}),
				report: fc.integer({min: 0, max: BUFFER_SIZE}),
				writes: fc.array(size, {minLength: 1, maxLength: 20}),
				reads: fc.array(size, {minLength: 1, maxLength: 20}),
				interruptions: fc.array(interruption, {minLength: 1, maxLength: 30}),
			}),
			({toPeer, toClient, report, writes, reads, interruptions}) => {
				const calls = {read: 0, write: 0};
				/* Every other call is not interrupted: otherwise there might be no progress. */
				const f = fixture(t, name => {
					const count = calls[name]++;
					return count % 2 === 0 ? 'none' : (interruptions[(count >> 1) % interruptions.length] ?? 'none');
				});
				const input = {client: pattern(toPeer, 1), peer: pattern(toClient, 2)};
				const output = {client: [] as Buffer[], peer: [] as Buffer[]};
				const sent = {client: 0, peer: 0};
				const reportBytes = pattern(report, 3);
				if (report > 0) {
					f.pump.queueReport(reportBytes);
				}

				const total = {peer: toPeer, client: report + toClient};
				const received = {client: 0, peer: 0};
				let progress = 0;
				for (let round = 0; received.client < total.client || received.peer < total.peer; round++) {
					if (round > progress + 1000) {
						throw new Error(`no progress: ${JSON.stringify({sent, received, total})}`);
					}

					for (const side of ['client', 'peer'] as const) {
						const end = sent[side] + (writes[round % writes.length] ?? 1);
						sent[side] += writeSome(f[side], input[side].subarray(sent[side], end));
						const bytes = readSome(f[side], reads[round % reads.length]);
						if (bytes !== undefined && bytes.length > 0) {
							progress = round;
							output[side].push(bytes);
							received[side] += bytes.length;
						}
					}

					reportReady(f);
					f.pump.run();
				}

				t.true(Buffer.concat(output.peer).equals(input.client));
				t.true(Buffer.concat(output.client).equals(Buffer.concat([reportBytes, input.peer])));
				t.is(f.pump.moved, toPeer + toClient + report);
				t.true(f.pump.reportSent);
				f.client.close();
				f.peer.close();
			},
		),
		{numRuns: 60},
	);
});
