/*
 * Without close_notify a peer cannot distinguish the end of a session from a truncation
 * attack, and a peer that gets two of them may reset the connection. The test counts alert
 * records on the wire.
 */
import type {Socket} from 'node:net';
import type {TLSSocket} from 'node:tls';
import test, {type ExecutionContext} from 'ava';
import {Daemon, type Program} from '../helpers/daemon.ts';
import {peerFiles, relay, tlsPeer} from '../helpers/remote-servers.ts';

const good = peerFiles();

let daemons: Readonly<Record<Program, Daemon>>;
test.before(async () => {
	const [ours, stock] = await Promise.all([Daemon.start('ours'), Daemon.start('stock')]);
	daemons = {ours, stock};
});
test.after.always(async () => {
	await Promise.all([daemons.ours[Symbol.asyncDispose](), daemons.stock[Symbol.asyncDispose]()]);
});

const HEAD_SIZE = 5;
/** Record types of the TLS record protocol: RFC 8446, section 5.1. */
const ALERT = 21;
const APPLICATION_DATA = 23;
/** Size of an encrypted TLS 1.3 alert: level, description, content type, tag. */
const SEALED_ALERT_SIZE = 2 + 1 + 16;

/** Counts the alert records in a stream. */
function alertsIn(bytes: Buffer): number {
	let count = 0;
	for (let at = 0; at + HEAD_SIZE <= bytes.length; ) {
		const type = bytes.readUInt8(at);
		const size = bytes.readUInt16BE(at + 3);
		count += Number(type === ALERT || (type === APPLICATION_DATA && size === SEALED_ALERT_SIZE));
		at += HEAD_SIZE + size;
	}

	return count;
}

/** Observations of one session. */
interface Observed {
	readonly alerts: number;
	/** Data that the local client has received. */
	readonly received: string;
	readonly lines: readonly string[];
}

/** Runs a session that the peer or the client ends after data was transferred. */
async function session(
	t: ExecutionContext,
	which: Program,
	version: 'TLSv1.2' | 'TLSv1.3',
	end: (ends: {readonly peer: TLSSocket; readonly local: Socket}) => void,
): Promise<Observed> {
	const sent: Buffer[] = [];
	let peer: TLSSocket | undefined;
	const server = await tlsPeer(t, {...good, minVersion: version, maxVersion: version}, socket => {
		peer = socket;
		socket.resume();
	});
	const path = await relay(t, server);
	const daemon = daemons[which];
	const handed = await daemon.handOff(t, path.port);
	t.is(handed.report?.cipher_protocol, version);
	path.ends.client?.on('data', (bytes: Buffer) => sent.push(bytes));
	await handed.client.send('first');
	t.true(await daemon.sandbox.waitFor(() => (peer?.bytesRead ?? 0) >= 5));
	if (peer !== undefined) {
		end({peer, local: handed.client.socket});
	}

	const received = String(await handed.client.rest());
	const lines = await daemon.linesOf(handed);
	/* The last bytes may still be in the relay. */
	await daemon.sandbox.waitFor(() => path.ends.client?.readableEnded === true);
	return {alerts: alertsIn(Buffer.concat(sent)), received, lines};
}

const endings = {
	'ended by the client': [({local}: {local: Socket}) => local.end(), 1, ''],
	'ended by the peer': [({peer}: {peer: TLSSocket}) => peer.end(), 0, ''],
	'ended by the peer after its last data': [
		({peer}: {peer: TLSSocket}) => peer.end('221 '.repeat(50_000)),
		0,
		'221 '.repeat(50_000),
	],
} as const;

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
	for (const [how, [end, alerts, text]] of Object.entries(endings)) {
		test.serial(
			`${version}: in a session ${how}, the peer gets ${alerts} close_notify, as with stock`,
			async t => {
				const stock = await session(t, 'stock', version, end);
				t.deepEqual(await session(t, 'ours', version, end), stock);
				t.is(stock.alerts, alerts);
				t.is(stock.received.length, text.length);
			},
		);
	}
}
