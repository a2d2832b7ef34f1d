/*
 * Twenty sessions at once that send and receive large streams. A byte that is lost,
 * repeated or moved to another session damages a message, and a buffer that grows with the
 * backlog of a slow reader exhausts memory.
 */
import {createHash, randomBytes} from 'node:crypto';
import type {Socket} from 'node:net';
import {Readable} from 'node:stream';
import {pipeline} from 'node:stream/promises';
import {setTimeout as delay} from 'node:timers/promises';
import test from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {echoPeer, peerFiles, tlsPeer} from '../helpers/remote-servers.ts';

const good = peerFiles();

const SESSIONS = 20;
const SIZE = 100_000_000;
/** Limit for the growth of the process, in bytes. A session has two buffers of 64 kilobytes, and those of OpenSSL. */
const GROWTH_LIMIT = 32 * 1024 * 1024;

const noise = randomBytes(1_000_003);

/* A different stream for each seed, in pieces that are not a multiple of the record size. */
function* pieces(seed: string, size = SIZE): Iterable<Buffer> {
	yield Buffer.from(seed);
	for (let left = size - seed.length; left > 0; left -= noise.length) {
		yield noise.subarray(0, Math.min(left, noise.length));
	}
}

function digest(of: Iterable<Buffer>): string {
	const hash = createHash('sha1');
	for (const piece of of) {
		hash.update(piece);
	}

	return hash.digest('hex');
}

/* Digest of that many bytes of a stream, which stays open. */
async function receive(socket: Socket, size = SIZE): Promise<string> {
	const hash = createHash('sha1');
	let left = size;
	return await new Promise(resolve => {
		socket.on('data', (bytes: Buffer) => {
			hash.update(bytes);
			left -= bytes.length;
			if (left <= 0) {
				resolve(left === 0 ? hash.digest('hex') : `${-left} bytes too many`);
			}
		});
		socket.once('close', () => resolve(`${left} bytes are missing`));
		socket.resume();
	});
}

async function send(socket: Socket, seed: string): Promise<void> {
	await pipeline(Readable.from(pieces(seed)), socket, {end: false});
}

test('100 MB each way, 20 at a time: whole, and in bounded memory', async t => {
	await using daemon = await Daemon.start('ours');
	const arrived: Array<Promise<string>> = [];
	const port = await tlsPeer(t, good, socket => {
		arrived.push(receive(socket));
		void send(socket, 'from the peer');
	});
	const sessions = await Promise.all(
		Array.from({length: SESSIONS}, async () => await daemon.handOff(t, port)),
	);
	const before = daemon.memory();
	let peak = before;
	const watching = setInterval(() => {
		peak = Math.max(peak, daemon.memory());
	}, 50);
	const returned = await Promise.all(
		sessions.map(async ({client}, index) => {
			const socket = client.release();
			const whole = receive(socket);
			await send(socket, `from client ${index}`);
			return await whole;
		}),
	);
	const expected = sessions.map((_, index) => digest(pieces(`from client ${index}`)));
	t.deepEqual((await Promise.all(arrived)).toSorted(), expected.toSorted());
	t.deepEqual(new Set(returned), new Set([digest(pieces('from the peer'))]));
	clearInterval(watching);
	t.log(`memory grew by ${Math.round((peak - before) / 1024)} kB from ${Math.round(before / 1024)} kB`);
	t.true(peak - before < GROWTH_LIMIT);
});

test('a client that does not read blocks only the peer of its session', async t => {
	await using daemon = await Daemon.start('ours');
	let sent = 0;
	const port = await tlsPeer(t, good, socket => {
		const more = (): void => {
			while (socket.write(noise)) {
				sent += noise.length;
			}

			sent += noise.length;
		};
		socket.on('drain', more);
		more();
	});
	const {client} = await daemon.handOff(t, port);
	const socket = client.release();
	/* All buffers are full when the count no longer changes. */
	let last = -1;
	await daemon.sandbox.waitFor(async () => {
		const unchanged = sent === last;
		last = sent;
		await delay(200);
		return unchanged;
	});
	t.true(sent < 30 * noise.length, `${sent} bytes are buffered`);
	const echoing = await daemon.handOff(t, await echoPeer(t));
	await echoing.client.send('hello');
	t.is(String(await echoing.client.bytes(5)), 'hello');
	/* The transfer continues when the client reads again. */
	const before = sent;
	socket.resume();
	t.true(await daemon.sandbox.waitFor(() => sent > before + 10 * noise.length));
});
