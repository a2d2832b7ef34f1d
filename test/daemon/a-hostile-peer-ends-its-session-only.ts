/*
 * Remote servers that are malicious or broken. smtp(8) must get end-of-file at once, the
 * log must have the lines of stock, and other sessions must not be affected.
 */
import type {Socket} from 'node:net';
import type {TLSSocket} from 'node:tls';
import test, {type ExecutionContext} from 'ava';
import type {Seconds} from '../../src/base/units.ts';
import {Daemon, type Handoff, type HandoffOptions} from '../helpers/daemon.ts';
import {echoPeer, peerFiles, relay, tcpPeer, tlsPeer} from '../helpers/remote-servers.ts';

const good = peerFiles();

/** Alert record: fatal, handshake_failure. */
const ALERT = Buffer.from([0x15, 3, 3, 0, 2, 2, 40]);
/** Header of a handshake record of 16 kilobytes. */
const RECORD_HEAD = Buffer.from([0x16, 3, 3, 0x40, 0]);

/** A program, and an unrelated session that it serves. */
interface Bystander {
	readonly daemon: Daemon;
	readonly session: Handoff;
}

let daemons: {readonly ours: Daemon; readonly stock: Daemon};
test.before(async () => {
	const [ours, stock] = await Promise.all([Daemon.start('ours'), Daemon.start('stock')]);
	daemons = {ours, stock};
});
test.after.always(async () => {
	await Promise.all([daemons.ours[Symbol.asyncDispose](), daemons.stock[Symbol.asyncDispose]()]);
});

async function bystander(t: ExecutionContext, daemon: Daemon): Promise<Bystander> {
	const session = await daemon.handOff(t, await echoPeer(t));
	t.truthy(session.report);
	return {daemon, session};
}

async function stillServes(t: ExecutionContext, {session}: Bystander): Promise<void> {
	await session.client.send('still there?');
	t.is(String(await session.client.bytes(12)), 'still there?');
}

/* Runs a hostile session with one program. Returns its log lines. */
async function run(
	t: ExecutionContext,
	daemon: Daemon,
	hostile: (daemon: Daemon) => Promise<Handoff>,
): Promise<readonly string[]> {
	const witness = await bystander(t, daemon);
	const {pid} = daemon;
	const before = daemon.descriptors();
	const session = await hostile(daemon);
	const {client} = session;
	t.is(String(await client.rest()), '', 'data that the peer has not sent');
	t.true(client.ended);
	const lines = await daemon.linesOf(session);
	t.is(daemon.pid, pid);
	t.true((await daemon.descriptorsUpTo(before)) <= before, 'descriptors leak');
	await stillServes(t, witness);
	return lines;
}

/* The log has line numbers of OpenSSL's source. Both programs use the same library. */
async function compare(t: ExecutionContext, hostile: (daemon: Daemon) => Promise<Handoff>): Promise<void> {
	const stock = await run(t, daemons.stock, hostile);
	t.true(stock.length >= 2);
	t.deepEqual(await run(t, daemons.ours, hostile), stock);
}

const inHandshake = test.macro<[how: string, behave: (socket: Socket) => void, options?: HandoffOptions]>({
	async exec(t, _, behave, options = {}) {
		await compare(t, async daemon => {
			const result = await daemon.handOff(t, await tcpPeer(t, behave), options);
			t.is(result.status, 1);
			t.is(result.report, undefined);
			return result;
		});
	},
	title(_, how) {
		return `during the handshake a peer ${how}: the client gets end-of-file, the log the lines of stock`;
	},
});

test.serial(inHandshake, 'closes', socket => socket.end());
test.serial(inHandshake, 'closes after the ClientHello', socket => {
	socket.once('data', () => socket.end());
});
test.serial(inHandshake, 'resets', socket => socket.resetAndDestroy());
test.serial(inHandshake, 'resets after the ClientHello', socket => {
	socket.once('data', () => socket.resetAndDestroy());
});
test.serial(inHandshake, 'sends an SMTP greeting', socket => {
	socket.write('220 peer.example ESMTP\r\n');
});
test.serial(inHandshake, 'sends a million zero bytes', socket => {
	socket.write(Buffer.alloc(1_000_000));
});
test.serial(inHandshake, 'sends an alert', socket => {
	socket.write(ALERT);
});
test.serial(inHandshake, 'closes in the middle of a record', socket => {
	socket.end(Buffer.concat([RECORD_HEAD, Buffer.alloc(100)]));
});
test.serial(inHandshake, 'sends an invalid handshake message', socket => {
	socket.write(Buffer.concat([RECORD_HEAD, Buffer.alloc(0x4000, 7)]));
});

const briefly: HandoffOptions = {request: {handshakeTimeout: 1 as Seconds}};
test.serial(inHandshake, 'stays silent up to the time limit', () => undefined, briefly);
test.serial(
	inHandshake,
	'stops in the middle of a record up to the time limit',
	socket => {
		socket.write(RECORD_HEAD);
	},
	briefly,
);

test.serial('a silent peer gets the whole handshake time limit', async t => {
	const {ours} = daemons;
	await bystander(t, ours);
	const port = await tcpPeer(t, () => undefined);
	const started = performance.now();
	const {report} = await ours.handOff(t, port, briefly);
	t.is(report, undefined);
	const waited = performance.now() - started;
	t.true(waited >= 950, `${waited} ms`);
});

const afterwards = test.macro<
	[how: string, behave: (ends: {peer: TLSSocket; raw: Socket}) => void, options?: HandoffOptions]
>({
	async exec(t, _, behave, options = {}) {
		await compare(t, async daemon => {
			let peer: TLSSocket | undefined;
			const server = await tlsPeer(t, good, socket => {
				peer = socket;
				socket.once('data', () => socket.write('answer'));
			});
			const {port, ends} = await relay(t, server);
			const result = await daemon.handOff(t, port, options);
			t.truthy(result.report);
			await result.client.send('first');
			/* The session tickets arrive before it. */
			t.is(String(await result.client.bytes(6)), 'answer');
			if (peer !== undefined && ends.client !== undefined) {
				behave({peer, raw: ends.client});
			}

			return result;
		});
	},
	title(_, how) {
		return `after the handshake a peer ${how}: the client gets end-of-file, the log the lines of stock`;
	},
});

test.serial(afterwards, 'sends close_notify', ({peer}) => peer.end());
test.serial(afterwards, 'closes without close_notify', ({raw}) => {
	raw.unpipe();
	raw.end();
});
test.serial(afterwards, 'resets', ({raw}) => raw.resetAndDestroy());
test.serial(afterwards, 'sends an invalid record', ({raw}) => {
	raw.write('250 ok\r\n');
});
test.serial(afterwards, 'sends a record that does not decrypt', ({raw}) => {
	raw.write(Buffer.concat([Buffer.from([0x17, 3, 3, 0, 64]), Buffer.alloc(64, 9)]));
});
test.serial(afterwards, 'sends an alert in cleartext', ({raw}) => {
	raw.write(ALERT);
});
